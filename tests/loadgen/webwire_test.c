/*
 * tests/loadgen/webwire_test.c - requests as HTTP has them; answers, whole, cut at every byte, with
 * each byte changed: understood, wanting more, or refused, and nothing is read beyond what came.
 */
#include "bench/webwire.h"

#include "tests/tap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct webwire_from from = {.host = "h:1", .session = "0123456789abcdef0123456789abcdef"};

static void request(enum webwire_kind kind, const char *key, const char *arg, const char *want)
{
    size_t n;
    char *got = webwire_request(&from, kind, key, arg, &n);

    is_str(got, want, "the request of %s '%s'", key ? key : "a session", arg ? arg : "");
    is_u64(n, strlen(want), "its length");
    free(got);
}

#define SESSION "X-Dflockd-Session: 0123456789abcdef0123456789abcdef\r\n"
#define JSON "Content-Type: application/json\r\n"

static void test_requests(void)
{
    struct webwire_from other = {.host = "h:1"};

    is_int(webwire_kind(&other, "ping"), WEBWIRE_OPEN, "who has no session wants one first");
    is_int(webwire_kind(&from, "ping"), WEBWIRE_PING, "then a ping is one");
    is_int(webwire_kind(&from, "e"), WEBWIRE_ENQUEUE, "e");
    request(WEBWIRE_OPEN, NULL, NULL,
            "POST /v1/sessions HTTP/1.1\r\nHost: h:1\r\nContent-Length: 0\r\n\r\n");
    request(WEBWIRE_CLOSE, NULL, NULL,
            "DELETE /v1/sessions/0123456789abcdef0123456789abcdef HTTP/1.1\r\nHost: h:1\r\n"
            "Content-Length: 0\r\n\r\n");
    request(WEBWIRE_ACQUIRE, "a/\xc3\xa9 %", "30 10",
            "POST /v1/locks/a%2F%C3%A9%20%25 HTTP/1.1\r\nHost: h:1\r\n" SESSION JSON
            "Content-Length: 41\r\n\r\n{\"acquire_timeout_s\":30,\"lease_ttl_s\":10}");
    request(WEBWIRE_ACQUIRE, "k", "0",
            "POST /v1/locks/k HTTP/1.1\r\nHost: h:1\r\n" SESSION JSON
            "Content-Length: 23\r\n\r\n{\"acquire_timeout_s\":0}");
    request(WEBWIRE_ENQUEUE, "k", "7",
            "POST /v1/locks/k/enqueue HTTP/1.1\r\nHost: h:1\r\n" SESSION JSON
            "Content-Length: 17\r\n\r\n{\"lease_ttl_s\":7}");
    request(WEBWIRE_ENQUEUE, "k", "",
            "POST /v1/locks/k/enqueue HTTP/1.1\r\nHost: h:1\r\n" SESSION JSON
            "Content-Length: 2\r\n\r\n{}");
    from.token = "T";
    request(
        WEBWIRE_WAIT, "k", "9",
        "POST /v1/locks/k/wait HTTP/1.1\r\nHost: h:1\r\nAuthorization: Bearer T\r\n" SESSION JSON
        "Content-Length: 15\r\n\r\n{\"timeout_s\":9}");
    request(
        WEBWIRE_RELEASE, "k", "abc",
        "POST /v1/locks/k/release HTTP/1.1\r\nHost: h:1\r\nAuthorization: Bearer T\r\n" SESSION JSON
        "Content-Length: 15\r\n\r\n{\"token\":\"abc\"}");
}

static const char whole[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                            "content-length:  84\r\nDate: now\r\n\r\n"
                            "{\"status\":\"ok\",\"token\":\"0123456789abcdef0123456789abcdef\","
                            "\"lease_ttl_s\":9223372036}\n";

/* The bytes end where a page does that can not be read. */
static int understood(const char *bytes, size_t n, struct dflock_reply *reply)
{
    static char *page, text[WEBWIRE_TEXT];
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    struct webwire_answer a;
    const char *why;
    int got;

    if (!page) {
        page = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(page + size, size, PROT_NONE);
    }
    memcpy(page + size - n, bytes, n);
    got = webwire_answer(page + size - n, n, &a, &why);
    if (got > 0)
        webwire_reply(&from, WEBWIRE_ACQUIRE, &a, reply, text);
    return got;
}

static void test_answers(void)
{
    size_t n = sizeof(whole) - 1;
    unsigned wrong = 0, more = 0, refused = 0, held = 0;
    struct dflock_reply reply = {0};
    char changed[sizeof(whole)];

    is_int(understood(whole, n, &reply), 1, "a whole answer");
    is_int(reply.status, 0, "is a grant");
    is_str(reply.token, "0123456789abcdef0123456789abcdef", "its token");
    is_u64(reply.seconds, 9223372036, "its lease");
    ok(reply.text && strncmp(reply.text, "200 {\"status\":\"ok\"", 18) == 0, "its text");
    for (size_t i = 0; i < n; i++)
        wrong += understood(whole, i, &reply) != 0;
    is_u64(wrong, 0, "cut anywhere there must be more");
    for (size_t i = 0; i < n; i++) {
        for (int c = 0; c < 256; c++) {
            int got;

            memcpy(changed, whole, n);
            changed[i] = (char)c;
            got = understood(changed, n, &reply);
            more += got == 0;
            refused += got < 0 || (got > 0 && reply.status == DFLOCK_ERR_PROTOCOL);
            held += got > 0 && reply.status == 0;
        }
    }
    ok(more && refused && held, "with a byte changed: %u, %u, %u of each sort", more, refused,
       held);
}

int main(void)
{
    test_requests();
    test_answers();
    return done_testing();
}
