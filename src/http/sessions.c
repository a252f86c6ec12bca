/*
 * http/sessions.c - see sessions.h.
 *
 * A session is open (it can be found), or leaving: no request finds it, its things in the table are
 * being dealt with; then its slot is free. Of its record in the region `phase` is DROP from the
 * moment it leaves, so that an heir goes on with it.
 */
#include "http/sessions.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/point.h"
#include "base/random.h"
#include "core/leases.h"
#include "http/call.h"
#include "http/guard.h"
#include "http/http.h"
#include "http/link.h"
#include "http/polls.h"
#include "serving/holdings.h"
#include "serving/op.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ID_TEXT = 32,
    DRAIN_LOOK = 4096, /* sessions */
};

/* Private; by slot. */
struct session {
    uint32_t next;         /* in its bucket, among the leaving, or among the free */
    uint32_t older, newer; /* among the idle */
    uint32_t in_flight;
    bool open;
    bool idle;         /* nothing in flight: it is in the list of those */
    bool counted;      /* guard_session() has */
    struct call *ends; /* the DELETE that waits for the end */
};

struct sessions {
    uint32_t first, most; /* slots first … first + most - 1 */
    uint32_t top;         /* slots above were never used; first - 1: none */
    uint32_t n;
    uint32_t free;
    uint32_t oldest, newest; /* idle, in order of when they began to be */
    uint32_t leaving, leaving_last;
    uint32_t looked; /* drop_drained() goes on behind it */
    uint32_t mask;
    uint32_t *bucket; /* ids are random and ours: nobody can choose a crowded one */
    struct session *by_slot; /* from `first` on */
};

static struct session *at(const struct http *h, uint32_t slot)
{
    return &h->sessions->by_slot[slot - h->sessions->first];
}

int sessions_init(struct http *h)
{
    struct sessions *ss = calloc(1, sizeof(*ss));
    uint32_t buckets = 16;

    if (!ss)
        return -ENOMEM;
    while (buckets < h->r->max_sessions)
        buckets *= 2;
    ss->first = h->r->max_conns + 1;
    ss->most = h->r->max_sessions;
    ss->top = ss->looked = h->r->max_conns;
    ss->mask = buckets - 1;
    ss->bucket = calloc(buckets, sizeof(*ss->bucket));
    ss->by_slot = calloc((size_t)ss->most + 1, sizeof(*ss->by_slot));
    h->sessions = ss;
    return ss->bucket && ss->by_slot ? polls_init(h) : -ENOMEM;
}

uint32_t sessions_top(const struct http *h)
{
    return h->sessions->top;
}

/* ---- finding ---- */

static bool parse(const char *id, uint64_t len, uint64_t out[2])
{
    if (len != ID_TEXT)
        return false;
    out[0] = out[1] = 0;
    for (unsigned i = 0; i < ID_TEXT; i++) {
        unsigned digit = id[i] >= '0' && id[i] <= '9'   ? (unsigned)(id[i] - '0')
                         : id[i] >= 'a' && id[i] <= 'f' ? (unsigned)(id[i] - 'a' + 10)
                                                        : 16;

        if (digit == 16)
            return false;
        out[i / 16] = out[i / 16] << 4 | digit;
    }
    return true;
}

int64_t sessions_find(const struct http *h, const char *id, uint64_t len)
{
    const struct sessions *ss = h->sessions;
    uint64_t want[2];

    if (!parse(id, len, want))
        return -1;
    for (uint32_t i = ss->bucket[want[1] & ss->mask]; i; i = at(h, i)->next) {
        const struct conn *c = conns_slot(h->r, i);

        if (c->session_high == want[0] && c->session_low == want[1])
            return i;
    }
    return 0;
}

static void index_add(struct http *h, uint32_t slot)
{
    uint32_t *bucket = &h->sessions->bucket[conns_slot(h->r, slot)->session_low & h->sessions->mask];

    at(h, slot)->next = *bucket;
    *bucket = slot;
}

static void index_remove(struct http *h, uint32_t slot)
{
    uint32_t *link = &h->sessions->bucket[conns_slot(h->r, slot)->session_low & h->sessions->mask];

    while (*link != slot)
        link = &at(h, *link)->next;
    *link = at(h, slot)->next;
}

/* ---- who is idle, the longest first ---- */

static void idle_end(struct http *h, uint32_t slot)
{
    struct sessions *ss = h->sessions;
    struct session *s = at(h, slot);

    if (!s->idle)
        return;
    s->idle = false;
    *(s->older ? &at(h, s->older)->newer : &ss->oldest) = s->newer;
    *(s->newer ? &at(h, s->newer)->older : &ss->newest) = s->older;
}

static void list_idle(struct http *h, uint32_t slot)
{
    struct sessions *ss = h->sessions;
    struct session *s = at(h, slot);

    s->idle = true;
    s->older = ss->newest;
    s->newer = 0;
    *(s->older ? &at(h, s->older)->newer : &ss->oldest) = slot;
    ss->newest = slot;
}

/* Its client has been heard. */
static void heard(struct http *h, uint32_t slot)
{
    struct conn *c = conns_slot(h->r, slot);

    c->idle_since = h->now;
    c->request_since = 0;
}

static void idle_begin(struct http *h, uint32_t slot)
{
    heard(h, slot);
    list_idle(h, slot);
}

void sessions_enter(struct http *h, struct call *c)
{
    at(h, c->session)->in_flight++;
    idle_end(h, c->session);
    heard(h, c->session);
}

void sessions_leave(struct http *h, struct call *c)
{
    struct session *s = at(h, c->session);

    polls_done(h, c);
    if (!s->open || conns_slot(h->r, c->session)->id != c->session_id)
        return;
    h->now = clock_boottime_ns();
    if (--s->in_flight == 0)
        idle_begin(h, c->session);
}

/* ---- the end ---- */

static void count(struct http *h, uint32_t n)
{
    h->sessions->n = n;
    __atomic_store_n(&h->r->nsessions, n, __ATOMIC_RELAXED);
}

static struct address address_of(const struct conn *c)
{
    struct address from = {.family = c->family, .port = c->port};

    memcpy(from.addr, c->addr, sizeof(from.addr));
    return from;
}

/* A step of the cleanup; true: the slot is free. */
static bool leave_step(struct http *h, uint32_t slot)
{
    struct conn *c = conns_slot(h->r, slot);
    struct session *s = at(h, slot);
    bool kept = (c->flags & CONN_LOST) != 0;
    struct address from = address_of(c);
    struct call *ends = s->ends;

    if (!holdings_drop(&h->sh, slot, h->settings->auto_release_on_disconnect && !kept, kept, h->now))
        return false;
    POINT(HTTP_LEFT);
    conns_free(h->r, slot);
    count(h, h->sessions->n - 1);
    if (s->counted)
        guard_session_over(h, &from);
    memset(s, 0, sizeof(*s));
    s->next = h->sessions->free;
    h->sessions->free = slot;
    if (ends)
        call_answer_nothing(ends);
    return true;
}

bool sessions_turn(struct http *h)
{
    struct sessions *ss = h->sessions;
    uint32_t slot = ss->leaving;

    if (slot) {
        uint32_t next = at(h, slot)->next;

        if (leave_step(h, slot)) {
            ss->leaving = next;
        } else if (next) { /* the others, too, have their turns */
            at(h, ss->leaving_last)->next = slot;
            ss->leaving_last = slot;
            at(h, slot)->next = 0;
            ss->leaving = next;
        }
    }
    if (h->heritage->nlisteners == 0 && ss->n == 0)
        h->leaves = true;
    return ss->leaving != 0;
}

static void leave_later(struct http *h, uint32_t slot)
{
    struct sessions *ss = h->sessions;

    at(h, slot)->next = 0;
    *(ss->leaving ? &at(h, ss->leaving_last)->next : &ss->leaving) = slot;
    ss->leaving_last = slot;
}

/* Nobody finds it any more. */
static void close_session(struct http *h, uint32_t slot, const char *why)
{
    struct conn *c = conns_slot(h->r, slot);
    char peer[64];

    log_debug("session ends", log_uint("conn", c->id), log_str("why", why),
              log_str("peer", conns_peer_text(c, peer, sizeof(peer))));
    index_remove(h, slot);
    idle_end(h, slot);
    at(h, slot)->open = false;
    polls_end(h, slot);
    *(volatile uint8_t *)&c->phase = PHASE_DROP;
    POINT(HTTP_LEAVES);
}

void sessions_drop(struct http *h, uint32_t slot, const char *why)
{
    close_session(h, slot, why);
    leave_later(h, slot);
}

static void drop_idle(struct http *h)
{
    uint64_t idle = seconds_to_ns(h->settings->http_session_idle_timeout);
    uint32_t slot;

    while (idle && (slot = h->sessions->oldest) != 0 &&
           h->now - conns_slot(h->r, slot)->idle_since >= 2 * idle)
        sessions_drop(h, slot, "idle");
}

/* A part of them each time. */
static void drop_drained(struct http *h)
{
    struct sessions *ss = h->sessions;

    for (uint32_t n = 0; ss->n > 0 && n < DRAIN_LOOK && n < ss->most; n++) {
        ss->looked = ss->looked < ss->top ? ss->looked + 1 : ss->first;
        if (at(h, ss->looked)->idle && !table_owns_any(&h->sh.table, ss->looked))
            sessions_drop(h, ss->looked, "the server drains");
    }
}

void sessions_tick(struct http *h)
{
    count(h, h->sessions->n); /* another process may have crashed and written over it */
    drop_idle(h);
    if (h->draining)
        drop_drained(h);
}

/* ---- the beginning ---- */

static uint32_t take_slot(struct sessions *ss)
{
    uint32_t slot = ss->free;

    if (slot)
        ss->free = ss->by_slot[slot - ss->first].next;
    else if (ss->top - ss->first + 1 < ss->most)
        slot = ++ss->top;
    return slot;
}

/* False: the call has been answered. */
static bool is_room(struct call *c)
{
    const struct sessions *ss = c->h->sessions;
    int64_t most = c->h->settings->http_max_sessions;
    char text[96];

    if (ss->n < ss->most && (!most || ss->n < (uint64_t)most))
        return true;
    if (ss->n >= ss->most)
        snprintf(text, sizeof(text),
                 "end sessions: there is room for %" PRIu32
                 "; a larger --http-max-sessions needs a restart",
                 ss->most);
    else
        snprintf(text, sizeof(text), "end sessions, or raise --http-max-sessions (%" PRId64 ")",
                 most);
    call_answer_error(c, HTTP_ERR_MAX_SESSIONS, text);
    return false;
}

static void begin(struct http *h, uint32_t slot, const uint64_t id[2], const struct address *from)
{
    struct conn *c = conns_slot(h->r, slot);
    struct session *s = at(h, slot);
    char peer[64];

    c->family = from->family;
    c->port = from->port;
    memcpy(c->addr, from->addr, sizeof(c->addr));
    c->session_high = id[0];
    c->session_low = id[1];
    count(h, h->sessions->n + 1); /* before there is one: see sessions_take_over() */
    conns_open(h->r, slot, __atomic_fetch_add(&h->r->conn_id_next, 1, __ATOMIC_RELAXED),
               h->sh.worker, h->now);
    POINT(HTTP_SESSION);
    memset(s, 0, sizeof(*s));
    s->open = s->counted = true;
    index_add(h, slot);
    idle_begin(h, slot);
    log_debug("session begins", log_uint("conn", c->id),
              log_str("peer", conns_peer_text(c, peer, sizeof(peer))));
}

void sessions_new(struct call *c)
{
    struct http *h = c->h;
    struct address from = c->link->from;
    uint64_t id[2];
    char text[96];
    int n;

    if (h->draining) {
        call_answer_error(c, HTTP_ERR_DRAINING, "the server is ending");
        return;
    }
    if (!is_room(c))
        return;
    if (!guard_session(h, &from)) {
        call_answer_error(c, HTTP_ERR_MAX_SESSIONS_PER_IP,
                          "end sessions, or raise --http-max-sessions-per-ip");
        return;
    }
    if (random_bytes(id, sizeof(id)) != 0) {
        guard_session_over(h, &from);
        call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
        return;
    }
    begin(h, take_slot(h->sessions), id, &from);
    n = snprintf(text, sizeof(text),
                 "{\"session_id\":\"%016" PRIx64 "%016" PRIx64 "\",\"idle_timeout_s\":%" PRId64
                 "}\n",
                 id[0], id[1], h->settings->http_session_idle_timeout);
    call_answer_bytes(c, 200, "application/json", text, (size_t)n);
}

/* The session that the path names; 0: it has been answered. */
static uint32_t by_path(struct call *c)
{
    int i = routes_param(c->route, "id");
    int64_t slot = sessions_find(c->h, c->path->seg[i].at, c->path->seg[i].len);

    if (slot > 0)
        return (uint32_t)slot;
    if (slot < 0)
        call_answer_error(c, HTTP_ERR_BAD_REQUEST,
                          "a session's id has 32 hexadecimal digits, in lower case");
    else
        call_answer_error(c, HTTP_ERR_SESSION_GONE, NULL);
    return 0;
}

void sessions_ping(struct call *c)
{
    struct http *h = c->h;
    uint32_t slot = by_path(c); /* 0: the call is answered, and gone */

    if (!slot)
        return;
    if (at(h, slot)->idle) {
        idle_end(h, slot);
        idle_begin(h, slot);
    }
    call_answer_nothing(c);
}

static void nobody_waits_for_the_end(struct call *c)
{
    struct http *h = c->h;

    for (uint32_t slot = h->sessions->leaving; slot; slot = at(h, slot)->next)
        if (at(h, slot)->ends == c)
            at(h, slot)->ends = NULL;
    call_answer_nobody(c);
}

void sessions_end(struct call *c)
{
    struct http *h = c->h;
    uint32_t slot = by_path(c); /* 0: the call is answered, and gone */

    if (!slot)
        return;
    close_session(h, slot, "ended by its client");
    at(h, slot)->ends = c;
    c->left = nobody_waits_for_the_end;
    if (!leave_step(h, slot))
        leave_later(h, slot);
}

/* ---- a predecessor's, and silence ---- */

static void extend(struct http *h, uint32_t slot, uint64_t gap)
{
    holdings_extend(&h->sh, slot, gap, h->now);
    __atomic_store_n(&h->sh.slot->beat, clock_boottime_ns(), __ATOMIC_RELAXED);
}

void sessions_extend(struct http *h, uint64_t gap)
{
    for (uint32_t slot = h->sessions->first; slot <= h->sessions->top; slot++) {
        struct conn *c = conns_slot(h->r, slot);

        if (!at(h, slot)->open)
            continue;
        extend(h, slot, gap < LEASES_GRACE_NS ? gap : LEASES_GRACE_NS);
        /* Whatever was asked meanwhile was not heard: once, see spare(). */
        if (c->request_since)
            continue;
        c->idle_since = h->now - c->idle_since < gap ? h->now : c->idle_since + gap;
        c->request_since = h->now;
    }
}

/* After a crash its record may have been written over. */
static void mend(struct http *h, uint32_t slot)
{
    struct conn *c = conns_slot(h->r, slot);

    if (c->state == CONN_OPEN && c->worker == h->sh.worker && conns_possible(h->r, slot) &&
        (c->phase == PHASE_READY || c->phase == PHASE_BLOCKED || c->phase == PHASE_DROP))
        return;
    LOG_WRITE(NULL, LVL_ERROR, "a session's record was damaged, it ends, its slots are kept",
              log_uint("conn", c->id), log_uint("slot", slot));
    conns_give_up(h->r, slot);
    c->worker = h->sh.worker;
    c->state = CONN_OPEN;
}

/* Nobody could ask while there was no worker, so its idle time begins anew. Once: who is not heard
   afterwards is not kept for ever, however often workers die. Who waited was there. */
static bool spared(const struct conn *c)
{
    return c->phase != PHASE_BLOCKED && c->request_since != 0;
}

static void spare(struct http *h, uint32_t slot)
{
    heard(h, slot);
    conns_slot(h->r, slot)->request_since = h->now;
}

static void adopt(struct http *h, uint32_t slot)
{
    struct conn *c = conns_slot(h->r, slot);
    struct session *s = at(h, slot);
    struct address from = address_of(c);

    h->sessions->n++;
    if (c->phase == PHASE_BLOCKED)
        polls_lost(h, slot);
    if (h->heritage->nlisteners == 0)
        c->flags |= CONN_LOST;
    if (c->phase == PHASE_DROP || h->heritage->nlisteners == 0) {
        *(volatile uint8_t *)&c->phase = PHASE_DROP;
        leave_later(h, slot);
        return;
    }
    s->open = true;
    s->counted = true;
    guard_session_kept(h, &from);
    index_add(h, slot);
    list_idle(h, slot);
}

/* The slots between those in use, and above them, are free again. */
static void sort_slots(struct http *h)
{
    struct sessions *ss = h->sessions;

    for (uint32_t slot = ss->first + ss->most - 1; slot >= ss->first; slot--) {
        if (conns_slot(h->r, slot)->state != CONN_FREE) {
            ss->top = ss->top < slot ? slot : ss->top;
        } else if (slot < ss->top) {
            at(h, slot)->next = ss->free;
            ss->free = slot;
        }
    }
}

void sessions_take_over(struct http *h, uint64_t gap)
{
    struct sessions *ss = h->sessions;

    /* It is never too low: with none there is no need to look at so much memory. */
    if (!__atomic_load_n(&h->r->nsessions, __ATOMIC_RELAXED) && !h->sh.slot->suspect)
        return;
    sort_slots(h);
    for (uint32_t slot = ss->first; slot <= ss->top; slot++) {
        if (conns_slot(h->r, slot)->state == CONN_FREE)
            continue;
        POINT(HTTP_ADOPT);
        if (h->sh.slot->suspect)
            mend(h, slot);
        if (gap)
            extend(h, slot, gap);
    }
    /* These have been idle for longer. */
    for (uint32_t slot = ss->first; slot <= ss->top; slot++)
        if (conns_slot(h->r, slot)->state != CONN_FREE && spared(conns_slot(h->r, slot)))
            adopt(h, slot);
    for (uint32_t slot = ss->first; slot <= ss->top; slot++)
        if (conns_slot(h->r, slot)->state != CONN_FREE && !spared(conns_slot(h->r, slot))) {
            spare(h, slot);
            adopt(h, slot);
        }
    count(h, ss->n); /* at once: a master that drains ends when it is 0 */
}
