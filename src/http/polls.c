/*
 * http/polls.c - see polls.h.
 */
#include "http/polls.h"

#include "base/clock.h"
#include "base/point.h"
#include "http/call.h"
#include "http/http.h"
#include "http/link.h"
#include "http/locks.h"
#include "http/sessions.h"
#include "serving/op.h"
#include "shm/bell.h"

#include <errno.h>
#include <stdlib.h>

enum { WAITS_NOT, WAITS_FOR_TURN, WAITS_FOR_GRANT, WAITS_FOR_PROMISE };

enum {
    BATCH = 32, /* grants delivered under one lock */
};

#define TIMER_MOST (3600 * NS_PER_SEC) /* then it looks again */
#define CLOCK_JUMP (50 * NS_PER_MS)

struct list {
    struct call *first, *last;
};

/* The requests of one session that go one after another. Private; by slot. */
struct line {
    struct call *turn; /* whose turn it is */
    struct list behind;
    bool held; /* the next is not served now */
};

struct polls {
    struct line *line; /* from slot max_conns + 1 on */
    struct list starved;
    uint64_t ahead; /* by which BOOTTIME is ahead of the clock of timers */
};

static struct line *line_of(const struct http *h, uint32_t slot)
{
    return &h->polls->line[slot - h->r->max_conns - 1];
}

static uint64_t clocks_apart(void)
{
    return clock_boottime_ns() - clock_monotonic_ns();
}

int polls_init(struct http *h)
{
    struct polls *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    p->line = calloc((size_t)h->r->max_sessions + 1, sizeof(*p->line));
    p->ahead = clocks_apart();
    h->polls = p;
    return p->line ? 0 : -ENOMEM;
}

/* ---- lists ---- */

static void append(struct list *l, struct call *c)
{
    c->prev = l->last;
    c->next = NULL;
    *(l->last ? &l->last->next : &l->first) = c;
    l->last = c;
}

static void unlink_call(struct list *l, struct call *c)
{
    *(c->prev ? &c->prev->next : &l->first) = c->next;
    *(c->next ? &c->next->prev : &l->last) = c->prev;
}

/* ---- waiting ---- */

static void client_left(struct call *c);

/* The body is the handler's only while it runs. */
static bool keep_body(struct call *c)
{
    if (c->kept)
        return true;
    c->kept = malloc(sizeof(*c->kept));
    if (!c->kept) {
        call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
        return false;
    }
    *c->kept = *c->body;
    return true;
}

static void wait_for(struct call *c, unsigned what)
{
    c->waits = what;
    c->left = client_left;
}

/* Its client may have left unnoticed: then the call ends here, and is in no list any more. */
static bool has_left(struct call *c)
{
    if (!link_has_left(c->link))
        return false;
    link_end(c->link);
    return true;
}

static void serve_again(struct call *c)
{
    c->waits = WAITS_NOT;
    c->left = NULL;
    c->body = c->kept;
    c->h->now = clock_boottime_ns();
    c->route->serve(c);
}

bool polls_turn(struct call *c)
{
    struct line *line = line_of(c->h, c->session);

    if (!line->turn)
        line->turn = c;
    if (line->turn == c)
        return true;
    if (keep_body(c)) {
        append(&line->behind, c);
        wait_for(c, WAITS_FOR_TURN);
    }
    return false;
}

void polls_starve(struct call *c)
{
    if (!keep_body(c))
        return;
    append(&c->h->polls->starved, c);
    wait_for(c, WAITS_FOR_PROMISE);
}

static void forget(struct http *h, struct call *c)
{
    if (c->waits == WAITS_FOR_TURN)
        unlink_call(&line_of(h, c->session)->behind, c);
    else if (c->waits == WAITS_FOR_PROMISE)
        unlink_call(&h->polls->starved, c);
    c->waits = WAITS_NOT;
}

/* Each that is answered at once comes back here by polls_done(), which leaves the next to this loop. */
static void serve_line(struct line *line)
{
    line->held = true;
    while (!line->turn && line->behind.first) {
        struct call *c = line->behind.first;

        if (has_left(c))
            continue;
        unlink_call(&line->behind, c);
        line->turn = c;
        serve_again(c);
    }
    line->held = false;
}

void polls_done(struct http *h, struct call *c)
{
    struct line *line = line_of(h, c->session);

    forget(h, c);
    if (line->turn != c)
        return;
    line->turn = NULL;
    if (!line->held)
        serve_line(line);
}

/* ---- the end of a wait for a grant ---- */

enum ending { ENDING_TIME, ENDING_DRAIN, ENDING_GONE, ENDING_LEFT, ENDING_FAULT };

/* Takes the session's request out of the table. A grant that was made in time is delivered when there
   is somebody to hear of it, and passed on otherwise. */
static enum verdict unblock(struct http *h, uint32_t slot, bool deliver, struct grant *g)
{
    struct conn *conn = conns_slot(h->r, slot);
    enum verdict v = VERDICT_NOT_HELD;
    struct tx tx;

    if (!shared_begin(&h->sh, &tx, conn->blocked_shard, h->now)) {
        op_unblocked(&h->sh, &h->sh.slot->journal, conn);
        journal_commit(&h->sh.slot->journal);
        return v;
    }
    if (op_still_blocked(&h->sh, slot))
        v = table_unblock(&tx, conn->blocked, deliver, g);
    op_unblocked(&h->sh, &tx.s->journal, conn);
    shared_end(&h->sh, &tx);
    return v;
}

static void end_wait(struct call *c, enum ending how)
{
    struct http *h = c->h;
    struct grant g;
    enum verdict v;

    h->now = clock_boottime_ns();
    POINT(HTTP_UNBLOCK);
    v = unblock(h, c->session, how == ENDING_TIME || how == ENDING_DRAIN, &g);
    c->waits = WAITS_NOT;
    c->left = NULL;
    if (how == ENDING_LEFT)
        call_answer_nobody(c);
    else if (how == ENDING_GONE)
        call_answer_error(c, HTTP_ERR_SESSION_GONE, NULL);
    else if (how == ENDING_FAULT)
        call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
    else if (v == VERDICT_OK)
        locks_tell_grant(c, REPLY_OK, &g);
    else if (v == VERDICT_TIMEOUT && how == ENDING_DRAIN)
        call_answer_error(c, HTTP_ERR_DRAINING, "the server is ending");
    else
        locks_answer(c, v);
}

static void client_left(struct call *c)
{
    if (c->waits == WAITS_FOR_GRANT)
        end_wait(c, ENDING_LEFT);
    else
        call_answer_nobody(c);
}

void polls_end(struct http *h, uint32_t slot)
{
    struct line *line = line_of(h, slot);
    struct call *next;

    line->held = true;
    while (line->behind.first)
        call_answer_error(line->behind.first, HTTP_ERR_SESSION_GONE, NULL);
    for (struct call *c = h->polls->starved.first; c; c = next) {
        next = c->next;
        if (c->session == slot)
            call_answer_error(c, HTTP_ERR_SESSION_GONE, NULL);
    }
    if (line->turn)
        end_wait(line->turn, ENDING_GONE);
    line->held = false;
}

void polls_lost(struct http *h, uint32_t slot)
{
    struct conn *conn = conns_slot(h->r, slot);
    struct tx tx;

    if (!shared_begin(&h->sh, &tx, conn->blocked_shard, h->now)) {
        op_unblocked(&h->sh, &h->sh.slot->journal, conn);
        journal_commit(&h->sh.slot->journal);
        return;
    }
    if (op_still_blocked(&h->sh, slot))
        table_lose_wait(&tx, conn->blocked);
    op_unblocked(&h->sh, &tx.s->journal, conn);
    shared_end(&h->sh, &tx);
}

/* ---- time ---- */

static bool set_timer(struct call *c)
{
    uint64_t now = clock_boottime_ns(), until = conns_slot(c->h->r, c->session)->blocked_until;
    /* libevent's clock is coarse: rather a little later than twice. */
    uint64_t left = until > now ? until - now + NS_PER_MS : 0;
    struct timeval t;

    left = left < TIMER_MOST ? left : TIMER_MOST;
    t.tv_sec = (time_t)(left / NS_PER_SEC);
    t.tv_usec = (suseconds_t)(left % NS_PER_SEC / NS_PER_US);
    return evtimer_add(c->timer, &t) == 0;
}

static void time_is_up(evutil_socket_t fd, short what, void *call)
{
    struct call *c = call;

    (void)fd, (void)what;
    if (c->h->leaves)
        return; /* the process's heir ends it: its answer might not get out */
    c->h->now = clock_boottime_ns();
    if (c->h->now >= conns_slot(c->h->r, c->session)->blocked_until)
        end_wait(c, ENDING_TIME);
    else if (!set_timer(c))
        end_wait(c, ENDING_FAULT);
}

void polls_block(struct call *c)
{
    free(c->kept);
    c->kept = NULL;
    wait_for(c, WAITS_FOR_GRANT);
    c->timer = evtimer_new(c->h->base, time_is_up, c);
    if (!c->timer || !set_timer(c))
        end_wait(c, ENDING_FAULT);
}

/* For each session's request that waits for a grant. */
static void for_each_blocked(struct http *h, void (*function)(struct call *c, uint32_t shard),
                             uint32_t shard)
{
    for (uint32_t slot = h->r->max_conns + 1; slot <= sessions_top(h); slot++) {
        struct call *c = line_of(h, slot)->turn;

        if (c && c->waits == WAITS_FOR_GRANT)
            function(c, shard);
    }
}

static void set_timer_again(struct call *c, uint32_t shard)
{
    (void)shard;
    if (!set_timer(c))
        end_wait(c, ENDING_FAULT);
}

static void serve_starved(struct http *h)
{
    struct list *l = &h->polls->starved;
    unsigned n = 0;

    for (const struct call *c = l->first; c; c = c->next)
        n++;
    for (; n > 0 && l->first; n--) {
        struct call *c = l->first;

        if (has_left(c))
            continue;
        unlink_call(l, c);
        serve_again(c);
    }
}

void polls_tick(struct http *h)
{
    uint64_t ahead = clocks_apart();
    int64_t jumped = (int64_t)(ahead - h->polls->ahead);

    /* The machine was suspended: timers do not know it. */
    if (jumped > (int64_t)CLOCK_JUMP || jumped < -(int64_t)CLOCK_JUMP) {
        h->polls->ahead = ahead;
        for_each_blocked(h, set_timer_again, 0);
    }
    serve_starved(h);
}

void polls_fences(struct http *h)
{
    serve_starved(h);
    polls_deliver(h, UINT64_MAX);
}

static void end_for_drain(struct call *c, uint32_t shard)
{
    (void)shard;
    end_wait(c, ENDING_DRAIN);
}

void polls_drain(struct http *h)
{
    for_each_blocked(h, end_for_drain, 0);
}

/* ---- grants made by others ---- */

struct told {
    struct call *c;
    enum verdict v;
    struct grant g;
};

/* One grant; false when it must wait until its lease may be promised. t->c NULL: nobody is told. */
static bool deliver(struct http *h, struct tx *tx, uint32_t node, struct told *t)
{
    uint32_t slot = table_node(&h->sh.table, node)->owner;
    struct conn *conn = conns_slot(h->r, slot);

    t->c = NULL;
    if (conn->phase != PHASE_BLOCKED || conn->blocked != node) {
        /* The session is going: what it was given passes on. */
        table_unblock(tx, node, false, &t->g);
        shared_step(tx);
        return true;
    }
    t->v = table_deliver(tx, node, &t->g);
    if (t->v == VERDICT_NO_FENCE)
        return false;
    op_unblocked(&h->sh, &tx->s->journal, conn);
    shared_step(tx);
    t->c = line_of(h, slot)->turn;
    return true;
}

static void end_in_shard(struct call *c, uint32_t shard)
{
    if (conns_slot(c->h->r, c->session)->blocked_shard == shard)
        end_wait(c, ENDING_FAULT);
}

static void deliver_shard(struct http *h, uint32_t shard)
{
    struct told told[BATCH];
    unsigned n = 0;
    uint32_t node;
    struct tx tx;

    if (!shared_begin(&h->sh, &tx, shard, h->now)) {
        if (table_lost(&h->sh.table, shard))
            for_each_blocked(h, end_in_shard, shard);
        return;
    }
    while (n < BATCH && (node = table_pending(&tx, h->sh.worker)) != 0 &&
           deliver(h, &tx, node, &told[n]))
        n++;
    shared_end(&h->sh, &tx);
    if (n == BATCH)
        bell_tell(h->r, h->sh.worker, shard);
    for (unsigned i = 0; i < n; i++) {
        struct call *c = told[i].c;

        if (!c)
            continue;
        POINT(HTTP_GRANTED);
        c->waits = WAITS_NOT;
        c->left = NULL;
        if (told[i].v == VERDICT_OK)
            locks_tell_grant(c, REPLY_OK, &told[i].g);
        else
            locks_answer(c, told[i].v);
    }
}

void polls_deliver(struct http *h, uint64_t mask)
{
    for (; mask; mask &= mask - 1)
        deliver_shard(h, (uint32_t)__builtin_ctzll(mask));
}
