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

#include "core/check.h"
#include "shm/region.h"

int lock_init(pthread_mutex_t *m); /* 0 or a negative error */

enum lock_result {
    LOCK_OK = 0,
    LOCK_REPAIRED,    /* the last owner died: rolled back and valid again */
    LOCK_REBUILT,     /* it was damaged, and could be made anew from its ground truth */
    LOCK_QUARANTINED, /* not locked: this shard is beyond repair */
};

/*
 * Locks shard `i`, repairing it first if its owner died, and validating it first if it is suspect.
 * `found` says what was broken when it is REBUILT, or QUARANTINED just now (else invariant 0).
 */
enum lock_result lock_shard(struct region *r, struct table *t, uint32_t i,
                            struct check_report *found);
void lock_release(struct region *r, uint32_t i);

/* Whether every key of the shard still is what its hash says; the shard's mutex is held. */
bool lock_keys_whole(const struct region *r, const struct table *t, uint32_t i,
                     struct check_report *found);

/*
 * After `pid` was reaped, by the master: does the kernel's work on words that still name the dead
 * (its robust list may have been scribbled over), and wakes all sleepers, one of whom may have
 * been robbed of its wake-up. Returns the number of words that named the dead.
 */
unsigned lock_sweep(struct region *r, uint32_t pid);

/*
 * After a crash, by the master: mutexes may have been written over. What never changes in them is
 * restored, and words that name none of the living `pids` (n of them) get what the kernel would
 * have stored for a dead owner. Returns the number of mutexes that were mended.
 */
unsigned lock_mend(struct region *r, const uint32_t *pids, unsigned n);

#endif
