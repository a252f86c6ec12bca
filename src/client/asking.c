/*
 * client/asking.c - a claim that has been asked for: the lock, a place in its queue, the lock after
 * that. See claim.h.
 */
#include "client/claimstate.h"

#include "base/clock.h"
#include "base/num.h"

#include <string.h>

/* What takes longer was waited for; or a quarter of a lease that is short. */
#define WAITED_NS (2 * NS_PER_SEC)
/* A server that closed an idle connection did so before it saw the request, or just then. */
#define REDIAL_NS (2 * NS_PER_SEC)

static bool has_fraction(double seconds)
{
    return seconds != (double)(uint64_t)seconds;
}

static void granted(struct claim *c, const struct dflock_reply *r, uint64_t now)
{
    uint64_t quarter = seconds_to_ns((int64_t)r->seconds) / 4;

    memcpy(c->token, r->token, sizeof c->token);
    c->fence = dflock_token_fence(c->token);
    c->lease = r->seconds;
    c->owning = true;
    c->pause = PAUSE_MIN_NS;
    c->suspect_until = 0;
    failure_clear(&c->trouble);
    c->first_phase = c->asking == ASK_ENQUEUE;
    /* It began when it was asked for at the earliest: that is good enough for an answer that came
       soon. Who waited cannot know: the grant may have been under way for long, or have lain unread.
       A renewal tells. */
    c->unsure = now - c->asked_at > claim_least(WAITED_NS, quarter);
    if (c->unsure) {
        holding_begin(c, now, now);
        holding_renew_for_call(c, now);
        return;
    }
    holding_begin(c, c->asked_at, now);
    claim_finish(c, DFLOCK_HELD);
}

/* No error, but whoever asks why is told. */
static void time_out(struct claim *c)
{
    c->state = CLAIM_IDLE;
    claim_blame(c, &c->why, DFLOCK_ERR_TIMEOUT, "not got within %g s", c->timeout);
    claim_finish(c, DFLOCK_TIMED_OUT);
}

static void ask_in_vain(struct claim *c, const struct failure *f)
{
    c->state = CLAIM_IDLE;
    claim_hang_up(c);
    claim_fail(c, f);
}

/* The first time over a connection of before: the server may have closed it for being idle. What it
   may have granted nevertheless it takes back when it sees the connection end. */
static void ask_again(struct claim *c, const struct failure *f, uint64_t now)
{
    struct failure g;

    if (!c->may_redial || now - c->asked_at > REDIAL_NS) {
        ask_in_vain(c, f);
        return;
    }
    c->may_redial = false;
    claim_hang_up(c);
    if (claim_send(c, c->asking, now) != 0) {
        claim_no_memory(c, &g);
        ask_in_vain(c, &g);
    }
}

static void asking_cut(struct claim *c, const struct failure *f, uint64_t now)
{
    ask_again(c, f, now);
}

static void asking_reply(struct claim *c, const struct claim_request *q,
                         const struct dflock_reply *r, uint64_t now)
{
    struct failure f;

    if (r->status >= 0 && r->token[0] != '\0') {
        granted(c, r, now);
        return;
    }
    if (r->status == DFLOCK_QUEUED) {
        c->state = CLAIM_QUEUED;
        claim_finish(c, DFLOCK_QUEUED);
        return;
    }
    claim_said(c, &f, r);
    switch (r->status) {
    case DFLOCK_ERR_TIMEOUT:
        if (c->asking == ASK_WAIT)
            claim_hang_up(c);
        time_out(c);
        break;
    case DFLOCK_ERR_SERVER:
        if (q->certain)
            ask_in_vain(c, &f);
        else
            ask_again(c, &f, now);
        break;
    case DFLOCK_ERR_MAX_LOCKS:
    case DFLOCK_ERR_MAX_WAITERS:
    case DFLOCK_ERR_LIMIT_MISMATCH:
    case DFLOCK_ERR_LEASE_EXPIRED:
        c->state = CLAIM_IDLE;
        claim_fail(c, &f);
        break;
    default:
        ask_in_vain(c, &f);
    }
}

void asking_sent(struct claim *c, uint64_t now)
{
    uint64_t answer = claim_ns(c->o->connect_timeout);

    if (c->asking == ASK_ENQUEUE)
        c->deadline = claim_after(now, answer);
    else if (has_fraction(c->timeout))
        c->deadline = claim_after(now, claim_ns(c->timeout));
    else
        c->deadline = claim_after(claim_after(now, claim_ns(c->timeout)), answer);
}

static void asking_tick(struct claim *c, uint64_t now)
{
    struct failure f;

    (void)now;
    if (c->asking != ASK_ENQUEUE && has_fraction(c->timeout)) {
        /* All that had come was taken just now. What is on its way goes with the connection. */
        claim_hang_up(c);
        time_out(c);
        return;
    }
    claim_blame(c, &f, DFLOCK_ERR_CONNECT, "no answer");
    ask_in_vain(c, &f);
}

static uint64_t asking_due(const struct claim *c)
{
    return c->ready ? c->deadline : NEVER;
}

const struct claim_behaviour claim_asking = {
    .reply = asking_reply, .cut = asking_cut, .tick = asking_tick, .due = asking_due};
