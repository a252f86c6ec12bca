/*
 * worker/crowd.h - when a worker lets others run before it sleeps. Pure: no call, no clock.
 *
 * Many clients ask, and all that has come is served. The processor goes to who else wants it before
 * this worker falls asleep on it: it is often they whose next requests would wake it, one by one, and
 * a sleep and a wake-up cost as much as a request. With few clients there is little to gain, and each
 * look costs something (docs/internals/wakeups.md).
 *
 * Who gets the processor may also be somebody who computes, or a flood that never sleeps: a worker
 * that yields to those gives whole slices of time away, again and again, while clients wait. After a
 * yield that took long none follows for a while, and for longer each time it turns out to be so still.
 */
#ifndef WORKER_CROWD_H
#define WORKER_CROWD_H

#include <stdbool.h>
#include <stdint.h>

struct crowd {
    unsigned turns; /* for which many clients are taken to ask */
    uint64_t again; /* no yield before, ns */
    uint64_t pause; /* after the last yield, ns; 0 = it was short */
};

/* A turn that had so many events is over, and the worker would sleep: whether others go first. */
bool crowd_yields(struct crowd *c, int events, uint64_t now);
/* It has yielded from `before` to `now`. */
void crowd_yielded(struct crowd *c, uint64_t before, uint64_t now);

#endif
