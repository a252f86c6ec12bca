/*
 * core/owners.h - what hangs on the owner of a node: its list in this shard, the pair index
 * (owner, resource) → two-phase node, and the pending list of its worker.
 */
#ifndef CORE_OWNERS_H
#define CORE_OWNERS_H

#include "core/table.h"

/* Who serves the owner. It changes without the mutex when its connection changes hands and nobody may
   grant it anything. */
static inline uint32_t owners_worker(const struct table *t, uint32_t owner)
{
    return __atomic_load_n(&t->owners[owner].worker, __ATOMIC_RELAXED);
}

void owners_link(struct tx *tx, uint32_t owner, uint32_t node);
void owners_unlink(struct tx *tx, uint32_t node);

void owners_pair_insert(struct tx *tx, uint32_t node);
void owners_pair_remove(struct tx *tx, uint32_t node);
uint32_t owners_pair_find(const struct tx *tx, uint32_t owner, uint32_t res);
uint32_t *owners_pair_bucket(const struct table *t, uint32_t shard, uint64_t conn_id,
                             uint32_t res);

/* Sets or clears NODE_TELL together with the pending list. */
void owners_tell(struct tx *tx, uint32_t node);
void owners_told(struct tx *tx, uint32_t node);

/* A lapsed grant of `e` whose `w` may still come: its connection keeps TOMBSTONE_MAX of them. */
static inline bool owners_is_tombstone(const struct node *n)
{
    return n->state == NODE_LAPSED && (n->flags & NODE_TWO_PHASE) && !(n->flags & NODE_BLOCKED);
}

/* Counts a lapsed node that begins (1) or ends (-1) to be one, with its resource and its owner. */
void owners_count_lapsed(struct tx *tx, uint32_t node, int by);

#endif
