/*
 * client/driven.c - the same without blocking, for an event loop of the caller's: he drives the
 * claim, also while it is held; the engine has no part in it. See lock.h.
 */
#include "client/lock.h"

#include "base/clock.h"
#include "client/error.h"


/* Locked before, not after. The first steps are made at once: then there is something to poll. */
static int started(struct dflock *l, int error, const char *call)
{
    if (error != 0)
        failure_raise(&l->claim.why, call);
    else
        claim_step(&l->claim, clock_boottime_ns());
    /* A loss that came to light by this call. */
    loss_note(l);
    loss_tell_here(l);
    pthread_mutex_unlock(&l->mutex);
    return error;
}

static int enter(struct dflock *l, const char *call)
{
    int error = lock_enter(l, LOCK_DRIVEN, call);

    if (error != 0)
        return error;
    error = lock_resolve(l, call);
    if (error == 0 && l->closed)
        error = error_raise(DFLOCK_ERR_CLOSED, call, "%.80s: the handle was closed", l->key);
    else if (error == 0 && l->cancelled)
        error = error_raise(DFLOCK_ERR_CANCELLED, call, "%.80s: cancelled", l->key);
    l->cancelled = false;
    if (error != 0)
        pthread_mutex_unlock(&l->mutex);
    return error;
}

int dflock_start_acquire(dflock *l)
{
    int error = enter(l, __func__);

    if (error != 0)
        return error;
    return started(l, claim_start_acquire(&l->claim, clock_boottime_ns()), __func__);
}

int dflock_start_enqueue(dflock *l)
{
    int error = enter(l, __func__);

    if (error != 0)
        return error;
    return started(l, claim_start_enqueue(&l->claim, clock_boottime_ns()), __func__);
}

int dflock_start_wait(dflock *l, double timeout)
{
    struct failure f = {0};
    int error;

    if (wire_check_timeout(timeout, &f) != 0)
        return failure_raise(&f, __func__);
    error = lock_enter(l, LOCK_DRIVEN, __func__);
    if (error != 0)
        return error;
    return started(l, claim_start_wait(&l->claim, timeout, clock_boottime_ns()), __func__);
}

int dflock_start_release(dflock *l)
{
    int error = lock_enter(l, LOCK_DRIVEN, __func__);

    if (error != 0)
        return error;
    error = claim_start_release(&l->claim, clock_boottime_ns());
    l->claim.lost_now = false;
    return started(l, error, __func__);
}

int dflock_fd(const dflock *l)
{
    struct dflock *own;
    int fd;

    if (l == NULL)
        return -1;
    own = lock_reading(l);
    fd = own->mode == LOCK_DRIVEN ? claim_fd(&own->claim) : -1;
    pthread_mutex_unlock(&own->mutex);
    return fd;
}

int dflock_events(const dflock *l)
{
    struct dflock *own;
    int events;

    if (l == NULL)
        return 0;
    own = lock_reading(l);
    events = claim_events(&own->claim);
    pthread_mutex_unlock(&own->mutex);
    return events;
}

static int timeout_ms(const struct dflock *l)
{
    uint64_t at, now, ms;

    if (l->mode != LOCK_DRIVEN || l->closed)
        return -1;
    if (l->claim.done || l->claim.lost_now)
        return 0;
    at = claim_deadline(&l->claim);
    if (at == UINT64_MAX)
        return -1;
    now = clock_boottime_ns();
    ms = at > now ? (at - now) / NS_PER_MS + 1 : 0;
    return ms < LOCK_SLEEP_MAX_MS ? (int)ms : LOCK_SLEEP_MAX_MS;
}

int dflock_timeout_ms(const dflock *l)
{
    struct dflock *own;
    int ms;

    if (l == NULL)
        return -1;
    own = lock_reading(l);
    ms = timeout_ms(own);
    pthread_mutex_unlock(&own->mutex);
    return ms;
}

/* The result of what was started, or that it is under way, or that there is nothing. */
static int result_of(struct claim *c, const char *call)
{
    if (!c->done)
        return c->working ? DFLOCK_PENDING : DFLOCK_IDLE;
    c->done = false;
    if (c->why.code != 0)
        failure_raise(&c->why, call);
    return c->result;
}

int dflock_process(dflock *l)
{
    struct failure loss;
    bool lost;
    int result = lock_enter(l, LOCK_DRIVEN, __func__);

    if (result != 0)
        return result;
    claim_step(&l->claim, clock_boottime_ns());
    lost = l->claim.lost_now;
    if (lost) {
        loss = l->claim.loss;
        loss_note(l);
        loss_tell_here(l);
        result = failure_raise(&loss, __func__);
    } else {
        result = result_of(&l->claim, __func__);
    }
    pthread_mutex_unlock(&l->mutex);
    return result;
}
