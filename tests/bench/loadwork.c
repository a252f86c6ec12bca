/*
 * tests/bench/loadwork.c - the workloads of the load client.
 */
#include "load.h"

#include <stdatomic.h>
#include <string.h>

/* A line that is not what it should be, for people. */
static void wrong(struct runner *r, const struct conn *c, const char *what, const char *line,
                  size_t n)
{
    runner_error(r, "connection %u: %s answered: %.*s", c->index, what, (int)(n < 64 ? n : 64),
                 line);
}

static void lock(struct runner *r, struct conn *c, const struct slot *s)
{
    runner_ask(r, c, s->lock, s->lock_n);
}

static void unlock(struct runner *r, struct conn *c, const struct slot *s)
{
    runner_ask(r, c, s->unlock, s->unlock_n);
}

/* Whether the slot's lock was granted; its release has the token then. */
static bool granted(struct runner *r, const struct conn *c, struct slot *s, const char *line,
                    size_t n)
{
    if (r->plan->wire->granted(line, n, s->unlock + s->token_at))
        return true;
    wrong(r, c, "a lock", line, n);
    return false;
}

static void released(struct runner *r, const struct conn *c, const char *line, size_t n)
{
    if (!r->plan->wire->released(line, n))
        wrong(r, c, "a release", line, n);
}

/* --- ops: locks of its own, acquired and released, depth requests under way */

static void advance(const struct runner *r, unsigned *at)
{
    if (++*at == r->plan->depth)
        *at = 0;
}

/* The next slot that may ask; slots ask and are answered in turn. NULL: it is under way still. */
static struct slot *next_to_ask(const struct runner *r, struct conn *c)
{
    for (unsigned tries = 0; tries < r->plan->depth; tries++) {
        struct slot *s = &c->slot[c->next_out];

        if (s->busy)
            return NULL;
        advance(r, &c->next_out);
        if (!r->stopping || s->held)
            return s;
    }
    return NULL;
}

/* When a connection's next request was due. */
static uint64_t due(const struct runner *r, const struct conn *c)
{
    return r->began + (c->issued * r->nconns + (uint64_t)(c - r->conn)) * r->interval;
}

static void ops_ask(struct runner *r, struct conn *c, uint64_t now)
{
    bool paced = r->interval > 0 && !r->stopping;
    struct slot *s;

    while ((!paced || c->owed > 0) && (s = next_to_ask(r, c)) != NULL) {
        if (s->held)
            unlock(r, c, s);
        else
            lock(r, c, s);
        s->busy = true;
        s->since = now;
        if (paced) {
            s->since = due(r, c);
            c->owed--;
            c->issued++;
        }
    }
}

/* The slot whose request this reply answers. */
static struct slot *answered(const struct runner *r, struct conn *c)
{
    struct slot *s;

    do {
        s = &c->slot[c->next_in];
        advance(r, &c->next_in);
    } while (!s->busy);
    s->busy = false;
    return s;
}

static void ops_reply(struct runner *r, struct conn *c, const char *line, size_t n, uint64_t now)
{
    struct slot *s = answered(r, c);

    if (s->held) {
        released(r, c, line, n);
        s->held = false;
    } else {
        s->held = granted(r, c, s, line, n);
    }
    r->done++;
    histogram_add(&r->latency, now - s->since);
}

const struct work work_ops = {
    .name = "ops", .counts = "locks and releases", .ask = ops_ask, .reply = ops_reply};

/* --- renew: locks that are held from the begin. To renew and to release are requests of the same form. */

static void renew_ask(struct runner *r, struct conn *c, uint64_t now)
{
    for (unsigned i = 0; i < r->plan->depth; i++)
        if (!c->slot[i].busy)
            c->slot[i].unlock[0] = r->stopping ? 'r' : 'n';
    ops_ask(r, c, now);
}

static void renew_reply(struct runner *r, struct conn *c, const char *line, size_t n, uint64_t now)
{
    struct slot *s = answered(r, c);

    if (s->unlock[0] == 'r') {
        released(r, c, line, n);
        s->held = false;
    } else if (n < 2 || memcmp(line, "ok", 2) != 0) {
        wrong(r, c, "a renewal", line, n);
    }
    r->done++;
    histogram_add(&r->latency, now - s->since);
}

const struct work work_renew = {.name = "renew",
                                .counts = "renewals and releases",
                                .renews = true,
                                .ask = renew_ask,
                                .reply = renew_reply};

/* --- cycle: connect, lock, release, close */

static void cycle_ask(struct runner *r, struct conn *c, uint64_t now)
{
    struct slot *s = c->slot;

    if (s->busy)
        return;
    s->busy = true;
    s->since = now;
    lock(r, c, s);
}

static void cycle_reply(struct runner *r, struct conn *c, const char *line, size_t n, uint64_t now)
{
    struct slot *s = c->slot;

    if (!s->held && granted(r, c, s, line, n)) {
        s->held = true;
        unlock(r, c, s);
        return;
    }
    if (s->held)
        released(r, c, line, n);
    s->held = false;
    c->leaves = true;
    s->busy = false;
    r->done++;
    histogram_add(&r->latency, now - s->since);
}

const struct work work_cycle = {
    .name = "cycle", .counts = "cycles", .once = true, .ask = cycle_ask, .reply = cycle_reply};

/* --- hot: all wait in one queue, and who is granted releases at once and waits again. Latency is
 * from the release to the next grant, whoever has it. */

static _Atomic uint64_t released_at; /* 0: nobody has released yet */

static void hot_ask(struct runner *r, struct conn *c, uint64_t now)
{
    struct slot *s = c->slot;

    (void)now;
    if (s->busy || r->stopping)
        return;
    s->busy = true;
    lock(r, c, s);
}

static void hot_reply(struct runner *r, struct conn *c, const char *line, size_t n, uint64_t now)
{
    struct slot *s = c->slot;
    uint64_t since;

    if (s->held) {
        s->held = false;
        released(r, c, line, n);
        return;
    }
    s->busy = false;
    s->held = granted(r, c, s, line, n);
    if (!s->held)
        return;
    since = atomic_exchange_explicit(&released_at, now, memory_order_relaxed);
    if (since > 0) {
        r->done++;
        histogram_add(&r->latency, now > since ? now - since : 0);
    }
    unlock(r, c, s);
}

const struct work work_hot = {
    .name = "hot", .counts = "hand-overs", .needs_queue = true, .ask = hot_ask, .reply = hot_reply};
