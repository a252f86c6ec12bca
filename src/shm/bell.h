/*
 * shm/bell.h - waking a worker that has grants to tell.
 *
 *   producer, after its commit            worker
 *     mask |= shard                         parked = 1
 *     fence                                 fence
 *     parked? bell++, FUTEX_WAKE            mask? parked = 0, drain, again
 *                                           epoll_wait (at most 500 ms); parked = 0
 *
 * Each fence is the other's partner: store, then load the other's word; one of the two sees the
 * other (both, at worst). Only the worker clears `parked`: a producer that cleared it and was
 * killed before its wake would swallow the wakes of all others. A producer killed after its commit,
 * before it could set the mask or wake, is made good by the master: after each death it tells every
 * worker to look at all shards. The truth is the node's TELL bit and the pending list; the mask is
 * a hint on where to look.
 *
 * An epoll loop cannot wait on a futex: each worker's bell thread does, and writes an eventfd.
 */
#ifndef SHM_BELL_H
#define SHM_BELL_H

#include "shm/region.h"

/* Marks that `shard` has something for the worker, and wakes it if it sleeps. */
void bell_tell(struct region *r, uint32_t worker, uint32_t shard);
/* Wakes the worker whether parked or not, for news that are not grants. */
void bell_ring(struct region *r, uint32_t worker);

/* After a death, by the master: marks all shards and wakes the worker. What the dead one granted it
   may not have told. */
void bell_alarm(struct region *r, uint32_t worker);

/* About to sleep: true when it may; false when there is something to drain (not parked then). */
bool bell_park(struct region *r, uint32_t worker);
void bell_unpark(struct region *r, uint32_t worker);
uint64_t bell_drain(struct region *r, uint32_t worker); /* the mask, taken */

/*
 * Starts the calling worker's bell thread: each ring adds 1 to the eventfd `efd`. The thread takes
 * no mutex and allocates nothing. 0 or a negative error.
 */
int bell_start_thread(struct region *r, uint32_t worker, int efd);

#endif
