/*
 * shm/lock.h - the one function that locks a shard, and the only place that knows EOWNERDEAD.
 *
 * Robust, process-shared, error-checking mutexes; a process holds at most one. Two traps, both
 * reproduced in docs/internals/wakeups.md:
 *   - a plain lock can sleep for ever on a free robust mutex after a kill, so the lock here sleeps
 *     at most 100 ms at a time, and lock_sweep() wakes everybody after a death;
 *   - EOWNERDEAD comes before the dead process is gone: repair the shard, touch nothing else.
 */
#ifndef SHM_LOCK_H
#define SHM_LOCK_H

#include "shm/region.h"

int lock_init(pthread_mutex_t *m); /* 0 or a negative error */

enum lock_result {
    LOCK_OK = 0,
    LOCK_REPAIRED,    /* the last owner died: rolled back (or rebuilt) and valid again */
    LOCK_QUARANTINED, /* not locked: this shard is beyond repair */
};

/* Locks shard `i`, repairing it first if its owner died. */
enum lock_result lock_shard(struct region *r, struct table *t, uint32_t i);
void lock_release(struct region *r, uint32_t i);

/*
 * After `pid` was reaped, by the master: does the kernel's work on words that still name the dead
 * (its robust list may have been scribbled over), and wakes all sleepers, one of whom may have
 * been robbed of its wake-up. Returns the number of words that named the dead.
 */
unsigned lock_sweep(struct region *r, uint32_t pid);

#endif
