/*
 * tests/core/model.h - the lock table as plain arrays and linear scans, from semantics.md.
 *
 * An observer of gen.c: after each operation it works out what had to happen and compares every
 * verdict, record, list and count with the table's. It shares no code with src/core; of the
 * table it believes only where a new record is, and which of several overdue leases went first.
 */
#ifndef TESTS_CORE_MODEL_H
#define TESTS_CORE_MODEL_H

#include "tests/core/gen.h"

enum { MODEL_RECORDS = 8192 };

struct m_record { /* a waiter, a holder or a tombstone */
    uint32_t node;
    uint32_t key;
    uint32_t owner;
    uint64_t conn_id;
    enum node_state state;
    bool two_phase, blocked, tell, kept, untold;
    uint64_t ticket, fence, salt, end, lease, since;
    uint64_t extended; /* in all, since the lease began */
    uint64_t graced; /* last time that it was overdue, but its worker was down */
    uint64_t told_at; /* place in the order of grants to be told */
};

struct m_resource {
    bool exists;
    uint32_t res;
    uint32_t limit;
    uint64_t last_active;
    uint64_t idle_at; /* place in the order of idling, 0 = it does not */
};

struct model {
    struct gen *gen;
    struct bed *bed;
    uint32_t nrecords;
    struct m_record record[MODEL_RECORDS];
    struct m_resource resource[BED_KEYS];
    uint64_t tickets[SHARD_COUNT];
    bool starved[SHARD_COUNT]; /* a slot stayed free because the fences had run out */
    uint64_t last_fence, last_salt;
    uint64_t sequence;
    uint32_t head; /* of the owner's list before an OP_DROP_OWNER */
    const struct op *op;
    uint64_t wrong; /* comparisons that failed */
    uint64_t verdicts[OP_KINDS][VERDICT_LEASE_EXPIRED + 1];
    uint64_t expired, grants, tombstones;
};

void model_make(struct model *m, struct gen *gen); /* and makes it gen's observer */

/* Compares a whole shard. */
void model_compare(struct model *m, uint32_t shard);

/* After a rebuild: takes over from the table what is not ground truth, the order in which grants
   are told and, among resources that idle since the same time, the order of idling. */
void model_adopt_orders(struct model *m);

#endif
