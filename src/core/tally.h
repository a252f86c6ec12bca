/*
 * core/tally.h - what a process counts of its transactions: grants, waits, holds, expiries.
 *
 * Added to outside of the journal, by plain stores of one process: a transaction that a death rolls
 * back may be counted all the same, one that is committed always is.
 */
#ifndef CORE_TALLY_H
#define CORE_TALLY_H

#include "core/layout.h"

enum {
    TALLY_BOUNDS = 20,
    TALLY_BUCKETS =
        24, /* the last that are used: beyond all bounds; the rest is for later bounds */
};

/* As `stats` shows it: a semaphore of limit 1 counts as a lock. */
enum tally_kind { TALLY_LOCK, TALLY_SEM, TALLY_KINDS };

_Static_assert((int)TALLY_KINDS == (int)SHARD_KINDS, "kinds of resources");

struct tally_histogram {
    uint64_t sum; /* ns */
    uint64_t bucket[TALLY_BUCKETS];
};

struct tally {
    uint64_t fast[TALLY_KINDS];   /* granted at once */
    uint64_t queued[TALLY_KINDS]; /* granted after a wait */
    uint64_t expired;             /* leases that ended */
    struct tally_histogram wait;  /* of those that were queued, until the grant */
    struct tally_histogram hold;  /* from the grant to the end, however it came */
};

/* Upper bounds of the buckets, inclusive, ns: 1 ms … 1 h. */
extern const uint64_t tally_bound[TALLY_BOUNDS];

/* Adds to what only this process adds to, but others read meanwhile: one store, whole. */
static inline void tally_add(uint64_t *n, uint64_t by)
{
    __atomic_store_n(n, *n + by, __ATOMIC_RELAXED);
}

void tally_time(struct tally_histogram *h, uint64_t from, uint64_t to);

#endif
