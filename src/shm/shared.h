/*
 * shm/shared.h - the lock table made concurrent: hash, lock, the core's operation, commit, unlock,
 * ring. What a process needs to work on the table.
 *
 *   shared_begin(sh, &tx, shard, now)      locks
 *   table_…(&tx, …)                        one operation of core/table.h
 *   JOURNAL_SET(&tx.s->journal, …)         the request consumed, the reply written
 *   shared_end(sh, &tx)                    commits, unlocks, rings the bells of who was granted
 * Between the two nothing but core/ and plain stores: no system call, malloc, log or clock.
 */
#ifndef SHM_SHARED_H
#define SHM_SHARED_H

#include "core/check.h"
#include "shm/region.h"

enum {
    SHARED_SALTS = 256,
    SHARED_HOLD_GRANTS = 136, /* grants that may be made between shared_begin() and shared_end() */
};

/* Private to a process. */
struct shared {
    struct region *r;
    struct table table;
    struct worker_slot *slot; /* its own; NULL in a process that only reads */
    uint32_t worker;
    /* Shards this process had to repair since it last logged them: */
    uint64_t repaired;
    uint64_t rebuilt;
    uint64_t quarantined;
    struct check_report found; /* what was broken in the last of `rebuilt` and `quarantined` */
    uint64_t silent; /* workers to ring: their answer is waited for, see serving/silence.h */
    uint64_t salt[SHARED_SALTS];
    unsigned nsalt;
};

void shared_attach(struct shared *sh, struct region *r, uint32_t worker);

/* The key's keyed hash; its shard is table_shard_of(hash). */
struct table_key shared_key(const struct shared *sh, enum kind kind, const char *key,
                            uint32_t len);

/* False when the shard is quarantined, or the kernel has no random numbers: answer `error`. */
bool shared_begin(struct shared *sh, struct tx *tx, uint32_t shard, uint64_t now);
/* Commits and goes on with the next transaction under the same lock. */
void shared_step(struct tx *tx);
void shared_end(struct shared *sh, struct tx *tx);

/*
 * A unit of max-locks for a resource that is about to be made; call without a lock held. When none
 * is free the longest idle resource of all is collected for it. False: none is idle either.
 */
bool shared_make_room(struct shared *sh, uint64_t now);
/* Gives back units that turned out not to be needed. */
void shared_return_units(struct shared *sh);

/* Reads and, when a worker died in one, rolls back changes that touched no shard; then settles its
   units. The heir's first steps. */
void shared_recover(struct shared *sh);

#endif
