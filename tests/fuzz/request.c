/*
 * tests/fuzz/request.c - the request parser: a stream of requests, at once and in pieces, must be
 * read alike, whatever the bytes.
 *
 * Input: two bytes that say how the stream is split, then the stream, in which FF n stands for the
 * byte before it repeated n * 259 times (FF 0: FF itself), so that a short input reaches each cap.
 */
#include "proto/request.h"
#include "tests/fuzz/fuzz.h"
#include "tests/proto/same.h"

#include <string.h>

const char fuzz_target[] = "request";

enum { STREAM_MAX = 100000, REQUESTS_MAX = 64 };

static char stream[STREAM_MAX];

static size_t decode(struct fuzz_in *in)
{
    size_t n = 0;

    while (in->left && n < sizeof(stream)) {
        uint8_t byte = fuzz_u8(in);
        size_t again = byte == 0xff && in->left ? fuzz_u8(in) * (size_t)259 : 0;

        if (again == 0 || n == 0) {
            stream[n++] = (char)byte;
            continue;
        }
        again = again > sizeof(stream) - n ? sizeof(stream) - n : again;
        memset(stream + n, stream[n - 1], again);
        n += again;
    }
    return n;
}

static enum request_result parse(const char *view, size_t n, struct request *out)
{
    enum request_result result = request_parse(view, n, out);

    fuzz_calls++;
    FUZZ_REQUIRE(result != REQUEST_MORE || n < out->room, "%zu bytes in a room of %zu", n,
                 out->room);
    FUZZ_REQUIRE(result == REQUEST_MORE || (out->consumed > 0 && out->consumed <= n), "%zu of %zu",
                 out->consumed, n);
    FUZZ_REQUIRE((result == REQUEST_OK || result == REQUEST_MORE) == (out->error == 0),
                 "result %d, error %d", (int)result, out->error);
    return result;
}

/* What becomes of each request, and where it lies. */
struct verdicts {
    unsigned n;
    enum request_result result[REQUESTS_MAX];
    struct request r[REQUESTS_MAX];
    size_t at[REQUESTS_MAX];
};

/* As a connection does: from the first byte not yet consumed, until none is left or it must end. */
static void read_whole(size_t len, struct verdicts *v)
{
    char *whole = fuzz_before_guard(len);
    size_t at = 0;

    memcpy(whole, stream, len);
    for (v->n = 0; v->n < REQUESTS_MAX; v->n++) {
        struct request *r = &v->r[v->n];

        v->at[v->n] = at;
        v->result[v->n] = parse(whole + at, len - at, r);
        if (v->result[v->n] == REQUEST_MORE)
            return;
        at += r->consumed;
        if (v->result[v->n] == REQUEST_LONG) {
            bool found;
            size_t rest = request_skip_line(whole + at, len - at, &found);

            FUZZ_REQUIRE(rest <= len - at, "%zu of %zu", rest, len - at);
            FUZZ_REQUIRE(found == (memchr(stream + at, '\n', len - at) != NULL), "skip");
            v->n++;
            return;
        }
    }
}

/* Each piece behind the ones before, at the guard: what has not come cannot be read. */
static void read_pieces(size_t len, const struct verdicts *v, uint64_t seed, unsigned grain)
{
    const char *whole = fuzz_before_guard(len); /* where read_whole() saw it */
    size_t at = 0, have = 0, least = len / 64;
    unsigned n = 0;

    while (have < len && n < REQUESTS_MAX) {
        size_t piece = 1 + fuzz_random(&seed) % (grain + 1) + least;

        have = piece > len - have ? len : have + piece;
        while (n < REQUESTS_MAX) {
            char *view = fuzz_before_guard(have - at);
            enum request_result result;
            struct request r;

            memcpy(view, stream + at, have - at);
            result = parse(view, have - at, &r);
            if (result == REQUEST_MORE)
                break;
            FUZZ_REQUIRE(n < v->n && v->at[n] == at && v->result[n] == result &&
                             same_request(&v->r[n], whole + at, &r, view),
                         "request %u at %zu is another in pieces", n, at);
            at += r.consumed;
            n++;
            if (result == REQUEST_LONG)
                return;
        }
    }
    FUZZ_REQUIRE(n == v->n, "%u requests at once, %u in pieces", v->n, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct verdicts v;
    struct fuzz_in in = {data, size};
    uint64_t seed = fuzz_u8(&in);
    unsigned grain = fuzz_u8(&in);
    size_t len = decode(&in);

    read_whole(len, &v);
    read_pieces(len, &v, seed, grain);
    return 0;
}
