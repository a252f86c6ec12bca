/*
 * client/channel.c - see channel.h
 *
 * Requests wait in `out`, what was received in `in`; `expect` is a ring that says for each request
 * without a reply what its reply may be. A failure ends the connection but closes nothing: replies that
 * came before it can be taken, and the descriptor stays the owner's until channel_close().
 */
#include "client/channel.h"
#include "client/reach.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum {
    IN_MIN = 256,
    IN_GROWS_TO = 64 * 1024,        /* as long as the lines are short */
    LINE_MAX_SHORT = 4096,          /* a reply that is no document */
    LINE_MAX_TEXT = 64 * 1024 * 1024,
    READ_AT_ONCE = 1024 * 1024,     /* in one channel_process() */
};

static const uint64_t idle_ns = 1000 * 1000 * 1000;      /* the server closes idle connections later */

enum state { CLOSED, REACHING, AUTHENTICATING, READY, FAILED };

struct channel {
    const struct dflock_options *o;
    struct reach r;
    enum state state;
    uint64_t processed;       /* when, the last time */
    bool heard;               /* anything of the server */
    bool fresh;               /* nothing of what is expected has been asked yet */
    struct failure failure;

    char *out;
    size_t out_at, out_len, out_cap;
    size_t held; /* of it: requests that wait for the server's word to the secret */
    char *in;
    size_t in_at, in_seen, in_len, in_cap; /* in_seen: up to there is no line end */
    uint8_t *expect;
    size_t expect_at, expect_n, expect_cap; /* a power of two */
};

/* ---- life ------------------------------------------------------------------------------------ */

struct channel *channel_new(const struct dflock_options *o)
{
    struct channel *c = calloc(1, sizeof(*c));

    if (c) {
        c->o = o;
        reach_init(&c->r, o);
    }
    return c;
}

void channel_close(struct channel *c)
{
    reach_close(&c->r, c->expect_n > 0);
    c->state = CLOSED;
    if (c->out)
        explicit_bzero(c->out, c->out_cap); /* a secret may be in it */
    c->out_at = c->out_len = c->held = 0;
    c->in_at = c->in_seen = c->in_len = 0;
    c->expect_at = c->expect_n = 0;
    failure_clear(&c->failure);
}

void channel_free(struct channel *c)
{
    if (!c)
        return;
    channel_close(c);
    free(c->out);
    free(c->in);
    free(c->expect);
    free(c);
}

/* What failed is said below without the server's name. */
static int fail(struct channel *c)
{
    struct failure why = c->failure;

    c->state = FAILED;
    failure_clear(&c->failure);
    return failure_set(&c->failure, why.code, "%s: %s", c->r.name->text, why.text);
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool room_out(struct channel *c, size_t n)
{
    size_t cap = c->out_cap ? c->out_cap : 256;
    char *bigger;

    if (c->out_at && c->out_at >= c->out_len / 2) {
        memmove(c->out, c->out + c->out_at, c->out_len - c->out_at);
        c->out_len -= c->out_at;
        c->out_at = 0;
    }
    while (cap - c->out_len < n)
        cap *= 2;
    if (cap == c->out_cap)
        return true;
    bigger = realloc(c->out, cap);
    if (!bigger)
        return false;
    c->out = bigger;
    c->out_cap = cap;
    return true;
}

static bool will_expect(struct channel *c, enum wire_expect what)
{
    if (c->expect_n == c->expect_cap) {
        size_t cap = c->expect_cap ? 2 * c->expect_cap : 8;
        uint8_t *bigger = malloc(cap);

        if (!bigger)
            return false;
        for (size_t i = 0; i < c->expect_n; i++)
            bigger[i] = c->expect[(c->expect_at + i) & (c->expect_cap - 1)];
        free(c->expect);
        c->expect = bigger;
        c->expect_cap = cap;
        c->expect_at = 0;
    }
    c->expect[(c->expect_at + c->expect_n) & (c->expect_cap - 1)] = (uint8_t)what;
    if (c->expect_n++ == 0)
        c->fresh = true;
    return true;
}

/* The secret may be longer than a request's lines are. */
static bool queue_auth(struct channel *c, const char *secret)
{
    static const char head[] = "auth\n_\n";
    size_t nhead = sizeof(head) - 1, n = strlen(secret);

    if (!room_out(c, nhead + n + 1) || !will_expect(c, EXPECT_DONE))
        return false;
    memcpy(c->out + c->out_len, head, nhead);
    memcpy(c->out + c->out_len + nhead, secret, n);
    c->out[c->out_len + nhead + n] = '\n';
    c->out_len += nhead + n + 1;
    return true;
}

int channel_request(struct channel *c, const char *command, const char *key, const char *arg)
{
    size_t n;

    if (!room_out(c, WIRE_REQUEST_MAX))
        return DFLOCK_ERR_SYSTEM;
    n = wire_request(c->out + c->out_len, command, key, arg);
    if (n == 0)
        return DFLOCK_ERR_INVALID;
    if (!will_expect(c, wire_expect(command)))
        return DFLOCK_ERR_SYSTEM;
    c->out_len += n;
    if (c->o->auth_token && c->state != READY)
        c->held += n;
    return 0;
}

int channel_authenticate(struct channel *c, const char *secret)
{
    return queue_auth(c, secret) ? 0 : DFLOCK_ERR_SYSTEM;
}

/* ---- connecting ------------------------------------------------------------------------------ */

void channel_dial(struct channel *c, const struct addr *name, const struct addr_list *to,
                  uint64_t now)
{
    channel_close(c);
    reach_begin(&c->r, name, to, now);
    c->state = REACHING;
    c->heard = false;
    if (c->o->auth_token && !queue_auth(c, c->o->auth_token)) {
        failure_set(&c->failure, DFLOCK_ERR_SYSTEM, "no memory");
        fail(c);
    }
}

/* 0: connected and shaken hands; TRANSPORT_AGAIN; or failed. */
static int reaching(struct channel *c, uint64_t now)
{
    int err;

    if (c->state != REACHING)
        return 0;
    err = reach_step(&c->r, now, &c->failure);
    if (err == 0)
        c->state = c->o->auth_token ? AUTHENTICATING : READY;
    return err;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* How much was written; negative: TRANSPORT_AGAIN or failed. */
static ssize_t flush(struct channel *c)
{
    ssize_t total = 0;

    while (c->out_at < c->out_len - c->held) {
        ssize_t n = c->r.t.ops->write(&c->r.t, c->out + c->out_at, c->out_len - c->held - c->out_at,
                                    &c->failure);

        if (n < 0)
            return n;
        c->out_at += (size_t)n;
        total += n;
    }
    if (c->out_at == c->out_len)
        c->out_at = c->out_len = 0;
    return total;
}

static bool room_in(struct channel *c)
{
    size_t cap = c->in_cap;
    char *bigger;

    if (c->in_at == c->in_len)
        c->in_at = c->in_seen = c->in_len = 0;
    if (c->in_at) {
        memmove(c->in, c->in + c->in_at, c->in_len - c->in_at);
        c->in_len -= c->in_at;
        c->in_seen -= c->in_at;
        c->in_at = 0;
    }
    if (c->in_len < cap)
        return true;
    cap = cap ? 2 * cap : IN_MIN;
    bigger = realloc(c->in, cap);
    if (!bigger)
        return false;
    c->in = bigger;
    c->in_cap = cap;
    return true;
}

/* The LF that ends the next line, or NULL. */
static char *line_end(struct channel *c)
{
    char *end = c->in_len > c->in_seen ? memchr(c->in + c->in_seen, '\n', c->in_len - c->in_seen)
                                       : NULL;

    c->in_seen = end ? (size_t)(end - c->in) : c->in_len;
    return end;
}

/* What cannot be: a line without a request, or one without an end. */
static int check_lines(struct channel *c)
{
    bool whole = line_end(c) != NULL;
    size_t n = (whole ? c->in_seen : c->in_len) - c->in_at;
    size_t max = LINE_MAX_SHORT;

    if (c->expect_n && c->expect[c->expect_at] == EXPECT_TEXT)
        max = LINE_MAX_TEXT;
    if (n > max)
        return failure_set(&c->failure, DFLOCK_ERR_PROTOCOL,
                           "a reply longer than any dflockd's");
    if ((c->expect_n == 0 || c->fresh) && whole) {
        if (n == 5 && memcmp(c->in + c->in_at, "error", 5) == 0)
            return failure_set(&c->failure, DFLOCK_ERR_CONNECT,
                               "the server closed the connection, which was idle");
        return failure_set(&c->failure, DFLOCK_ERR_PROTOCOL, "a reply to no request");
    }
    return 0;
}

static int ended(struct channel *c)
{
    const char *when = "";

    if (c->in_len > c->in_at && !line_end(c))
        when = " in the middle of a reply";
    else if (!c->heard && !c->o->tls && !c->r.name->local)
        when = " without a word; it may want TLS";
    return failure_set(&c->failure, DFLOCK_ERR_CONNECT, "the server closed the connection%s", when);
}

static int receive(struct channel *c)
{
    size_t total = 0;

    while (total < READ_AT_ONCE) {
        size_t room;
        ssize_t n;

        if (!room_in(c))
            return failure_set(&c->failure, DFLOCK_ERR_SYSTEM, "no memory for a reply");
        room = c->in_cap - c->in_len;
        n = c->r.t.ops->read(&c->r.t, c->in + c->in_len, room, &c->failure);
        if (n == 0)
            return ended(c);
        if (n < 0)
            return (int)n;
        c->heard = true;
        c->in_len += (size_t)n;
        total += (size_t)n;
        if (check_lines(c))
            return c->failure.code;
        /* Less than there was room for: that was all. */
        if ((size_t)n < room && !c->r.t.ops->pending(&c->r.t))
            return 0;
        /* Many short replies: they are taken before the buffer grows further. */
        if (c->in_cap >= IN_GROWS_TO && line_end(c))
            return 0;
    }
    return 0;
}

/* The first reply, to the secret in the options, is the channel's own. Requests are sent after it: a
   server without a secret refuses ours and would serve them all the same. */
static int authenticated(struct channel *c)
{
    struct dflock_reply reply;

    if (c->state != AUTHENTICATING || !line_end(c))
        return 0;
    c->state = READY;
    if (!channel_reply(c, &reply) || reply.status == 0) {
        c->held = 0;
        return 0;
    }
    c->in_at = c->in_seen = c->in_len; /* whatever it says next is no reply */
    if (reply.status == DFLOCK_ERR_AUTH)
        return failure_set(&c->failure, DFLOCK_ERR_AUTH, "the server has another secret");
    if (reply.status == DFLOCK_ERR_SERVER)
        return failure_set(&c->failure, DFLOCK_ERR_AUTH,
                           "the server refused the secret; it may have none set");
    return failure_set(&c->failure, DFLOCK_ERR_PROTOCOL, "\"%.60s\" is no answer to a secret",
                       reply.text);
}

/* Before the first request after a while: what came meanwhile (the server says "error" to who was idle,
   and closes) must not pass for its reply. The common case, without a while, costs nothing. */
static int look_before_asking(struct channel *c, uint64_t now)
{
    if (now - c->processed >= idle_ns)
        (void)receive(c);
    if (c->in_at < c->in_len && check_lines(c) == 0)
        failure_set(&c->failure, DFLOCK_ERR_PROTOCOL, "a reply to no request");
    if (c->failure.code)
        c->in_at = c->in_seen = c->in_len;
    return c->failure.code;
}

/* Writes, then reads; but what was just asked is not answered yet: poll() says when. */
static int exchange(struct channel *c, uint64_t now)
{
    ssize_t sent;
    int err;

    if (c->fresh && c->state == READY && look_before_asking(c, now))
        return c->failure.code;
    sent = flush(c);
    c->fresh = c->fresh && sent <= 0;
    if (sent < 0 && sent != TRANSPORT_AGAIN) {
        /* Why it closed may have been said before. */
        struct failure unheard = c->failure;

        failure_clear(&c->failure);
        err = receive(c);
        if (err == 0 || err == TRANSPORT_AGAIN) {
            c->failure = unheard;
            return unheard.code;
        }
        return err;
    }
    if (sent > 0 && !c->r.t.ops->pending(&c->r.t))
        return 0;
    err = receive(c);
    return err == TRANSPORT_AGAIN ? 0 : err;
}

int channel_process(struct channel *c, uint64_t now)
{
    bool early = c->state == REACHING || c->state == AUTHENTICATING;
    int err;

    if (c->state == CLOSED || c->state == FAILED)
        return c->failure.code ? c->failure.code : DFLOCK_ERR_CLOSED;
    err = reaching(c, now);
    if (err == 0) {
        err = exchange(c, now);
        /* A refusal is worth more than that the connection then ended. */
        if (c->state == AUTHENTICATING && line_end(c)) {
            struct failure ended = c->failure;

            failure_clear(&c->failure);
            if (authenticated(c) == 0)
                c->failure = ended;
            err = c->failure.code ? c->failure.code : exchange(c, now);
        }
    }
    if (err == TRANSPORT_AGAIN)
        err = 0;
    c->processed = now;
    if (err == 0 && early && c->state != READY && now >= c->r.until)
        err = failure_set(&c->failure, DFLOCK_ERR_CONNECT, "no connection within %g s",
                          c->o->connect_timeout);
    if (err)
        return fail(c);
    return 0;
}

bool channel_reply(struct channel *c, struct dflock_reply *reply)
{
    char *end;

    if (c->expect_n == 0 || c->state == AUTHENTICATING)
        return false;
    end = line_end(c);
    if (!end)
        return false;
    *end = '\0';
    wire_reply(c->expect[c->expect_at], c->in + c->in_at, (size_t)(end - c->in) - c->in_at, reply);
    c->expect_at = (c->expect_at + 1) & (c->expect_cap - 1);
    c->expect_n--;
    c->in_at = c->in_seen = (size_t)(end - c->in) + 1;
    return true;
}

size_t channel_outstanding(const struct channel *c)
{
    bool own = c->o->auth_token && (c->state == REACHING || c->state == AUTHENTICATING);

    return c->expect_n - (own && c->expect_n > 0);
}

bool channel_is_ready(const struct channel *c)
{
    return c->state == READY;
}

const struct failure *channel_failure(const struct channel *c)
{
    return &c->failure;
}

int channel_fd(const struct channel *c)
{
    return c->r.t.fd;
}

short channel_events(const struct channel *c)
{
    switch (c->state) {
    case REACHING:
        return c->r.t.wants;
    case AUTHENTICATING:
    case READY:
        return c->out_at < c->out_len - c->held ? POLLIN | POLLOUT : POLLIN;
    default:
        return 0;
    }
}

uint64_t channel_deadline(const struct channel *c)
{
    switch (c->state) {
    case REACHING:
        return reach_deadline(&c->r);
    case AUTHENTICATING:
        return c->r.until;
    default:
        return UINT64_MAX;
    }
}
