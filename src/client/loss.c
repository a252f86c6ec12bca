/*
 * client/loss.c - tells who holds a lock that he does not any more. See lock.h.
 *
 * Each callback has a thread of its own: it may block, and it may call the handle. It is called
 * once a loss, unless the lock was given back or the handle closed before it began.
 */
#include "client/lock.h"

#include "base/clock.h"
#include "client/thread.h"

#include <stdlib.h>
#include <time.h>

/* A callback may wait for something that belongs to whoever waits for it here. */
#define SETTLE_NS (2 * NS_PER_SEC)

struct news {
    struct dflock *lock;
    struct failure loss;
    unsigned number;
};

/* Whose callback this thread is in. */
static _Thread_local const struct dflock *telling;

static void call(struct dflock *l, const struct failure *loss)
{
    const struct dflock *before = telling;

    telling = l;
    pthread_mutex_unlock(&l->mutex);
    l->options->on_renew_error(l, loss->code, loss->text, l->options->on_renew_error_arg);
    pthread_mutex_lock(&l->mutex);
    telling = before;
}

static void *tell(void *arg)
{
    struct news *n = arg;
    struct dflock *l = n->lock;

    pthread_mutex_lock(&l->mutex);
    if (n->number > l->losses_done)
        call(l, &n->loss);
    l->tellers--;
    pthread_cond_broadcast(&l->told);
    pthread_mutex_unlock(&l->mutex);
    free(n);
    return NULL;
}

void loss_note(struct dflock *l)
{
    if (l->claim.lost_now && l->options->on_renew_error != NULL)
        l->losses++;
    l->claim.lost_now = false;
}

bool loss_tell(struct dflock *l)
{
    struct news *n;

    if (l->losses_begun == l->losses)
        return true;
    n = malloc(sizeof *n);
    if (n == NULL)
        return false;
    *n = (struct news){.lock = l, .loss = l->claim.loss, .number = l->losses};
    if (thread_start(NULL, "dflock-loss", tell, n) != 0) {
        free(n);
        return false;
    }
    l->losses_begun = l->losses;
    l->tellers++;
    return true;
}

void loss_tell_here(struct dflock *l)
{
    struct failure loss = l->claim.loss;

    if (l->losses_begun == l->losses)
        return;
    l->losses_begun = l->losses;
    call(l, &loss);
}

void loss_forget(struct dflock *l)
{
    uint64_t until;
    struct timespec at;

    l->claim.lost_now = false;
    l->losses_begun = l->losses_done = l->losses;
    if (l->tellers == 0 || telling == l)
        return;
    until = clock_monotonic_ns() + SETTLE_NS;
    at = (struct timespec){.tv_sec = (time_t)(until / NS_PER_SEC),
                           .tv_nsec = (long)(until % NS_PER_SEC)};
    while (l->tellers > 0 && pthread_cond_clockwait(&l->told, &l->mutex, CLOCK_MONOTONIC, &at) == 0)
        continue;
}

void loss_wait(struct dflock *l)
{
    while (l->tellers > 0)
        pthread_cond_wait(&l->told, &l->mutex);
}
