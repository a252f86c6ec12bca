/*
 * tests/fuzz/http.c - what a client of HTTP may send: the path of a request, its JSON body, its
 * head.
 *
 * Input: a byte that says which; one more for the fields that a body may have, or for how a head is
 * split; then the bytes.
 */
#include "base/utf8.h"
#include "http/body.h"
#include "http/framing.h"
#include "http/path.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

const char fuzz_target[] = "http";

static void check_path(const char *bytes, size_t n)
{
    static struct path p;
    char *target = malloc(n + 1), *value = malloc(64);
    int got;

    memcpy(target, bytes, n);
    target[n] = '\0';
    memset(&p, 0xa5, sizeof(p));
    if (path_parse(&p, target)) {
        FUZZ_REQUIRE(p.n <= PATH_SEGMENTS + 1, "%u segments", p.n);
        for (unsigned i = 0; i < p.n && i < PATH_SEGMENTS; i++)
            FUZZ_REQUIRE(p.seg[i].at >= p.bytes && p.seg[i].len <= sizeof(p.bytes) &&
                             p.seg[i].at + p.seg[i].len <= p.bytes + sizeof(p.bytes),
                         "segment %u", i);
        FUZZ_REQUIRE(*p.query == '\0' || (p.query > target && p.query <= target + strlen(target)),
                     "query");
        got = path_query(&p, "sort", value, 64);
        FUZZ_REQUIRE(got >= -2 && got <= 64, "%d bytes", got);
    }
    free(target);
    free(value);
}

static void check_number(const char *name, int64_t value, int64_t max, bool allowed)
{
    FUZZ_REQUIRE(value >= 0 && value <= max && (allowed || value == 0), "%s is %lld", name,
                 (long long)value);
}

static bool is_text(const char *text, size_t n)
{
    for (size_t at = 0; at < n;) {
        uint32_t code;

        at += utf8_next(text + at, n - at, &code);
        if (code == UTF8_BAD)
            return false;
    }
    return true;
}

static void check_body(const char *bytes, size_t n, unsigned fields)
{
    static struct body b;
    char *why = malloc(BODY_WHY);

    memset(why, 'x', BODY_WHY);
    memset(&b, 0xa5, sizeof(b));
    if (body_parse(n ? bytes : NULL, n, fields, &b, why)) {
        check_number("acquire_timeout_s", b.acquire_timeout_s, BODY_SECONDS_MAX, fields & 1);
        check_number("timeout_s", b.timeout_s, BODY_SECONDS_MAX, fields & 2);
        check_number("lease_ttl_s", b.lease_ttl_s, BODY_SECONDS_MAX, fields & 4);
        check_number("limit", b.limit, BODY_LIMIT_MAX, fields & 8);
        FUZZ_REQUIRE((fields & 16) ? b.token_len >= 1 && b.token_len <= BODY_TOKEN_MAX
                                   : b.token_len == 0,
                     "%zu bytes of token", b.token_len);
        FUZZ_REQUIRE(memchr(b.token, ' ', b.token_len) == NULL, "a blank in a token");
    } else {
        size_t len = strnlen(why, BODY_WHY);

        FUZZ_REQUIRE(len > 0 && len < BODY_WHY && is_text(why, len), "refused in words");
    }
    free(why);
}

/* The head byte by byte, in pieces, at once: the same end, the same verdict. */
static void check_head(const char *bytes, size_t n, uint64_t seed)
{
    struct framing_head whole, parts;
    size_t at = 0, end;

    framing_begin(&whole);
    framing_begin(&parts);
    end = framing_feed(&whole, bytes, n);
    FUZZ_REQUIRE(end == n || whole.ended, "%zu of %zu", end, n);
    while (at < n && !parts.ended) {
        size_t piece = 1 + fuzz_random(&seed) % 20, took;

        piece = piece < n - at ? piece : n - at;
        took = framing_feed(&parts, bytes + at, piece);
        FUZZ_REQUIRE(took == piece || parts.ended, "%zu of %zu", took, piece);
        at += took;
    }
    FUZZ_REQUIRE(at == end && parts.ended == whole.ended && parts.bad == whole.bad,
                 "another head in pieces: %zu, %zu", at, end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_in in = {data, size};
    uint8_t which = fuzz_u8(&in), how = fuzz_u8(&in);

    fuzz_calls++;
    switch (which % 3) {
    case 0:
        check_path((const char *)in.at, in.left);
        break;
    case 1:
        check_body((const char *)in.at, in.left, how % 32);
        break;
    default:
        check_head((const char *)in.at, in.left, how);
    }
    return 0;
}
