/*
 * client/background.c - what held locks of blocking handles need while nobody calls: the engine's
 * thread renews them, reconnects, and begins to tell of losses. See lock.h.
 */
#include "client/lock.h"

#include "base/clock.h"

#include <stddef.h>

/* No thread for a callback: it is tried again. */
#define RETRY_NS (100 * NS_PER_MS)

static struct dflock *owner(struct watch *w)
{
    return (struct dflock *)((char *)w - offsetof(struct dflock, watch));
}

/* Connections at rest are only watched for their end. */
static void listen_on(struct dflock *l)
{
    const struct claim *c = &l->claim;
    bool resting = c->ready && c->nrequests == 0;

    engine_listen(&l->watch, claim_fd(c), c->dials, c->ready, resting ? 0 : claim_events(c));
}

int background_take(struct dflock *l)
{
    int error;

    if (l->claim.state != CLAIM_HELD)
        return 0;
    error = engine_arm(&l->watch, claim_deadline(&l->claim));
    if (error == 0)
        listen_on(l);
    return error;
}

void background_tell(struct dflock *l)
{
    loss_note(l);
    if (!loss_tell(l))
        engine_arm(&l->watch, clock_boottime_ns() + RETRY_NS);
}

void background_run(struct watch *w)
{
    struct dflock *l = owner(w);
    uint64_t now = clock_boottime_ns();

    pthread_mutex_lock(&l->mutex);
    engine_ran(w);
    if (!l->busy && !l->closed) {
        claim_step(&l->claim, now);
        background_tell(l);
        /* It is armed already, or was: nothing that could fail is needed. */
        background_take(l);
        if (l->claim.state != CLAIM_HELD)
            listen_on(l);
    }
    pthread_mutex_unlock(&l->mutex);
}
