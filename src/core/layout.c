/*
 * core/layout.c - sizes and places, from the limits.
 */
#include "core/layout.h"

#include <errno.h>

enum { PAGE = 4096 };

static uint64_t page_up(uint64_t n)
{
    return (n + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

static uint32_t power_of_two(uint64_t n)
{
    uint32_t p = 16;

    while (p < n)
        p *= 2;
    return p;
}

static uint64_t square_root(uint64_t n)
{
    uint64_t r = 0;

    while ((r + 1) * (r + 1) <= n)
        r++;
    return r;
}

/* Places an array and returns where the next one starts. */
static uint64_t put(uint64_t *where, uint64_t at, uint64_t count, uint64_t size)
{
    *where = at;
    return page_up(at + count * size);
}

uint64_t layout_nodes(uint32_t max_locks, uint32_t max_owners)
{
    return (UINT64_C(1) << 20) + (uint64_t)max_locks * 2 + (uint64_t)max_owners * 4;
}

int layout_compute(const struct layout_limits *limits, uint64_t start, struct geometry *g)
{
    uint64_t share = limits->max_locks / SHARD_COUNT;
    uint64_t nodes = limits->max_nodes;
    uint64_t at = page_up(start);

    if (limits->max_locks < 1 || limits->max_locks > 1u << 26 || limits->max_owners < 1 ||
        limits->max_owners > 1u << 22)
        return -ERANGE;
    if (nodes == 0)
        nodes = layout_nodes(limits->max_locks, limits->max_owners);
    nodes += (uint64_t)SHARD_COUNT * CHUNK_NODES; /* each shard may keep one chunk half used */
    if (nodes > UINT32_MAX / 2)
        return -ERANGE;

    g->from = 0; /* who has something before the table that must not be touched sets it */
    g->max_locks = limits->max_locks;
    g->nowners = limits->max_owners;
    g->nchunks = (uint32_t)((nodes + CHUNK_NODES - 1) / CHUNK_NODES);
    g->res_per_shard = (uint32_t)(share + 16 * square_root(share) + 64);
    g->res_mask = power_of_two(g->res_per_shard) - 1;
    g->node_mask = power_of_two(nodes / 16) - 1;
    /* An odd number of cache lines: equal fields of the shards then fall into different sets of
       the cache. */
    g->shard_stride = (sizeof(struct shard) + 63) / 64 * 64;
    g->shard_stride += g->shard_stride / 64 % 2 ? 0 : 64;

    at = put(&g->shards, at, SHARD_COUNT, g->shard_stride);
    at = put(&g->next_due, at, SHARD_COUNT, sizeof(uint64_t));
    at = put(&g->owners, at, (uint64_t)g->nowners + 1, sizeof(struct owner));
    at = put(&g->chunk_owner, at, g->nchunks, sizeof(uint32_t));
    at = put(&g->chunks, at, g->nchunks, sizeof(struct chunk));
    at = put(&g->resources, at, (uint64_t)SHARD_COUNT * (g->res_per_shard + 1),
             sizeof(struct resource));
    at = put(&g->long_keys, at, (uint64_t)SHARD_COUNT * (g->res_per_shard + 1), KEY_MAX);
    at = put(&g->buckets, at, (uint64_t)SHARD_COUNT * (g->res_mask + 1), sizeof(uint32_t));
    at = put(&g->tok_buckets, at, (uint64_t)SHARD_COUNT * (g->node_mask + 1), sizeof(uint32_t));
    at = put(&g->pair_buckets, at, (uint64_t)SHARD_COUNT * (g->node_mask + 1), sizeof(uint32_t));
    g->size = at;
    return 0;
}
