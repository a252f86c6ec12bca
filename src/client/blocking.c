/*
 * client/blocking.c - the calls that block: the calling thread itself drives the claim, and sleeps
 * in poll() with nothing locked. See lock.h.
 */
#include "client/lock.h"

#include "base/clock.h"
#include "client/error.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

void lock_wake(struct dflock *l)
{
    uint64_t one = 1;

    /* It cannot fail but when it is full, which wakes as well. */
    if (l->wake >= 0 && write(l->wake, &one, sizeof one) < 0)
        return;
}

static int open_wake(struct dflock *l, const char *call)
{
    if (l->wake < 0)
        l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake < 0)
        return error_raise(DFLOCK_ERR_SYSTEM, call, "%.80s: no descriptor: %s", l->key,
                           error_errno(errno));
    return 0;
}

static void clear_wake(struct dflock *l)
{
    uint64_t count;

    if (read(l->wake, &count, sizeof count) < 0)
        return;
}

/* Lets go: the engine takes what is held. */
static void end(struct dflock *l)
{
    if (l->cancelled)
        clear_wake(l);
    l->busy = l->cancelled = false;
    if (!l->closed)
        background_take(l);
    pthread_mutex_unlock(&l->mutex);
}

/* Locked and busy, when it returns 0; else neither. */
static int begin(struct dflock *l, const char *call, bool dials)
{
    int error = lock_enter(l, LOCK_BLOCKING, call);

    if (error != 0)
        return error;
    l->busy = true;
    error = open_wake(l, call);
    if (error == 0 && dials)
        error = lock_resolve(l, call);
    if (error == 0 && (l->cancelled || l->closed))
        error = error_raise(DFLOCK_ERR_CANCELLED, call, "%.80s: cancelled", l->key);
    if (error != 0)
        end(l);
    return error;
}

/* Until something may be done; unlocked meanwhile. */
static void sleep_on(struct dflock *l, uint64_t now)
{
    uint64_t until = claim_deadline(&l->claim);
    uint64_t ms = until > now ? (until - now + NS_PER_MS - 1) / NS_PER_MS : 0;
    struct pollfd fds[2] = {{.fd = claim_fd(&l->claim), .events = claim_events(&l->claim)},
                            {.fd = l->wake, .events = POLLIN}};

    pthread_mutex_unlock(&l->mutex);
    poll(fds, 2, ms < LOCK_SLEEP_MAX_MS ? (int)ms : LOCK_SLEEP_MAX_MS);
    pthread_mutex_lock(&l->mutex);
}

/* Until the claim is done and nobody has left us anything: whoever was told that the call is
   cancelled must not find the lock held. */
static void drive(struct dflock *l)
{
    bool heeded = false;

    for (;;) {
        uint64_t now = clock_boottime_ns();
        int error;

        claim_step(&l->claim, now);
        if (l->closed) {
            claim_abandon(&l->claim, DFLOCK_ERR_CANCELLED, "closed", now);
            claim_close(&l->claim, now);
            return;
        }
        if (l->cancelled)
            clear_wake(l);
        if (l->cancelled && !heeded) {
            heeded = true;
            claim_abandon(&l->claim, DFLOCK_ERR_CANCELLED, "cancelled", now);
        }
        if (l->claim.done) {
            error = background_take(l);
            if (error == 0)
                return;
            claim_abandon(&l->claim, DFLOCK_ERR_SYSTEM, error_errno(-error), now);
        }
        sleep_on(l, now);
    }
}

/* What a start of the claim came to, and all that follows from it. */
static int finish(struct dflock *l, int started, const char *call)
{
    int result = started;

    if (started == 0) {
        drive(l);
        result = l->closed ? DFLOCK_ERR_CANCELLED : l->claim.result;
    }
    if (l->claim.why.code != 0)
        failure_raise(&l->claim.why, call);
    background_tell(l);
    end(l);
    return result;
}

int dflock_acquire(dflock *l)
{
    int error = begin(l, __func__, true);

    if (error != 0)
        return error;
    return finish(l, claim_start_acquire(&l->claim, clock_boottime_ns()), __func__);
}

int dflock_enqueue(dflock *l)
{
    int error = begin(l, __func__, true);

    if (error != 0)
        return error;
    return finish(l, claim_start_enqueue(&l->claim, clock_boottime_ns()), __func__);
}

int dflock_wait(dflock *l, double timeout)
{
    struct failure f = {0};
    int error;

    if (wire_check_timeout(timeout, &f) != 0)
        return failure_raise(&f, __func__);
    error = begin(l, __func__, false);
    if (error != 0)
        return error;
    return finish(l, claim_start_wait(&l->claim, timeout, clock_boottime_ns()), __func__);
}

int dflock_release(dflock *l)
{
    int error = begin(l, __func__, false);

    if (error != 0)
        return error;
    /* First: what this call comes to is nobody's news. Nor is a loss that it finds out itself. */
    loss_forget(l);
    error = claim_start_release(&l->claim, clock_boottime_ns());
    l->claim.lost_now = false;
    return finish(l, error, __func__);
}

int dflock_cancel(dflock *l)
{
    bool blocks, drives;

    if (l == NULL)
        return error_raise(DFLOCK_ERR_INVALID, __func__, "no handle");
    pthread_mutex_lock(&l->mutex);
    blocks = l->busy && !l->closed;
    drives = !l->busy && !l->closed && l->claim.working;
    if (blocks) {
        l->cancelled = true;
        lock_wake(l);
    } else if (drives) {
        claim_abandon(&l->claim, DFLOCK_ERR_CANCELLED, "cancelled", clock_boottime_ns());
    }
    pthread_mutex_unlock(&l->mutex);
    if (blocks || drives)
        return 0;
    return error_raise(DFLOCK_ERR_STATE, __func__, "%.80s: no call is under way", l->key);
}

int dflock_with_lock(dflock *l, int (*fn)(dflock *l, void *arg), void *arg, int *result)
{
    int got, value;

    if (fn == NULL)
        return error_raise(DFLOCK_ERR_INVALID, __func__, "no function");
    got = dflock_acquire(l);
    if (got != DFLOCK_HELD)
        return got;
    value = fn(l, arg);
    dflock_release(l);
    if (result != NULL)
        *result = value;
    return DFLOCK_HELD;
}
