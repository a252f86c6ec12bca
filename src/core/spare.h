/*
 * core/spare.h - the record that a released lock keeps for its next holder.
 *
 * Most locks are taken and given back again and again. A node that went back to the pool each time,
 * and out of the timer wheel and into it again, would have every request write to what all keys of
 * its shard share: the pool, and the nodes beside it in the wheel. So a lock without waiters keeps
 * its last holder's node (state NODE_SPARE, named by resource->spare), where it lies in the wheel:
 * too early for its next holder, at worst. It is dropped when the wheel comes to it, or with its
 * resource, so that a lock that is not used again keeps it no longer than its last lease.
 *
 * Semaphores do not: their next holder is seldom their last. The table has room for a holder of each
 * lock (layout_nodes()), so what is kept is never missed by a waiter.
 */
#ifndef CORE_SPARE_H
#define CORE_SPARE_H

#include "core/table.h"

/* Whether the resource would keep the node of a holder that is about to end. */
bool spare_wanted(const struct resource *r);

/* Keeps it: in no list any more but the wheel, and with no owner. */
void spare_keep(struct tx *tx, uint32_t res, uint32_t node);

/* The node that the resource kept, in the wheel, its state and flags to be set; 0 = none. */
uint32_t spare_take(struct tx *tx, uint32_t res);

/* Gives it back to the pool, if there is one. */
void spare_drop(struct tx *tx, uint32_t res);

/* Whether a node in state NODE_SPARE can be what it says: its resource names it. For what may have
   been written over. */
bool spare_possible(const struct table *t, uint32_t shard, uint32_t node);

#endif
