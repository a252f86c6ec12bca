/*
 * shm/fences.h - how much may be promised, as words in the region: fences below `fence_limit`,
 * leases up to `promise_until`, nothing before `grants_from`. What is above would not survive the
 * end of everything: only the fence writer (supervisor/fencewriter.h) raises them, when the new
 * ones are on disk. Without a state file there are no limits and no writer.
 *
 *   worker, after its commit                 writer
 *     asks.until, asks.limit raised            seen = asks.bell
 *     asks.bell++, FUTEX_WAKE                  asks? write, publish, tell: again
 *                                              FUTEX_WAIT(asks.bell, seen)
 * It asks when half of what was reserved is used, so that hardly anybody has to wait. A ring that a
 * death swallows is made good by whoever needs more next: who must wait asks each time.
 */
#ifndef SHM_FENCES_H
#define SHM_FENCES_H

#include "shm/region.h"

/* Reserved at a time. A disk may stall for half of either before anybody waits. */
#define FENCES_RANGE (UINT64_C(1) << 26)
#define FENCES_STEP_NS UINT64_C(30000000000)

/* region->fences */
enum fences_state {
    FENCES_FREE,    /* nothing is kept on disk, there are no limits */
    FENCES_KEPT,    /* what may be promised comes from the disk, when asked for */
    FENCES_FAILING, /* the disk fails: nothing more can be promised until it does not */
};

/* Workers: after a transaction that promised something, or could not. No mutex is held. */
void fences_ask(struct region *r, uint64_t promised);

/* Workers: whether waiting helps who was answered NO_FENCE. */
bool fences_may_come(const struct region *r);

/* The writer: whether somebody needs more than these; how much more is in the new ones. */
bool fences_need(const struct region *r, uint64_t *limit, uint64_t *until);
void fences_publish(struct region *r, uint64_t limit, uint64_t until);
uint32_t fences_asked(const struct region *r);                           /* counts asks */
void fences_wait(struct region *r, uint32_t asked, uint64_t timeout_ns); /* 0: until the next ask */

/* Anybody: asks.bell, without asking for more. */
void fences_ring(struct region *r);
/* Writer and master: the words have changed, every worker looks again at what it put off. */
void fences_tell(struct region *r);

/*
 * The master, when no worker runs: when the last lease ends, 0 = none is running. False: the table
 * cannot be believed.
 */
bool fences_last_lease(struct region *r, uint64_t *end);

#endif
