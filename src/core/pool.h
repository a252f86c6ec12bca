/*
 * core/pool.h - nodes: taken from the shard's chunks, chunks from the common pool.
 */
#ifndef CORE_POOL_H
#define CORE_POOL_H

#include "core/table.h"

/* A node in state FREE whose fields hold rubbish, or 0 when the table has none left. */
uint32_t pool_alloc(struct tx *tx);
void pool_free(struct tx *tx, uint32_t node);

/* After a commit or a rollback: finishes what was begun with a chunk (see pool.c). */
void pool_settle(struct table *t, uint32_t shard);

/* Whether the shard has claimed the chunk. */
static inline bool pool_has(const struct table *t, uint32_t shard, uint32_t chunk)
{
    return __atomic_load_n(&t->chunk_owner[chunk], __ATOMIC_RELAXED) == shard + 1;
}

#endif
