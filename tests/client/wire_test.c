/*
 * tests/client/wire_test.c - requests as bytes, lines as replies, and what is refused before it is
 * sent.
 */
#include "client/wire.h"
#include "tests/tap.h"

#include <math.h>
#include <string.h>

#define TOKEN "18ea2166d32f3c91342c2b878b70985b"

static void test_requests(void)
{
    char out[WIRE_REQUEST_MAX], longest[WIRE_LINE_MAX + 2];
    size_t n = wire_request(out, "l", "my-key", "10 60");

    ok(n == 15 && memcmp(out, "l\nmy-key\n10 60\n", n) == 0, "three lines");
    n = wire_request(out, "e", "my-key", "");
    ok(n == 10 && memcmp(out, "e\nmy-key\n\n", n) == 0, "an empty line is a line");
    memset(longest, 'k', sizeof(longest));
    longest[WIRE_LINE_MAX] = '\0';
    is_u64(wire_request(out, longest, longest, longest), WIRE_REQUEST_MAX, "256 bytes a line fit");
    longest[WIRE_LINE_MAX] = 'k';
    longest[WIRE_LINE_MAX + 1] = '\0';
    is_u64(wire_request(out, "l", longest, "1"), 0, "257 do not");
    is_u64(wire_request(out, "l", "a\nb", "1"), 0, "nor does a LF");
    is_u64(wire_request(out, "l", "a", "1\r"), 0, "nor a CR");
}

static void is_reply(enum wire_expect expect, const char *line, int status, uint64_t seconds,
                     const char *token)
{
    struct dflock_reply r;
    char text[1024];

    /* Not a string to the parser: what stands behind must not be read. */
    memset(text, '7', sizeof(text));
    memcpy(text, line, strlen(line));
    wire_reply(expect, text, strlen(line), &r);
    is_int(r.status, status, "status of \"%s\"", line);
    is_u64(r.seconds, seconds, "seconds of \"%s\"", line);
    is_str(r.token, token, "token of \"%s\"", line);
}

static void test_replies(void)
{
    static const struct {
        const char *line;
        int status;
    } words[] = {
        {"timeout", DFLOCK_ERR_TIMEOUT},
        {"error", DFLOCK_ERR_SERVER},
        {"error_max_locks", DFLOCK_ERR_MAX_LOCKS},
        {"error_max_waiters", DFLOCK_ERR_MAX_WAITERS},
        {"error_limit_mismatch", DFLOCK_ERR_LIMIT_MISMATCH},
        {"error_not_enqueued", DFLOCK_ERR_NOT_QUEUED},
        {"error_already_enqueued", DFLOCK_ERR_ALREADY_QUEUED},
        {"error_lease_expired", DFLOCK_ERR_LEASE_EXPIRED},
        {"error_auth", DFLOCK_ERR_AUTH},
        {"error_draining", DFLOCK_ERR_DRAINING},
    };
    static const char *const nonsense[] = {
        "", "o", "okay", "ok ", "OK", " ok", "errors", "error_", "queue", "acquired", "ok 12x",
        "ok -1", "ok +1", "ok 99999999999999999999", "ok " TOKEN, "ok " TOKEN " ",
        "ok " TOKEN " x", "ok " TOKEN "  33", "ok " TOKEN " 33 ", "acquired " TOKEN,
        "ok 18EA2166D32F3C91342C2B878B70985B 33", "ok 18ea2166d32f3c91342c2b878b70985 33",
    };

    for (int e = EXPECT_DONE; e <= EXPECT_TEXT; e++)
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
            is_reply((enum wire_expect)e, words[i].line, words[i].status, 0, "");
    is_reply(EXPECT_DONE, "ok", 0, 0, "");
    is_reply(EXPECT_GRANT, "ok " TOKEN " 33", 0, 33, TOKEN);
    is_reply(EXPECT_GRANT, "ok " TOKEN " 9223372036", 0, UINT64_C(9223372036), TOKEN);
    is_reply(EXPECT_ENQUEUE, "acquired " TOKEN " 33", DFLOCK_HELD, 33, TOKEN);
    is_reply(EXPECT_ENQUEUE, "queued", DFLOCK_QUEUED, 0, "");
    is_reply(EXPECT_SECONDS, "ok 60", 0, 60, "");
    is_reply(EXPECT_TEXT, "ok {\"connections\":1}", 0, 0, "");
    for (int e = EXPECT_DONE; e <= EXPECT_SECONDS; e++)
        for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
            struct dflock_reply r;

            wire_reply((enum wire_expect)e, nonsense[i], strlen(nonsense[i]), &r);
            is_int(r.status, DFLOCK_ERR_PROTOCOL, "\"%s\" in answer to kind %d", nonsense[i], e);
        }
    /* What would be right for another request. */
    is_reply(EXPECT_GRANT, "ok", DFLOCK_ERR_PROTOCOL, 0, "");
    is_reply(EXPECT_GRANT, "queued", DFLOCK_ERR_PROTOCOL, 0, "");
    is_reply(EXPECT_DONE, "ok 33", DFLOCK_ERR_PROTOCOL, 0, "");
    is_reply(EXPECT_SECONDS, "ok", DFLOCK_ERR_PROTOCOL, 0, "");
    is_reply(EXPECT_ENQUEUE, "ok " TOKEN " 33", DFLOCK_ERR_PROTOCOL, 0, "");
}

static void test_expectations(void)
{
    static const struct {
        const char *commands[8];
        enum wire_expect expect;
    } rows[] = {
        {{"r", "sr", "ping", "auth", "evict"}, EXPECT_DONE},
        {{"l", "sl", "w", "sw"}, EXPECT_GRANT},
        {{"e", "se"}, EXPECT_ENQUEUE},
        {{"n", "sn"}, EXPECT_SECONDS},
        {{"stats", "list", "show", "later"}, EXPECT_TEXT},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (const char *const *c = rows[i].commands; *c; c++)
            is_int(wire_expect(*c), rows[i].expect, "what %s is answered", *c);
}

static void test_checks(void)
{
    char key[258];
    struct failure f = {0};

#define REFUSED(call) (failure_clear(&f), (call) == DFLOCK_ERR_INVALID && f.text[0])
#define TAKEN(call) (failure_clear(&f), (call) == 0 && f.code == 0)
    memset(key, 'k', sizeof(key));
    key[256] = '\0';
    ok(TAKEN(wire_check_key(key, &f)), "a key of 256 bytes");
    key[256] = 'k';
    key[257] = '\0';
    ok(REFUSED(wire_check_key(key, &f)), "of 257");
    ok(REFUSED(wire_check_key("", &f)) && REFUSED(wire_check_key(NULL, &f)), "of none");
    ok(REFUSED(wire_check_key("a b", &f)) && REFUSED(wire_check_key("a\tb", &f)) &&
           REFUSED(wire_check_key("a\nb", &f)) && REFUSED(wire_check_key("a\rb", &f)),
       "with blanks or line ends");
    ok(TAKEN(wire_check_key("\x01\xff\v\f", &f)), "with other bytes");
    ok(TAKEN(wire_check_token(TOKEN, &f)), "a token");
    ok(REFUSED(wire_check_token("", &f)) && REFUSED(wire_check_token(NULL, &f)) &&
           REFUSED(wire_check_token(TOKEN "0", &f)) &&
           REFUSED(wire_check_token("18EA2166d32f3c91342c2b878b70985b", &f)) &&
           REFUSED(wire_check_token("18ea2166d32f3c91342c2b878b7098\n5", &f)),
       "what is none");
    ok(TAKEN(wire_check_timeout(0, &f)) && TAKEN(wire_check_timeout(0.001, &f)) &&
           TAKEN(wire_check_timeout(9223372036.0, &f)),
       "timeouts");
    ok(REFUSED(wire_check_timeout(-0.1, &f)) && REFUSED(wire_check_timeout(NAN, &f)) &&
           REFUSED(wire_check_timeout(INFINITY, &f)) && REFUSED(wire_check_timeout(9223372037.0, &f)),
       "what is none");
    ok(TAKEN(wire_check_lease(0, &f)) && TAKEN(wire_check_lease(UINT64_C(9223372036), &f)) &&
           REFUSED(wire_check_lease(UINT64_C(9223372037), &f)),
       "leases");
    ok(TAKEN(wire_check_limit(1, &f)) && TAKEN(wire_check_limit(1048576, &f)) &&
           REFUSED(wire_check_limit(0, &f)) && REFUSED(wire_check_limit(1048577, &f)),
       "limits");
    ok(TAKEN(wire_check_secret("s p a c e", &f)) && REFUSED(wire_check_secret("", &f)) &&
           REFUSED(wire_check_secret("a\nb", &f)) && REFUSED(wire_check_secret(NULL, &f)),
       "secrets");
    is_u64(dflock_token_fence(TOKEN), UINT64_C(0x18ea2166d32f3c91), "the fence of a token");
    is_u64(dflock_token_fence("x"), 0, "of what is none");
}

int main(void)
{
    test_requests();
    test_replies();
    test_expectations();
    test_checks();
    return done_testing();
}
