/*
 * core/holder.h - who holds a resource, and finding a holder by its token.
 */
#ifndef CORE_HOLDER_H
#define CORE_HOLDER_H

#include "core/table.h"

/* Puts a node that is in no list among the holders (and a semaphore's in the token index). */
void holder_push(struct tx *tx, struct resource *r, uint32_t node);
void holder_remove(struct tx *tx, struct resource *r, uint32_t node);

/* The holder with this token, 0 = none. O(1): a lock has one holder, a semaphore an index. */
uint32_t holder_find(const struct tx *tx, uint32_t res, uint64_t fence, uint64_t salt);

uint32_t *holder_token_bucket(const struct table *t, uint32_t shard, uint64_t fence);

#endif
