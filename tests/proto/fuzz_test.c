/*
 * tests/proto/fuzz_test.c - random and mutated requests against what must hold for any bytes.
 *
 * Every input is parsed twice: once with an unreadable page right behind it, once with one right
 * before it, so that reading a single byte outside ends the test with a signal. Framing is compared
 * with a second, slow reader written from the specification; contents are checked for what the
 * header promises. DFLOCKD_TEST_SEED repeats a run, DFLOCKD_FUZZ_RUNS changes its length.
 */
#include "base/num.h"
#include "proto/request.h"
#include "tests/proto/same.h"
#include "tests/tap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { AREA = 128 * 1024, INPUT_MAX = 100 * 1024 };

static uint64_t rng_state;

/* splitmix64: any seed will do, 0 too */
static uint64_t rng(void)
{
    uint64_t z = rng_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static size_t below(size_t n)
{
    return (size_t)(rng() % n);
}

#define PICK(array) ((array)[below(sizeof(array) / sizeof((array)[0]))])

struct input {
    size_t len;
    char bytes[INPUT_MAX];
};

static void put(struct input *in, const void *bytes, size_t n)
{
    if (n > INPUT_MAX - in->len)
        n = INPUT_MAX - in->len;
    memcpy(in->bytes + in->len, bytes, n);
    in->len += n;
}

static void put_text(struct input *in, const char *text)
{
    put(in, text, strlen(text));
}

static void put_fill(struct input *in, size_t n)
{
    char c = (char)"k7\r \t\0x"[below(7)];

    while (n-- > 0)
        put(in, &c, 1);
}

/* Around the caps, where off-by-ones live; rarely around auth's, which is dear. */
static size_t near_cap(void)
{
    return (below(400) == 0 ? REQUEST_AUTH_MAX : REQUEST_LINE_MAX) - 3 + below(7);
}

static void put_line_end(struct input *in)
{
    static const char *const ends[] = {"\n",     "\n",  "\n",   "\n",   "\r\n",
                                       "\r\r\n", " \n", "\v\n", "\n\n", ""};

    put_text(in, PICK(ends));
}

static void put_command(struct input *in)
{
    static const char *const words[] = {
        "l",     "r",    "n",    "sl",   "sr",   "sn",    "e", "w", "se",    "sw", "ping",
        "stats", "auth", "auth", "list", "show", "evict", "",  "L", "auths", "s",  "evicts12",
    };

    put_text(in, PICK(words));
}

static void put_key(struct input *in)
{
    static const char *const keys[] = {
        "k",   "*",    "user:42:profile", "",       "a b",    "\xd0\xba\xd0\xbb",
        "k\r", "a\rb", "\v\f\x01",        "my-key", "my-key", "my-key"};

    if (below(30) == 0)
        put_fill(in, near_cap());
    else
        put_text(in, PICK(keys));
}

static void put_field(struct input *in)
{
    /* clang-format off */
    static const char *const fields[] = {
        "0", "1", "10", "33", "-1", "+5", "-0", "007", "x", "1.0", "0x10", "+", "lock", "sem",
        "9223372036", "9223372037", "1048576", "1048577", "9223372036854775807",
        "9223372036854775808", "-9223372036854775808", "18446744073709551615",
        "18446744073709551616", "0123456789abcdef0011223344556677", "1 ", "lock 5",
    };
    /* clang-format on */

    put_text(in, PICK(fields));
}

static void put_arg(struct input *in)
{
    static const char *const gaps[] = {" ", " ", " ", "  ", "\t", "\v", "\f", "\r", "\x1f", "\x85"};
    size_t n = below(5);

    if (below(30) == 0) {
        put_fill(in, near_cap());
        return;
    }
    if (below(8) == 0)
        put_text(in, PICK(gaps));
    for (size_t i = 0; i < n; i++) {
        put_field(in);
        if (i + 1 < n || below(8) == 0)
            put_text(in, PICK(gaps));
    }
}

static void put_message(struct input *in)
{
    if (below(60) == 0)
        put_fill(in, near_cap());
    put_command(in);
    if (below(60) == 0)
        put_fill(in, near_cap());
    put_line_end(in);
    put_key(in);
    put_line_end(in);
    put_arg(in);
    put_line_end(in);
}

static void mutate(struct input *in)
{
    for (size_t n = below(4); n > 0 && in->len > 0; n--) {
        size_t at = below(in->len);

        switch (below(5)) {
        case 0:
            in->bytes[at] = (char)rng();
            break;
        case 1:
            in->bytes[at] ^= (char)(1u << below(8));
            break;
        case 2:
            memmove(in->bytes + at, in->bytes + at + 1, in->len - at - 1);
            in->len--;
            break;
        case 3:
            if (in->len == INPUT_MAX)
                break;
            memmove(in->bytes + at + 1, in->bytes + at, in->len - at);
            in->bytes[at] = "\n\r \t\0"[below(5)];
            in->len++;
            break;
        default:
            in->len = at;
        }
    }
}

static void generate(struct input *in)
{
    static const char alphabet[] = "\n\n\r \tlsrnewauth019+-*\v\f\0\xff";

    in->len = 0;
    switch (below(8)) {
    case 0:
        for (size_t n = below(40); n > 0; n--)
            put(in, (char[]){(char)rng()}, 1);
        break;
    case 1:
        for (size_t n = below(60); n > 0; n--)
            put(in, &alphabet[below(sizeof(alphabet) - 1)], 1);
        break;
    case 2:
        put_message(in);
        put_message(in);
        mutate(in);
        break;
    case 3:
    case 4:
        put_message(in);
        break;
    default:
        put_message(in);
        mutate(in);
    }
}

/* The framing rules once more, a byte at a time. */
static enum request_result slow_framing(const char *buf, size_t len, size_t *consumed, int *line)
{
    char first[REQUEST_LINE_MAX];
    size_t in_line = 0, first_len = 0, cap = REQUEST_LINE_MAX;

    *line = 1;
    *consumed = 0;
    for (size_t i = 0; i < len; i++) {
        if (buf[i] == '\n') {
            if (*line == 1) {
                first_len = in_line;
                while (first_len > 0 && first[first_len - 1] == '\r')
                    first_len--;
            }
            if (*line == 2 && first_len == 4 && memcmp(first, "auth", 4) == 0)
                cap = REQUEST_AUTH_MAX;
            if (++*line > 3) {
                *consumed = i + 1;
                return REQUEST_OK;
            }
            in_line = 0;
        } else if (in_line == cap) {
            *consumed = i + 1;
            return REQUEST_LONG;
        } else {
            if (*line == 1)
                first[in_line] = buf[i];
            in_line++;
        }
    }
    return REQUEST_MORE;
}

static bool inside(const char *at, size_t n, const char *buf, size_t consumed)
{
    return at >= buf && n <= consumed && (size_t)(at - buf) <= consumed - n;
}

static bool trimmed(const char *at, size_t n)
{
    static const char white[] = " \t\v\f\r\n";

    return n > 0 && memchr(white, at[0], 6) == NULL && memchr(white, at[n - 1], 6) == NULL;
}

/* What the header promises of an accepted request; NULL = all of it holds. */
static const char *check_ok(const struct request *r, const char *buf)
{
    bool lock = r->verb != VERB_SHOW && r->verb != VERB_EVICT && r->kind == REQUEST_LOCK;
    bool named = r->verb != VERB_PING && r->verb != VERB_STATS && r->verb != VERB_AUTH;

    if (r->error != 0 || r->line != 0 || r->room != 0)
        return "traces of an error";
    if (r->verb <= VERB_NONE || r->verb >= VERB_COUNT)
        return "verb";
    if ((r->kind == REQUEST_ANY) != (!named || r->verb == VERB_LIST))
        return "kind";
    if (!inside(r->command, r->command_len, buf, r->consumed))
        return "command outside";
    if ((r->key != NULL) != named)
        return "key";
    if (named &&
        (!inside(r->key, r->key_len, buf, r->consumed) ||
         (!request_key_ok(r->key, r->key_len) && !(r->verb == VERB_LIST && r->key_len == 0))))
        return "key outside or bad";
    if ((r->token != NULL) !=
        (r->verb == VERB_RELEASE || r->verb == VERB_RENEW || r->verb == VERB_AUTH))
        return "token";
    if (r->token != NULL &&
        (!inside(r->token, r->token_len, buf, r->consumed) || !trimmed(r->token, r->token_len)))
        return "token outside or not trimmed";
    if (r->cursor != NULL && (r->verb != VERB_LIST || !trimmed(r->cursor, r->cursor_len) ||
                              !inside(r->cursor, r->cursor_len, buf, r->consumed)))
        return "cursor";
    if (r->timeout_s < 0 || r->timeout_s > SECONDS_MAX || r->lease_s < 0 ||
        r->lease_s > SECONDS_MAX || r->limit > REQUEST_LIMIT_MAX)
        return "range";
    if (lock && r->limit != 1)
        return "limit of a lock";
    if ((r->verb == VERB_ACQUIRE || r->verb == VERB_ENQUEUE) && r->limit == 0)
        return "limit 0";
    if (r->fence != 0 && r->verb != VERB_EVICT)
        return "fence";
    return NULL;
}

static unsigned long seen_result[REQUEST_LONG + 1], seen_error[16], seen_verb[VERB_COUNT];

/* One input: NULL, or what does not hold. A guard page lies before `front` and at `back_end`. */
static const char *check(const struct input *in, char *front, char *back_end)
{
    char *back = back_end - in->len;
    size_t consumed, cut;
    int line;
    struct request r, other;
    enum request_result result, framing = slow_framing(in->bytes, in->len, &consumed, &line);

    memcpy(back, in->bytes, in->len);
    memcpy(front, in->bytes, in->len);
    result = request_parse(back, in->len, &r);
    if (request_parse(front, in->len, &other) != result || !same_request(&r, back, &other, front))
        return "another answer at another address";
    seen_result[result]++;
    seen_error[r.error & 15]++;
    if (result == REQUEST_OK)
        seen_verb[r.verb]++;

    if (r.consumed != consumed)
        return "consumed";
    if ((result == REQUEST_BAD ? REQUEST_OK : result) != framing)
        return "framing";
    if ((result == REQUEST_MORE || result == REQUEST_LONG) && r.line != line)
        return "line";
    if ((result == REQUEST_LONG) != (r.error == REQUEST_ERROR_LONG))
        return "error";
    if (result == REQUEST_MORE)
        return in->len < r.room ? NULL : "room";
    if (memcmp(back, in->bytes, in->len) != 0)
        return "the input was written to";

    /* Cut anywhere, put at the guard page again: MORE before the answer is there, then the same. */
    cut = below(consumed);
    memcpy(back_end - cut, in->bytes, cut);
    if (request_parse(back_end - cut, cut, &other) != REQUEST_MORE)
        return "a part is not MORE";
    memcpy(back_end - consumed, in->bytes, consumed);
    if (request_parse(back_end - consumed, consumed, &other) != result ||
        !same_request(&r, back, &other, back_end - consumed))
        return "bytes behind the request change the answer";

    if (result == REQUEST_OK) {
        memcpy(back, in->bytes, in->len);
        return check_ok(&r, back);
    }
    return r.key == NULL && r.token == NULL && r.limit == 0 && r.lease_s == 0 && r.timeout_s == 0
               ? NULL
               : "half a request";
}

static void dump(const struct input *in)
{
    char text[3 * 64 + 1];

    diag("input, %zu bytes:", in->len);
    for (size_t i = 0; i < in->len && i < 2048; i += 64) {
        size_t n = 0;
        for (size_t j = i; j < in->len && j < i + 64; j++)
            n += (size_t)snprintf(text + n, 4, "%02x ", (unsigned char)in->bytes[j]);
        diag("  %s", text);
    }
}

static uint64_t from_env(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);

    return text == NULL || *text == '\0' ? fallback : strtoull(text, NULL, 0);
}

/* A run that never met some answer proves nothing about it. */
static void check_variety(void)
{
    static const int codes[] = {3, 4, 5, 6, 7, 8, 9, 12, 13};

    for (int i = REQUEST_MORE; i <= REQUEST_LONG; i++)
        ok(seen_result[i] > 0, "result %d was met %lu times", i, seen_result[i]);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        ok(seen_error[codes[i]] > 0, "error %d was met %lu times", codes[i], seen_error[codes[i]]);
    for (int i = VERB_NONE + 1; i < VERB_COUNT; i++)
        ok(seen_verb[i] > 0, "verb %d was met %lu times", i, seen_verb[i]);
}

int main(void)
{
    static struct input in;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint64_t seed = from_env("DFLOCKD_TEST_SEED", (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32);
    uint64_t runs = from_env("DFLOCKD_FUZZ_RUNS", 1500000);
    const char *wrong = NULL;
    uint64_t i;
    char *base = mmap(NULL, 2 * AREA + 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *front, *back_end;

    /* guard | front, AREA | guard | back, AREA | guard */
    front = base + page;
    back_end = base + 2 * page + 2 * AREA;
    if (base == MAP_FAILED || mprotect(front, AREA, PROT_READ | PROT_WRITE) != 0 ||
        mprotect(back_end - AREA, AREA, PROT_READ | PROT_WRITE) != 0)
        bail_out("no memory with guard pages");

    diag("DFLOCKD_TEST_SEED=%" PRIu64, seed);
    fflush(stdout);
    rng_state = seed;
    for (i = 0; i < runs && wrong == NULL; i++) {
        generate(&in);
        wrong = check(&in, front, back_end);
    }
    ok(wrong == NULL, "%" PRIu64 " inputs", i);
    if (wrong != NULL) {
        diag("%s", wrong);
        dump(&in);
    }
    if (wrong == NULL && runs >= 100000)
        check_variety();
    return done_testing();
}
