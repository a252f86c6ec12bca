/*
 * http/guard.c - see guard.h. Runs in the HTTP worker.
 *
 * A token bucket is one number, the time when it will be full again: each request puts that off by
 * what a token takes to come, and is refused when it would be further away than an empty bucket is.
 */
#include "http/guard.h"

#include "base/clock.h"
#include "base/random.h"
#include "base/siphash.h"
#include "http/call.h"
#include "http/http.h"
#include "http/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUIET_MAX = 65536, QUIET_A_TICK = 4096, BUCKETS_FIRST = 1024 };

/* An address that has a connection or a session, or a bucket that is not full. */
struct who {
    uint8_t name[17]; /* family and address */
    uint32_t connections, sessions;
    uint64_t full;     /* when its bucket is, BOOTTIME ns */
    struct who *other; /* of the same hash */
    struct who *prev, *next; /* of the quiet ones, the first is quiet longest */
    bool quiet;
};

struct guard {
    struct siphash_key key;
    struct who **by_hash;
    size_t room, n; /* room: a power of two */
    struct who *first, *last; /* quiet */
    size_t nquiet;
};

/* ---- the table ---- */

static struct who **place(const struct guard *g, const uint8_t name[17])
{
    struct who **at = &g->by_hash[siphash24(&g->key, name, 17) & (g->room - 1)];

    while (*at && memcmp((*at)->name, name, 17) != 0)
        at = &(*at)->other;
    return at;
}

static void grow(struct guard *g)
{
    struct guard more = *g;

    more.room *= 2;
    more.by_hash = calloc(more.room, sizeof(struct who *));
    if (!more.by_hash)
        return; /* longer chains then */
    for (size_t i = 0; i < g->room; i++)
        while (g->by_hash[i]) {
            struct who *w = g->by_hash[i], **at;

            g->by_hash[i] = w->other;
            w->other = NULL;
            at = place(&more, w->name);
            *at = w;
        }
    free(g->by_hash);
    *g = more;
}

static void name_of(const struct address *from, uint8_t name[17])
{
    name[0] = from->family;
    memcpy(name + 1, from->addr, 16);
}

/* NULL: it is not known, or `make` and there is no memory. */
static struct who *find(struct guard *g, const struct address *from, bool make)
{
    uint8_t name[17];
    struct who **at;

    name_of(from, name);
    at = place(g, name);
    if (*at || !make)
        return *at;
    *at = calloc(1, sizeof(**at));
    if (!*at)
        return NULL;
    memcpy((*at)->name, name, sizeof(name));
    if (++g->n > g->room)
        grow(g);
    return *place(g, name);
}

/* ---- quiet ones ---- */

static void wake(struct guard *g, struct who *w)
{
    if (!w->quiet)
        return;
    *(w->prev ? &w->prev->next : &g->first) = w->next;
    *(w->next ? &w->next->prev : &g->last) = w->prev;
    w->quiet = false;
    g->nquiet--;
}

static void forget(struct guard *g, struct who *w)
{
    struct who **at = place(g, w->name);

    wake(g, w);
    *at = w->other;
    g->n--;
    free(w);
}

/* It may have nothing left to be known for. */
static void settle(struct guard *g, struct who *w, uint64_t now)
{
    if (w->connections || w->sessions)
        return;
    if (w->full <= now) {
        forget(g, w);
        return;
    }
    wake(g, w);
    w->quiet = true;
    w->next = NULL;
    w->prev = g->last;
    *(g->last ? &g->last->next : &g->first) = w;
    g->last = w;
    if (++g->nquiet > QUIET_MAX)
        forget(g, g->first);
}

void guard_tick(struct http *h)
{
    struct guard *g = h->guard;
    size_t n = g->nquiet < QUIET_A_TICK ? g->nquiet : QUIET_A_TICK;

    for (; n > 0; n--)
        settle(g, g->first, h->now);
}

int guard_init(struct http *h)
{
    struct guard *g = calloc(1, sizeof(*g));

    h->guard = g;
    if (!g)
        return -ENOMEM;
    g->room = BUCKETS_FIRST;
    g->by_hash = calloc(g->room, sizeof(struct who *));
    return g->by_hash ? random_bytes(&g->key, sizeof(g->key)) : -ENOMEM;
}

/* ---- caps ---- */

/* Who cannot be counted for lack of memory is let in: rather one too many. */
static bool count_up(struct http *h, const struct address *from, size_t offset, int64_t max)
{
    struct who *w = from->family == AF_UNIX ? NULL : find(h->guard, from, true);
    uint32_t *n = w ? (uint32_t *)((char *)w + offset) : NULL;

    if (!w)
        return true;
    if (max > 0 && *n >= max) {
        settle(h->guard, w, h->now);
        return false;
    }
    wake(h->guard, w);
    ++*n;
    return true;
}

static void count_down(struct http *h, const struct address *from, size_t offset)
{
    struct who *w = from->family == AF_UNIX ? NULL : find(h->guard, from, false);
    uint32_t *n = w ? (uint32_t *)((char *)w + offset) : NULL;

    if (!w || *n == 0)
        return;
    --*n;
    settle(h->guard, w, h->now);
}

bool guard_connect(struct http *h, const struct address *from)
{
    return count_up(h, from, offsetof(struct who, connections),
                    h->settings->http_max_connections_per_ip);
}

void guard_disconnect(struct http *h, const struct address *from)
{
    count_down(h, from, offsetof(struct who, connections));
}

bool guard_session(struct http *h, const struct address *from)
{
    return count_up(h, from, offsetof(struct who, sessions),
                    h->settings->http_max_sessions_per_ip);
}

void guard_session_kept(struct http *h, const struct address *from)
{
    count_up(h, from, offsetof(struct who, sessions), 0);
}

void guard_session_over(struct http *h, const struct address *from)
{
    count_down(h, from, offsetof(struct who, sessions));
}

/* ---- rate ---- */

bool guard_rate(struct call *c)
{
    struct http *h = c->h;
    const struct settings *s = h->settings;
    const struct address *from = &c->link->from;
    uint64_t token, empty;
    char seconds[24];
    struct who *w;

    if (s->http_rate_limit_per_ip == 0 || from->family == AF_UNIX)
        return true;
    w = find(h->guard, from, false); /* it has a connection */
    if (!w)
        return true;
    token = NS_PER_SEC / (uint64_t)s->http_rate_limit_per_ip;
    empty = token * (uint64_t)s->http_rate_limit_burst;
    if (w->full < h->now)
        w->full = h->now;
    if (w->full + token - h->now <= empty) {
        w->full += token;
        return true;
    }
    snprintf(seconds, sizeof(seconds), "%llu",
             (unsigned long long)((w->full + token - h->now - empty + NS_PER_SEC - 1) /
                                  NS_PER_SEC));
    call_header(c, "Retry-After", seconds);
    call_answer_error(c, HTTP_ERR_RATE_LIMITED, "too many requests from this address");
    return false;
}
