/*
 * client/holding.c - a claim that is held: renewed in time, again over other connections until the
 * lease ends, and lost. See claim.h.
 */
#include "client/claimstate.h"

#include "base/clock.h"
#include "base/num.h"

#define RENEW_MAX_NS (15 * NS_PER_SEC)
#define PAUSE_MAX_NS NS_PER_SEC
/* In less than that no other connection is tried. */
#define WORTHWHILE_NS (NS_PER_SEC / 2)
/* The server's keepalive has found out by then: 15 s, and three times 5 s. */
#define SUSPECT_NS (40 * NS_PER_SEC)

/* 0 <= x < 1, by splitmix64: so that clients do not renew in step. */
static double draw(struct claim *c)
{
    uint64_t x = c->random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((x ^ x >> 31) >> 11) * 0x1p-53;
}

static void plan_renewal(struct claim *c, uint64_t begin, uint64_t now)
{
    double wait = (double)seconds_to_ns((int64_t)c->lease) * c->o->renew_ratio;
    double most = (double)(now < c->suspect_until ? SUSPECT_RENEW_NS : RENEW_MAX_NS);

    wait = wait < most ? wait : most;
    c->renew_at = claim_after(begin, (uint64_t)(wait * (1 - c->o->renew_jitter * draw(c))));
    c->renewing = false;
}

void holding_begin(struct claim *c, uint64_t begin, uint64_t now)
{
    c->state = CLAIM_HELD;
    c->end = claim_after(begin, seconds_to_ns((int64_t)c->lease));
    plan_renewal(c, begin, now);
}

static void lose(struct claim *c, const struct failure *f)
{
    c->renewing = false;
    if (c->working) {
        /* A call hears of it, and not as of something that had been held. */
        struct failure g = {0};

        failure_set(&g, DFLOCK_ERR_LEASE_EXPIRED, "%s", f->text);
        c->unsure = false;
        c->state = CLAIM_IDLE;
        claim_fail(c, &g);
        return;
    }
    c->loss = *f;
    c->lost_now = true;
    c->state = CLAIM_LOST;
}

void holding_expire(struct claim *c, uint64_t now)
{
    struct failure f;

    if (c->trouble.code != 0)
        claim_blame(c, &f, c->trouble.code, "the lease has ended; no renewal came through: %s",
                    c->trouble.text);
    else
        claim_blame(c, &f, DFLOCK_ERR_LEASE_EXPIRED, "the lease has ended without a renewal");
    /* A renewal that arrives late would keep for nobody what nobody knows he holds. */
    for (size_t i = 0; i < c->nrequests; i++)
        c->requests[i].void_ = true;
    if (!c->linked || !c->ready || claim_send(c, ASK_RELEASE, now) != 0)
        claim_hang_up(c);
    else
        c->requests[c->nrequests - 1].void_ = true;
    lose(c, &f);
}

static void renew(struct claim *c, uint64_t now)
{
    uint64_t left = c->end - now, patience = left - left / 3;

    c->tried_at = now;
    if (claim_send(c, ASK_RENEW, now) != 0) {
        claim_no_memory(c, &c->trouble);
        c->renew_at = claim_after(now, PAUSE_MAX_NS);
        return;
    }
    c->renewing = true;
    c->sent = now;
    /* Two thirds, so that something is left for another connection, if that is worth it. Not less:
       the server takes the end of this one for the end of the claim, as soon as it sees it. */
    if (left - patience < WORTHWHILE_NS)
        patience = left;
    c->give_up_at = claim_after(now, claim_least(patience, claim_ns(c->o->connect_timeout)));
}

void holding_renew_for_call(struct claim *c, uint64_t now)
{
    c->end = claim_least(c->end, claim_after(now, claim_ns(c->o->connect_timeout)));
    if (!c->renewing)
        renew(c, now);
}

static void holding_cut(struct claim *c, const struct failure *f, uint64_t now)
{
    c->trouble = *f;
    if (c->owning)
        c->suspect_until = claim_after(now, SUSPECT_NS);
    claim_hang_up(c);
    c->renewing = false;
    c->renew_at = claim_after(c->tried_at, c->pause);
    c->pause = claim_least(2 * c->pause, PAUSE_MAX_NS);
}

static void holding_reply(struct claim *c, const struct claim_request *q,
                          const struct dflock_reply *r, uint64_t now)
{
    struct failure f;

    if (now >= c->end) {
        /* Whoever asked meanwhile was told that it is not held, and it stays so. */
        holding_expire(c, now);
        return;
    }
    if (r->status == 0) {
        c->lease = r->seconds;
        failure_clear(&c->trouble);
        /* A connection that has lasted from one renewal to the next: the trouble is over. */
        if (c->owning || !q->certain)
            c->pause = PAUSE_MIN_NS;
        holding_begin(c, c->sent, now);
        if (c->working) {
            /* A first phase that took long is one all the same. */
            c->first_phase = c->first_phase && c->unsure;
            c->unsure = false;
            claim_finish(c, DFLOCK_HELD);
        }
        return;
    }
    claim_said(c, &f, r);
    if (r->status == DFLOCK_ERR_SERVER && q->certain)
        lose(c, &f);
    else
        holding_cut(c, &f, now);
}

static void holding_tick(struct claim *c, uint64_t now)
{
    struct failure f;

    if (now >= c->end) {
        holding_expire(c, now);
    } else if (!c->renewing) {
        renew(c, now);
    } else {
        claim_blame(c, &f, DFLOCK_ERR_CONNECT, "no answer to a renewal");
        holding_cut(c, &f, now);
    }
}

static uint64_t holding_due(const struct claim *c)
{
    return claim_least(c->end, c->renewing ? c->give_up_at : c->renew_at);
}

const struct claim_behaviour claim_holding = {
    .reply = holding_reply, .cut = holding_cut, .tick = holding_tick, .due = holding_due};
