/*
 * http/framing.c - see framing.h. Runs in the HTTP worker.
 */
#include "http/framing.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/http_struct.h> /* the version has no function */
#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

/* ---- the head, byte by byte ---- */

void framing_begin(struct framing_head *f)
{
    memset(f, 0, sizeof(*f));
}

/* RFC 9110, 5.6.2 */
static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *wrong(const struct framing_head *f, char c)
{
    if (f->cr && c != '\n')
        return "the head of the request has a carriage return that does not end a line";
    if (c == '\n')
        return f->cr ? NULL : "a line of the head does not end with CR LF";
    if (c == '\r')
        return NULL;
    if (((unsigned char)c < ' ' && c != '\t') || c == 0x7f)
        return "the head of the request has a control character";
    if (!f->fields || f->named)
        return NULL;
    if (f->line == 0 && (c == ' ' || c == '\t'))
        return "a header is folded: it belongs on one line";
    if (c == ':')
        return f->line > 0 ? NULL : "a header has no name";
    return is_token(c) ? NULL : "the name of a header has a character that no name has";
}

size_t framing_feed(struct framing_head *f, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = bytes[i];

        if (f->ended)
            return i;
        if (!f->bad)
            f->bad = wrong(f, c);
        f->cr = c == '\r';
        if (c == '\n') {
            f->ended = f->line == 0;
            f->fields = true;
            f->named = false;
            f->line = 0;
        } else if (c != '\r') {
            f->named |= c == ':';
            f->line++;
        }
    }
    return n;
}

/* ---- a whole request ---- */

struct seen {
    unsigned lengths, codings, hosts;
    const char *length, *coding; /* the last one */
};

static struct seen look(const struct evkeyvalq *headers)
{
    const struct evkeyval *h;
    struct seen s = {0};

    TAILQ_FOREACH (h, headers, next) {
        if (strcasecmp(h->key, "Content-Length") == 0) {
            s.lengths++;
            s.length = h->value;
        } else if (strcasecmp(h->key, "Transfer-Encoding") == 0) {
            s.codings++;
            s.coding = h->value;
        } else if (strcasecmp(h->key, "Host") == 0) {
            s.hosts++;
        }
    }
    return s;
}

static const char *wrong_length(const struct seen *s, size_t read)
{
    if (s->lengths > 1)
        return "there is more than one Content-Length";
    if (s->lengths && s->codings)
        return "there is a Content-Length beside Transfer-Encoding";
    if (s->lengths && (!*s->length || s->length[strspn(s->length, "0123456789")]))
        return "Content-Length is not a number";
    if (s->lengths && strtoull(s->length, NULL, 10) != read)
        return "this method has no body";
    return NULL;
}

static const char *wrong_coding(const struct seen *s, const struct evhttp_request *req)
{
    if (s->codings == 0)
        return NULL;
    if (s->codings > 1 || strcasecmp(s->coding, "chunked") != 0)
        return "Transfer-Encoding is not chunked";
    return req->minor == 1 ? NULL : "HTTP/1.0 has no Transfer-Encoding";
}

enum framing framing_check(const struct framing_head *f, struct evhttp_request *req,
                           const char **why)
{
    struct seen s = look(evhttp_request_get_input_headers(req));

    *why = f->bad;
    if (req->major != 1 || (req->minor != 0 && req->minor != 1)) {
        req->major = req->minor = 1; /* the answer's would be the same */
        *why = "only HTTP/1.0 and HTTP/1.1 are served";
    }
    if (!*why)
        *why = wrong_length(&s, evbuffer_get_length(evhttp_request_get_input_buffer(req)));
    if (!*why)
        *why = wrong_coding(&s, req);
    if (!*why && (s.hosts > 1 || (s.hosts == 0 && req->minor == 1)))
        *why = "there is not exactly one Host";
    if (*why)
        return FRAMING_BAD;
    /* Of a target with a host in it libevent closes the connection in any case. */
    return s.codings || evhttp_request_get_uri(req)[0] != '/' ? FRAMING_LAST : FRAMING_GOOD;
}

const char *framing_who(struct evhttp_request *req)
{
    unsigned authorizations = 0, sessions = 0;
    const struct evkeyval *h;

    TAILQ_FOREACH (h, evhttp_request_get_input_headers(req), next) {
        authorizations += strcasecmp(h->key, "Authorization") == 0;
        sessions += strcasecmp(h->key, "X-Dflockd-Session") == 0;
    }
    return authorizations > 1 ? "there is more than one Authorization"
           : sessions > 1     ? "there is more than one X-Dflockd-Session"
                              : NULL;
}
