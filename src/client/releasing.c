/*
 * client/releasing.c - a claim that is being given back: for its user, or because the grant came
 * when nobody wanted it any more. See claim.h.
 */
#include "client/claimstate.h"

#include "base/clock.h"

#define RELEASE_NS (2 * NS_PER_SEC)

static void released(struct claim *c, const struct failure *f)
{
    c->state = CLAIM_IDLE;
    if (c->giving_back)
        claim_fail(c, &c->why);
    else if (f != NULL)
        claim_fail(c, f);
    else
        claim_finish(c, 0);
    c->giving_back = false;
}

static void releasing_cut(struct claim *c, const struct failure *f, uint64_t now)
{
    (void)now;
    c->trouble = *f;
    claim_hang_up(c);
    c->retry_at = claim_after(c->tried_at, PAUSE_MIN_NS);
}

static void releasing_reply(struct claim *c, const struct claim_request *q,
                            const struct dflock_reply *r, uint64_t now)
{
    struct failure f;

    if (r->status == 0) {
        released(c, NULL);
        return;
    }
    claim_said(c, &f, r);
    if (r->status == DFLOCK_ERR_SERVER && q->certain)
        released(c, &f);
    else
        releasing_cut(c, &f, now);
}

static void releasing_tick(struct claim *c, uint64_t now)
{
    struct failure f;

    if (now < c->deadline) {
        c->tried_at = now;
        if (claim_send(c, ASK_RELEASE, now) == 0)
            return;
        claim_no_memory(c, &c->trouble);
    }
    claim_blame(c, &f, DFLOCK_ERR_CONNECT, "no answer to the release%s%s",
                c->trouble.code != 0 ? ": " : "", c->trouble.code != 0 ? c->trouble.text : "");
    claim_hang_up(c);
    released(c, &f);
}

static uint64_t releasing_due(const struct claim *c)
{
    return c->linked ? c->deadline : claim_least(c->deadline, c->retry_at);
}

void releasing_begin(struct claim *c, bool giving_back, uint64_t now)
{
    c->working = true;
    c->done = false;
    c->giving_back = giving_back;
    c->renewing = c->unsure = c->first_phase = false;
    failure_clear(&c->trouble);
    for (size_t i = 0; i < c->nrequests; i++)
        c->requests[i].void_ = true;
    c->state = CLAIM_RELEASING;
    c->deadline = claim_after(now, RELEASE_NS);
    c->tried_at = c->retry_at = now;
    if (c->linked && claim_send(c, ASK_RELEASE, now) != 0)
        claim_hang_up(c);
    c->again = true;
}

const struct claim_behaviour claim_releasing = {
    .reply = releasing_reply, .cut = releasing_cut, .tick = releasing_tick, .due = releasing_due};
