/*
 * serving/op.h - operations of the table as every process that serves clients runs them: what has
 * to come before and around the core's own functions.
 *
 * The caller has begun the transaction and ends it; it adds its own records to it in between.
 */
#ifndef SERVING_OP_H
#define SERVING_OP_H

#include "shm/conns.h"
#include "shm/shared.h"

/* Leases of the key's shard that have ended by tx->now are ended before a request is looked at:
   callers never wait for the sweep. Who is silent is marked first: see silence.h. */
void op_end_overdue(struct shared *sh, struct tx *tx, const struct table_key *key);

/*
 * table_acquire() with a unit of max-locks when it needs one. *locked says whether tx is still open:
 * making room may have to lock another shard. *now is read again while room is made. The caller calls
 * shared_return_units() when it has ended the transaction.
 */
enum verdict op_acquire(struct shared *sh, struct tx *tx, const struct acquire_args *args,
                        struct grant *g, bool *locked, uint64_t *now);

/* The connection's request waits: it remembers by which node it will hear, and until when. */
void op_block(struct tx *tx, struct conn *c, uint32_t node, uint64_t now, int64_t timeout_s);

/* Whether the node that a blocked connection waits by is its own still, with its shard locked: a
   rebuild may have dropped it, and another have it by now. */
bool op_still_blocked(const struct shared *sh, uint32_t slot);

/* Its request waits no longer. In the transaction of journal j. */
void op_unblocked(const struct shared *sh, struct journal *j, struct conn *c);

/* Statistics of a verdict that a client is told. */
void op_count(struct counters *n, enum verdict v);

#endif
