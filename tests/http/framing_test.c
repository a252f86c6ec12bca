/*
 * tests/http/framing_test.c - heads byte by byte, and what is wrong with a request that libevent has
 * read.
 */
#include "http/framing.h"
#include "tests/tap.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <string.h>

static void head(const char *bytes, size_t n, size_t taken, bool ended, bool good)
{
    for (size_t step = 1; step <= n + 1; step++) {
        struct framing_head f;
        size_t at = 0;

        framing_begin(&f);
        while (at < n && !f.ended) {
            size_t some = n - at < step ? n - at : step;
            size_t got = framing_feed(&f, bytes + at, some);

            at += got;
            if (got < some)
                break;
        }
        if (at != taken || f.ended != ended || !f.bad != good) {
            ok(false, "%s: in steps of %zu: %zu bytes, ended %d, %s", bytes, step, at, f.ended,
               f.bad ? f.bad : "good");
            return;
        }
    }
    ok(true, "%s", bytes);
}

#define HEAD(text, taken, ended, good) head(text, sizeof(text) - 1, taken, ended, good)

static void heads(void)
{
    HEAD("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, true, true);
    HEAD("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET", 27, true, true);
    HEAD("GET / HTTP/1.1\r\n\r\n\r\n", 18, true, true);
    HEAD("GET / HTTP/1.1\r\nHost: x\r\n", 25, false, true);
    HEAD("GET / HTTP/1.1\r\na!#$%&'*+-.^_`|~Z9:\r\n\r\n", 39, true, true);
    HEAD("GET / HTTP/1.1\r\nA: b:c \t\xff\r\n\r\n", 29, true, true);
    HEAD("GET / HTTP/1.1\r\nA : b\r\n\r\n", 25, true, false);
    HEAD("GET / HTTP/1.1\r\nA\t: b\r\n\r\n", 25, true, false);
    HEAD("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 28, true, false);
    HEAD("GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n", 28, true, false);
    HEAD("GET / HTTP/1.1\r\n: b\r\n\r\n", 23, true, false);
    HEAD("GET / HTTP/1.1\r\n(: b\r\n\r\n", 24, true, false);
    HEAD("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", 26, true, false);
    HEAD("GET /\0 HTTP/1.1\r\n\r\n", 19, true, false);
    HEAD("GET / HTTP/1.1\r\nA: \x7f\r\n\r\n", 24, true, false);
    HEAD("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", 26, true, false);
    HEAD("GET / HTTP/1.1\nA: b\n\n", 21, true, false);
    HEAD("GET / HTTP/1.1\r\nA: b\n\r\n", 23, true, false);
    HEAD("GET / HTTP/1.1\r\nA: b\r\n\n", 23, true, false);
}

/* "name: value" …, until NULL. */
static enum framing judge(int minor, const char *uri, size_t body, const char *const *headers,
                          const char **why)
{
    struct evhttp_request *req = evhttp_request_new(NULL, NULL);
    struct framing_head good = {.ended = true};
    enum framing f;

    if (!req)
        bail_out("no memory");
    req->major = 1;
    req->minor = (char)minor;
    req->uri = strdup(uri);
    for (; *headers; headers++) {
        char name[64];
        const char *colon = strchr(*headers, ':');

        memcpy(name, *headers, (size_t)(colon - *headers));
        name[colon - *headers] = '\0';
        evhttp_add_header(evhttp_request_get_input_headers(req), name, colon + 2);
    }
    for (; body > 0; body--)
        evbuffer_add(evhttp_request_get_input_buffer(req), "x", 1);
    f = framing_check(&good, req, why);
    evhttp_request_free(req);
    return f;
}

static void requests(void)
{
    static const struct {
        int minor;
        const char *uri;
        size_t body;
        const char *headers[4];
        enum framing framing;
    } cases[] = {
        {1, "/", 0, {"Host: x"}, FRAMING_GOOD},
        {0, "/", 0, {NULL}, FRAMING_GOOD},
        {1, "/", 0, {NULL}, FRAMING_BAD},
        {1, "/", 0, {"Host: x", "host: x"}, FRAMING_BAD},
        {2, "/", 0, {"Host: x"}, FRAMING_BAD},
        {1, "http://x/", 0, {"Host: x"}, FRAMING_LAST},
        {1, "/", 5, {"Host: x", "Content-Length: 5"}, FRAMING_GOOD},
        {1, "/", 5, {"Host: x", "Content-Length: 005"}, FRAMING_GOOD},
        {1, "/", 0, {"Host: x", "Content-Length: 0"}, FRAMING_GOOD},
        {1, "/", 0, {"Host: x", "Content-Length: 5"}, FRAMING_BAD},
        {1, "/", 5, {"Host: x", "Content-Length: 5", "content-length: 5"}, FRAMING_BAD},
        {1, "/", 5, {"Host: x", "Content-Length: 5, 5"}, FRAMING_BAD},
        {1, "/", 5, {"Host: x", "Content-Length: +5"}, FRAMING_BAD},
        {1, "/", 5, {"Host: x", "Content-Length: 5 "}, FRAMING_BAD},
        {1, "/", 5, {"Host: x", "Content-Length: 0x5"}, FRAMING_BAD},
        {1, "/", 0, {"Host: x", "Content-Length: "}, FRAMING_BAD},
        {1, "/", 0, {"Host: x", "Content-Length: 99999999999999999999999999"}, FRAMING_BAD},
        {1, "/", 5, {"Host: x", "Transfer-Encoding: chunked"}, FRAMING_LAST},
        {1, "/", 5, {"Host: x", "transfer-encoding: CHUNKED"}, FRAMING_LAST},
        {0, "/", 5, {"Transfer-Encoding: chunked"}, FRAMING_BAD},
        {1, "/", 5, {"Host: x", "Transfer-Encoding: chunked", "Content-Length: 5"}, FRAMING_BAD},
        {1, "/", 5, {"Host: x", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"},
         FRAMING_BAD},
        {1, "/", 5, {"Host: x", "Transfer-Encoding: gzip, chunked"}, FRAMING_BAD},
        {1, "/", 5, {"Host: x", "Transfer-Encoding: identity"}, FRAMING_BAD},
        {1, "/", 5, {"Host: x", "Transfer-Encoding: chunked;q=1"}, FRAMING_BAD},
        {1, "/", 5, {"Host: x", "Transfer-Encoding: \vchunked"}, FRAMING_BAD},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *why = NULL;
        enum framing f = judge(cases[i].minor, cases[i].uri, cases[i].body, cases[i].headers, &why);

        is_int(f, cases[i].framing, "case %zu: %s", i, why ? why : "");
        ok((f == FRAMING_BAD) == (why != NULL), "a reason is said");
    }
}

int main(void)
{
    heads();
    requests();
    return done_testing();
}
