/*
 * shm/caps.h - the exact cap on the number of resources (--max-locks), across all shards.
 *
 * Each resource costs one unit. Units are in one of three places, and never anywhere else:
 *   region->units            free, shared by all workers
 *   worker_slot.units        in a worker's hand, between taking and using it
 *   a live resource          the core moves it from and to the hand, in the shard's journal
 * Their sum is max-locks, so the cap is exact under any concurrency without a common mutex.
 *
 * Moving a unit between the shared word and a hand must survive a kill at any instruction, and the
 * shared word cannot be journalled. So the word names the last transfer (worker, sequence number):
 * whoever replaces that name first records in that worker's slot that its transfer was seen. An
 * heir finds its predecessor's unfinished transfer either still named in the word, or recorded, or
 * it did not happen: a recoverable compare-and-swap.
 */
#ifndef SHM_CAPS_H
#define SHM_CAPS_H

#include "shm/region.h"

void caps_format(struct region *r);

/* One unit from the shared word to the worker's hand; false when none is free. */
bool caps_take(struct region *r, uint32_t worker);
/* And back. The hand has at least one. */
void caps_give(struct region *r, uint32_t worker);

/* The heir of a worker: settles an unfinished transfer. The hand may then have strays to give. */
void caps_recover(struct region *r, uint32_t worker);

/*
 * Lowers or raises the cap, up to what the region was made for; the master's. A lower cap is kept by
 * leaving so many units free; resources that are above it stay.
 */
void caps_limit(struct region *r, uint32_t max_locks);

uint32_t caps_free(const struct region *r); /* units that may be taken now */
/* More units are out than the cap allows: it was lowered. */
bool caps_exceeded(const struct region *r);

#endif
