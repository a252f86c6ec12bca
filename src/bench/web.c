/*
 * bench/web.c - see web.h.
 */
#include "bench/web.h"

#include "bench/webwire.h"

#include "base/clock.h"
#include "client/reach.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { IN_MIN = 1024 };
static const char call[] = "dflock_web"; /* where_reason() takes it off again */

/* A request, sent or not. */
struct asked {
    struct asked *next;
    enum webwire_kind kind;
    char *bytes;
    size_t len, sent;
};

struct web {
    struct reach r;
    struct addr name;
    struct addr_list to;
    bool made;  /* the connection */
    bool heard; /* anything of the server */
    struct failure failure;
    struct webwire_from from;
    struct asked *first, *last; /* the first is under way */
    char *in;
    size_t in_at, in_len, in_cap;
    char text[WEBWIRE_TEXT]; /* of the last reply */
};

/* ---- life ------------------------------------------------------------------------------------ */

int web_open(struct web **out, const char *address, const dflock_options *o)
{
    struct web *w = calloc(1, sizeof(*w));
    struct failure f = {0};

    *out = NULL;
    if (!w)
        return error_raise(DFLOCK_ERR_SYSTEM, call, "no memory");
    reach_init(&w->r, o);
    w->from.token = o->auth_token;
    w->in_cap = IN_MIN;
    w->in = malloc(w->in_cap);
    if (!w->in)
        failure_set(&f, DFLOCK_ERR_SYSTEM, "no memory");
    else if (addr_parse(&w->name, address, strlen(address), &f) == 0 &&
             addr_resolve(&w->name, &w->to, &f) == 0)
        reach_begin(&w->r, &w->name, &w->to, clock_boottime_ns());
    if (f.code) {
        web_free(w);
        return failure_raise(&f, call);
    }
    w->from.host = w->name.local ? "localhost" : w->name.text;
    *out = w;
    return 0;
}

static void drop_first(struct web *w)
{
    struct asked *a = w->first;

    w->first = a->next;
    free(a->bytes);
    free(a);
}

/* Nobody waits for the answer: the server reads this before it finds that the connection has ended.
 */
static void end_session(struct web *w)
{
    struct failure unheard = {0};
    size_t n;
    char *bytes = webwire_request(&w->from, WEBWIRE_CLOSE, NULL, NULL, &n);

    if (bytes)
        (void)w->r.t.ops->write(&w->r.t, bytes, n, &unheard);
    free(bytes);
}

void web_free(struct web *w)
{
    if (!w)
        return;
    if (w->from.session[0] && !w->first && !w->failure.code)
        end_session(w);
    reach_close(&w->r, w->first != NULL);
    while (w->first)
        drop_first(w);
    addr_free(&w->name);
    free(w->in);
    free(w);
}

/* ---- requests and answers -------------------------------------------------------------------- */

int web_submit(struct web *w, const char *command, const char *key, const char *arg)
{
    struct asked *a = calloc(1, sizeof(*a));

    if (a) {
        a->kind = webwire_kind(&w->from, command);
        a->bytes = webwire_request(&w->from, a->kind, key, arg, &a->len);
    }
    if (!a || !a->bytes) {
        free(a);
        return error_raise(DFLOCK_ERR_SYSTEM, call, "no memory");
    }
    if (w->first)
        w->last->next = a;
    else
        w->first = a;
    w->last = a;
    return 0;
}

static int fail(struct web *w, int code, const char *why)
{
    return failure_set(&w->failure, code, "%s", why);
}

/* What has failed is said without the server's name. */
static int say(const struct web *w)
{
    return error_raise(w->failure.code, call, "%s: %s", w->name.text, w->failure.text);
}

int web_next(struct web *w, struct dflock_reply *reply)
{
    struct webwire_answer a;
    const char *why;
    int got = 0;

    if (w->in_len > w->in_at)
        got = webwire_answer(w->in + w->in_at, w->in_len - w->in_at, &a, &why);
    if (got > 0 && (!w->first || w->first->sent < w->first->len)) {
        why = "an answer to no request";
        got = -1;
    }
    if (got < 0)
        fail(w, DFLOCK_ERR_PROTOCOL, why);
    if (w->failure.code && got <= 0)
        return say(w);
    if (got == 0)
        return 0;
    webwire_reply(&w->from, w->first->kind, &a, reply, w->text);
    w->in_at += a.len;
    drop_first(w);
    return 1;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static bool room_in(struct web *w)
{
    char *bigger;

    memmove(w->in, w->in + w->in_at, w->in_len - w->in_at);
    w->in_len -= w->in_at;
    w->in_at = 0;
    if (w->in_len < w->in_cap)
        return true;
    bigger = realloc(w->in, 2 * w->in_cap);
    if (!bigger)
        return false;
    w->in = bigger;
    w->in_cap *= 2;
    return true;
}

static int ended(struct web *w)
{
    if (!w->heard && !w->r.o->tls && !w->name.local)
        return fail(w, DFLOCK_ERR_CONNECT,
                    "the server closed the connection without a word; it may want TLS");
    return fail(w, DFLOCK_ERR_CONNECT, "the server closed the connection");
}

/* An answer is short: what is longer is an error before it takes much memory. */
static int receive(struct web *w)
{
    while (w->in_len - w->in_at < 2 * WEBWIRE_ANSWER_MAX) {
        ssize_t n;

        if (!room_in(w))
            return fail(w, DFLOCK_ERR_SYSTEM, "no memory for an answer");
        n = w->r.t.ops->read(&w->r.t, w->in + w->in_len, w->in_cap - w->in_len, &w->failure);
        if (n == 0)
            return ended(w);
        if (n < 0)
            return n == TRANSPORT_AGAIN ? 0 : (int)n;
        w->heard = true;
        w->in_len += (size_t)n;
    }
    return 0;
}

static int send_first(struct web *w)
{
    struct asked *a = w->first;

    while (a && a->sent < a->len) {
        ssize_t n = w->r.t.ops->write(&w->r.t, a->bytes + a->sent, a->len - a->sent, &w->failure);

        if (n < 0)
            return n == TRANSPORT_AGAIN ? 0 : (int)n;
        a->sent += (size_t)n;
    }
    return 0;
}

static bool is_sending(const struct web *w)
{
    return w->first && w->first->sent < w->first->len;
}

int web_process(struct web *w)
{
    uint64_t now = clock_boottime_ns();
    bool fresh;
    int err = 0;

    if (w->failure.code)
        return say(w);
    if (!w->made) {
        err = reach_step(&w->r, now, &w->failure);
        if (err == TRANSPORT_AGAIN && now >= w->r.until)
            err = fail(w, DFLOCK_ERR_CONNECT, "no connection in time");
        if (err == TRANSPORT_AGAIN)
            return 0;
        w->made = err == 0;
    }
    /* What was just asked is not answered yet: poll() says when. */
    fresh = err == 0 && is_sending(w);
    if (err == 0)
        err = send_first(w);
    if (err == 0 && (!fresh || is_sending(w) || w->r.t.ops->pending(&w->r.t)))
        err = receive(w);
    return err ? say(w) : 0;
}

int web_fd(const struct web *w)
{
    return w->r.t.fd;
}

int web_events(const struct web *w)
{
    if (!w->made)
        return w->r.t.wants;
    return is_sending(w) ? POLLIN | POLLOUT : POLLIN;
}

int web_timeout_ms(const struct web *w)
{
    uint64_t now = clock_boottime_ns(), until;

    if (w->made)
        return -1;
    until = reach_deadline(&w->r);
    return until > now ? (int)((until - now) / NS_PER_MS + 1) : 0;
}
