/*
 * worker/queues.c - connections that wait for their turn: see enum queue in worker.h. Each is a ring
 * that has room for every slot, once.
 */
#include "worker/worker.h"

#include <errno.h>
#include <stdlib.h>

int queues_init(struct queues *q, uint32_t slots)
{
    q->slots = slots;
    for (unsigned i = 0; i < QUEUES; i++) {
        q->queue[i].slot = malloc(slots * sizeof(uint32_t));
        if (!q->queue[i].slot)
            return -ENOMEM;
    }
    return 0;
}

void queues_put(struct worker *w, enum queue which, uint32_t slot)
{
    struct queue_ring *q = &w->queues.queue[which];

    if (queues_has(w, which, slot))
        return;
    w->peers[slot].queued |= (uint8_t)(1u << which);
    q->slot[(q->head + q->n++) % w->queues.slots] = slot;
}

uint32_t queues_take(struct worker *w, enum queue which)
{
    struct queue_ring *q = &w->queues.queue[which];
    uint32_t slot;

    if (q->n == 0)
        return 0;
    slot = q->slot[q->head];
    q->head = (q->head + 1) % w->queues.slots;
    q->n--;
    q->taken++;
    w->peers[slot].queued &= (uint8_t)~(1u << which);
    return slot;
}
