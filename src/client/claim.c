/*
 * client/claim.c - see claim.h. What drives a claim, and what begins a call; asking.c, holding.c
 * and releasing.c have what its states do.
 */
#include "client/claim.h"

#include "base/clock.h"
#include "client/claimstate.h"

#include <poll.h>
#include <string.h>

/* ---- At rest --------------------------------------------------------------------------------- */

static void rest_reply(struct claim *c, const struct claim_request *q, const struct dflock_reply *r,
                       uint64_t now)
{
    (void)c;
    (void)q;
    (void)r;
    (void)now;
}

static void rest_cut(struct claim *c, const struct failure *f, uint64_t now)
{
    (void)now;
    claim_hang_up(c);
    c->trouble = *f;
}

static void rest_tick(struct claim *c, uint64_t now)
{
    (void)c;
    (void)now;
}

static uint64_t rest_due(const struct claim *c)
{
    (void)c;
    return NEVER;
}

static const struct claim_behaviour at_rest = {
    .reply = rest_reply, .cut = rest_cut, .tick = rest_tick, .due = rest_due};

static const struct claim_behaviour *const states[CLAIM_STATES] = {
    [CLAIM_IDLE] = &at_rest,       [CLAIM_ASKING] = &claim_asking,       [CLAIM_QUEUED] = &at_rest,
    [CLAIM_HELD] = &claim_holding, [CLAIM_RELEASING] = &claim_releasing, [CLAIM_LOST] = &at_rest,
};

/* ---- Driving --------------------------------------------------------------------------------- */

/* From here on the server may have the requests. */
static void became_ready(struct claim *c, uint64_t now)
{
    c->ready = true;
    c->sent = c->asked_at = now;
    if (c->state == CLAIM_ASKING)
        asking_sent(c, now);
}

static void take(struct claim *c, const struct dflock_reply *r, uint64_t now)
{
    struct claim_request q;
    struct failure f;

    if (c->nrequests == 0) {
        claim_blame(c, &f, DFLOCK_ERR_PROTOCOL, "the server speaks unasked: \"%.100s\"", r->text);
        states[c->state]->cut(c, &f, now);
        return;
    }
    q = c->requests[0];
    c->nrequests--;
    memmove(c->requests, c->requests + 1, c->nrequests * sizeof c->requests[0]);
    if (!q.void_)
        states[c->state]->reply(c, &q, r, now);
}

static void converse(struct claim *c, uint64_t now)
{
    unsigned dials = c->dials;
    struct dflock_reply reply;
    int error = channel_process(c->channel, now);

    if (!c->ready && channel_is_ready(c->channel))
        became_ready(c, now);
    /* By the time at which it is taken: this process may have been stopped since `now`. */
    while (c->linked && c->dials == dials && channel_reply(c->channel, &reply))
        take(c, &reply, clock_boottime_ns());
    if (error != 0 && c->linked && c->dials == dials) {
        struct failure f = *channel_failure(c->channel);

        states[c->state]->cut(c, &f, now);
    }
}

void claim_step(struct claim *c, uint64_t now)
{
    /* A cut and a dial, a request and its flush: a few rounds. What is left has time. */
    for (int round = 0; round < 6; round++) {
        c->again = false;
        if (c->linked)
            converse(c, now);
        if (now >= states[c->state]->due(c))
            states[c->state]->tick(c, now);
        if (!c->again)
            return;
    }
}

uint64_t claim_deadline(const struct claim *c)
{
    uint64_t at = states[c->state]->due(c);

    if (c->again)
        return 0;
    if (c->linked)
        at = claim_least(at, channel_deadline(c->channel));
    return at;
}

int claim_fd(const struct claim *c)
{
    return c->linked ? channel_fd(c->channel) : -1;
}

short claim_events(const struct claim *c)
{
    return c->linked ? channel_events(c->channel) : POLLIN;
}

bool claim_is_held(const struct claim *c, uint64_t now)
{
    return c->state == CLAIM_HELD && !c->unsure && now < c->end;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static int refuse(struct claim *c, const char *why)
{
    claim_blame(c, &c->why, DFLOCK_ERR_STATE, "%s", why);
    return DFLOCK_ERR_STATE;
}

static void begin(struct claim *c)
{
    c->working = true;
    c->done = false;
    failure_clear(&c->why);
}

static int start(struct claim *c, enum claim_ask what, double timeout, uint64_t now)
{
    begin(c);
    c->state = CLAIM_ASKING;
    c->asking = what;
    c->timeout = timeout;
    c->may_redial = c->linked && what != ASK_WAIT;
    c->owning = what == ASK_WAIT;
    c->asked_at = now;
    asking_sent(c, now);
    if (claim_send(c, what, now) != 0) {
        c->working = false;
        c->state = CLAIM_IDLE;
        claim_hang_up(c);
        claim_no_memory(c, &c->why);
        return DFLOCK_ERR_SYSTEM;
    }
    return 0;
}

static int start_anew(struct claim *c, enum claim_ask what, uint64_t now)
{
    if (c->state == CLAIM_HELD && now >= c->end)
        holding_expire(c, now);
    if (c->state == CLAIM_HELD)
        return refuse(c, "it is held already");
    if (c->state == CLAIM_QUEUED)
        return refuse(c, "it has a place in the queue already");
    if (c->state != CLAIM_IDLE && c->state != CLAIM_LOST)
        return refuse(c, "another call is under way");
    /* What it was is no longer what it is. */
    c->token[0] = '\0';
    c->fence = c->lease = 0;
    /* A server that still owes an answer may be dead. */
    if (c->nrequests > 0)
        claim_hang_up(c);
    return start(c, what, c->o->acquire_timeout, now);
}

int claim_start_acquire(struct claim *c, uint64_t now)
{
    return start_anew(c, ASK_ACQUIRE, now);
}

int claim_start_enqueue(struct claim *c, uint64_t now)
{
    return start_anew(c, ASK_ENQUEUE, now);
}

int claim_start_wait(struct claim *c, double timeout, uint64_t now)
{
    if (c->state == CLAIM_HELD && now >= c->end)
        holding_expire(c, now);
    if (c->state == CLAIM_QUEUED && c->linked)
        return start(c, ASK_WAIT, timeout, now);
    if (c->state == CLAIM_QUEUED) {
        c->state = CLAIM_IDLE;
        begin(c);
        claim_blame(c, &c->why, DFLOCK_ERR_CONNECT,
                    "the connection ended, and with it the place in the queue: %s",
                    c->trouble.text);
        claim_finish(c, DFLOCK_ERR_CONNECT);
        return 0;
    }
    if (c->state == CLAIM_LOST && c->first_phase) {
        c->state = CLAIM_IDLE;
        begin(c);
        failure_set(&c->why, DFLOCK_ERR_LEASE_EXPIRED, "%s", c->loss.text);
        claim_finish(c, DFLOCK_ERR_LEASE_EXPIRED);
        return 0;
    }
    if (c->state == CLAIM_HELD && c->first_phase && !c->working) {
        begin(c);
        holding_renew_for_call(c, now);
        return 0;
    }
    return refuse(c, "wait without enqueue");
}

int claim_start_release(struct claim *c, uint64_t now)
{
    struct failure f;

    if (c->working)
        return refuse(c, "another call is under way");
    if (c->state == CLAIM_HELD && now >= c->end)
        holding_expire(c, now);
    switch (c->state) {
    case CLAIM_HELD:
        releasing_begin(c, false, now);
        failure_clear(&c->why);
        return 0;
    case CLAIM_QUEUED:
        begin(c);
        c->state = CLAIM_IDLE;
        claim_hang_up(c);
        claim_finish(c, 0);
        return 0;
    case CLAIM_LOST:
        begin(c);
        c->state = CLAIM_IDLE;
        f = c->loss;
        if (f.code != DFLOCK_ERR_SERVER)
            f.code = DFLOCK_ERR_LEASE_EXPIRED;
        claim_fail(c, &f);
        return 0;
    default:
        return refuse(c, "it is not held");
    }
}

void claim_abandon(struct claim *c, int code, const char *why, uint64_t now)
{
    claim_blame(c, &c->why, code, "%s", why);
    if (c->state == CLAIM_HELD) {
        releasing_begin(c, true, now);
        return;
    }
    if (c->giving_back)
        return;
    /* What is on its way to here goes with the connection. */
    if (c->state == CLAIM_ASKING || c->state == CLAIM_QUEUED || c->state == CLAIM_RELEASING)
        claim_hang_up(c);
    c->state = CLAIM_IDLE;
    claim_finish(c, code);
}

void claim_close(struct claim *c, uint64_t now)
{
    if (c->state == CLAIM_HELD && c->linked && c->ready && claim_send(c, ASK_RELEASE, now) == 0)
        channel_process(c->channel, now);
    claim_hang_up(c);
    c->state = CLAIM_IDLE;
    c->working = c->giving_back = c->again = false;
}

void claim_init(struct claim *c, const struct dflock_options *o, const struct addr *server,
                const char *key, uint32_t limit)
{
    *c = (struct claim){.o = o, .server = server, .key = key, .limit = limit};
    c->random = clock_boottime_ns() ^ (uintptr_t)c;
}

void claim_free(struct claim *c)
{
    channel_free(c->channel);
}
