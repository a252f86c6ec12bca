/*
 * serving/holdings.h - all that one connection has in the table: what it holds and waits for, in 64
 * shards, in bounded transactions. No mutex is held by the caller.
 */
#ifndef SERVING_HOLDINGS_H
#define SERVING_HOLDINGS_H

#include "shm/shared.h"

/*
 * The connection is gone: what it waits for goes, what it holds is released, or (release false) stays
 * to the end of its lease; kept: see table_drop_owner(). A bounded number of nodes a call: false, call
 * again in the next turn.
 */
bool holdings_drop(struct shared *sh, uint32_t slot, bool release, bool kept, uint64_t now);

/* What it holds ends `gap` ns later. */
void holdings_extend(struct shared *sh, uint32_t slot, uint64_t gap, uint64_t now);

/* Keeps at most TOMBSTONE_MAX lapsed grants, those that lapsed last; `enqueues`: how often it has
   enqueued, so that who did so seldom is not looked at. */
void holdings_bound_tombstones(struct shared *sh, uint32_t slot, uint16_t enqueues, uint64_t now);

#endif
