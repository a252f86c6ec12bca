/*
 * client/loss.c - tells who holds a lock that he does not any more. See lock.h.
 *
 * Each callback has a thread of its own: it may block, and it may call the handle. It is called
 * once a loss, unless the lock was given back or the handle closed before it began.
 */
#include "client/lock.h"

#include "client/thread.h"

#include <stdlib.h>

struct news {
    struct dflock *lock;
    struct failure loss;
    unsigned number;
};

static void *tell(void *arg)
{
    struct news *n = arg;
    struct dflock *l = n->lock;

    pthread_mutex_lock(&l->mutex);
    if (n->number > l->losses_done) {
        pthread_mutex_unlock(&l->mutex);
        l->options->on_renew_error(l, n->loss.code, n->loss.text, l->options->on_renew_error_arg);
        pthread_mutex_lock(&l->mutex);
    }
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
    pthread_mutex_unlock(&l->mutex);
    l->options->on_renew_error(l, loss.code, loss.text, l->options->on_renew_error_arg);
    pthread_mutex_lock(&l->mutex);
}

void loss_forget(struct dflock *l)
{
    l->claim.lost_now = false;
    l->losses_begun = l->losses_done = l->losses;
}

void loss_wait(struct dflock *l)
{
    while (l->tellers > 0)
        pthread_cond_wait(&l->told, &l->mutex);
}
