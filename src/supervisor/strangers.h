/*
 * supervisor/strangers.h - connections that have to authenticate and have not: they fill a tenth of
 * the table at most. Who comes when there are so many waits in the kernel's queue.
 *
 * The truth is in the connections' slots, where their workers write it. Here is only who may be one,
 * the oldest first: whoever has authenticated or gone is taken off the list when it is full.
 */
#ifndef SUPERVISOR_STRANGERS_H
#define SUPERVISOR_STRANGERS_H

#include "supervisor/keeper.h"

struct stranger {
    uint64_t id;
    uint64_t asked; /* when its worker was asked to end it if it is silent; 0 = not yet */
    uint32_t slot;
};

struct strangers {
    struct stranger *list; /* as they were accepted */
    uint32_t n;
    uint32_t want; /* so many of the silent ones should be on their way out, */
    uint64_t since; /* as was said then */
    bool moved;     /* somebody was accepted since */
    bool guarded; /* there is a secret */
};

int strangers_init(struct strangers *s, const struct region *r); /* 0 or -ENOMEM */

/* Before each of the others: whether there is a secret now. All are looked for when there is anew. */
void strangers_guard(struct strangers *s, struct keeper *k, bool guarded);

/* How many there may be. */
uint32_t strangers_max(const struct keeper *k);

bool strangers_full(struct strangers *s, struct keeper *k);
void strangers_add(struct strangers *s, const struct keeper *k, uint32_t slot);

enum { STRANGERS_ROOM = 32 };

/*
 * There are too many, and somebody waits: which slots are to be ended if they are silent still, the
 * oldest first, in slot[STRANGERS_ROOM]; returns how many. One at first; when their places have been
 * taken and somebody waits still, twice as many at a time.
 */
uint32_t strangers_leave(struct strangers *s, struct keeper *k, uint64_t now, uint32_t *slot);

#endif
