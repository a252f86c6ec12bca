/*
 * serving/holdings.c - see holdings.h. Runs in lock workers and in the HTTP worker.
 */
#include "serving/holdings.h"

#include "base/point.h"

#include <stdlib.h>

enum {
    DROP_HOLD = 64,     /* transactions under one lock; below SHARED_HOLD_GRANTS */
    DROP_BUDGET = 2048, /* nodes of one connection in one turn */
};

bool holdings_drop(struct shared *sh, uint32_t slot, bool release, bool kept, uint64_t now)
{
    unsigned budget = DROP_BUDGET;

    for (uint32_t shard = 0; shard < SHARD_COUNT; shard++) {
        while (__atomic_load_n(&sh->table.owners[slot].held[shard], __ATOMIC_RELAXED)) {
            struct tx tx;
            unsigned n = 0;

            if (budget == 0)
                return false;
            if (!shared_begin(sh, &tx, shard, now)) {
                if (!table_lost(&sh->table, shard))
                    return false; /* no random numbers just now */
                break; /* nothing in it can be given to anybody */
            }
            while (n < DROP_HOLD && n < budget && table_drop_owner(&tx, slot, release, kept)) {
                POINT(CONN_LEAVE);
                shared_step(&tx);
                n++;
            }
            shared_end(sh, &tx);
            budget -= n;
        }
    }
    return true;
}

void holdings_extend(struct shared *sh, uint32_t slot, uint64_t gap, uint64_t now)
{
    for (uint32_t shard = 0; shard < SHARD_COUNT; shard++) {
        uint32_t cursor = 0;
        struct tx tx;
        bool more = true;

        if (!__atomic_load_n(&sh->table.owners[slot].held[shard], __ATOMIC_RELAXED) ||
            !shared_begin(sh, &tx, shard, now))
            continue;
        while (more) {
            more = table_extend(&tx, slot, gap, &cursor);
            shared_step(&tx);
        }
        shared_end(sh, &tx);
    }
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* When each tombstone of the owner in this shard lapsed; returns how many (at most `room`). */
static uint32_t collect_times(struct shared *sh, uint32_t slot, uint32_t shard, uint64_t now,
                              uint64_t *out, uint32_t room)
{
    uint32_t n = 0;
    struct tx tx;

    if (!shared_begin(sh, &tx, shard, now))
        return 0;
    for (uint32_t i = sh->table.owners[slot].held[shard]; i && n < room;) {
        const struct node *node = table_node(&sh->table, i);

        if (node->state == NODE_LAPSED)
            out[n++] = node->since;
        i = node->own_next;
    }
    shared_end(sh, &tx);
    return n;
}

/* Drops at most `most` tombstones that lapsed at `not_after` or before; returns how many. */
static uint32_t drop_tombstones(struct shared *sh, uint32_t slot, uint64_t now, uint64_t not_after,
                                uint32_t most)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < SHARD_COUNT && n < most; i++) {
        struct tx tx;

        if (!__atomic_load_n(&sh->table.owners[slot].tombs[i], __ATOMIC_RELAXED) ||
            !shared_begin(sh, &tx, i, now))
            continue;
        while (n < most && table_drop_tombstone(&tx, slot, not_after)) {
            shared_step(&tx);
            n++;
        }
        shared_end(sh, &tx);
    }
    return n;
}

void holdings_bound_tombstones(struct shared *sh, uint32_t slot, uint16_t enqueues, uint64_t now)
{
    const struct owner *o = &sh->table.owners[slot];
    uint32_t total = 0, n = 0;
    uint64_t *times, limit;

    if (enqueues <= TOMBSTONE_MAX)
        return;
    for (uint32_t i = 0; i < SHARD_COUNT; i++)
        total += __atomic_load_n(&o->tombs[i], __ATOMIC_RELAXED);
    if (total <= TOMBSTONE_MAX)
        return;
    times = malloc(total * sizeof(*times));
    if (!times)
        return; /* next time */
    for (uint32_t i = 0; i < SHARD_COUNT; i++)
        if (__atomic_load_n(&o->tombs[i], __ATOMIC_RELAXED))
            n += collect_times(sh, slot, i, now, times + n, total - n);
    if (n > TOMBSTONE_MAX) {
        uint32_t excess = n - TOMBSTONE_MAX;

        qsort(times, n, sizeof(*times), by_value);
        limit = times[excess - 1];
        excess -= drop_tombstones(sh, slot, now, limit - 1, excess);
        drop_tombstones(sh, slot, now, limit, excess); /* several may have lapsed at one time */
    }
    free(times);
}
