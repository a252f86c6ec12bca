/*
 * worker/expire.c - time in the table: leases that end, resources that are collected.
 *
 * Shard i is looked after by worker i mod n. Leases are at least a second long and a worker never
 * sleeps longer than half a second, so nobody has to wake it when a lease begins: it reads each
 * shard's next due time, without a lock, before it sleeps. A shard that its worker neglects (dead,
 * or stopped) is looked after by whoever notices that it is overdue.
 */
#include "base/point.h"
#include "serving/silence.h"
#include "worker/worker.h"

#include <stdlib.h>

enum {
    STEPS = 128, /* transactions under one lock; below SHARED_HOLD_GRANTS */
    HOLDS = 8,   /* locks of one shard in one turn; the rest in the next */
};

#define NEGLECTED_NS UINT64_C(100000000)
#define TICK_NS UINT64_C(500000000)

/* The mark may be stale: then table_expire() finds nothing, or does it at the next look. */
static bool is_starved(const struct worker *w, uint32_t shard)
{
    return __atomic_load_n(&table_shard(&w->sh.table, shard)->starved, __ATOMIC_RELAXED) != 0;
}

static bool mine(const struct worker *w, uint32_t shard)
{
    uint32_t n = __atomic_load_n(&w->r->nworkers, __ATOMIC_RELAXED);

    return n == 0 || shard % n == w->sh.worker;
}

/* Leases that begin from now on last a second at least, so this stays right until the tick. */
static void plan(struct worker *w)
{
    w->expire_at = w->next_tick;
    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        uint64_t due = mine(w, i) ? table_next_due(&w->sh.table, i) : TIME_NEVER;

        if (due < w->expire_at && !table_lost(&w->sh.table, i))
            w->expire_at = due;
    }
}

static void expire_shard(struct worker *w, uint32_t shard)
{
    bool more = true;

    for (unsigned hold = 0; more && hold < HOLDS; hold++) {
        struct tx tx;

        if (!shared_begin(&w->sh, &tx, shard, w->began))
            return;
        for (unsigned i = 0; more && i < STEPS; i++) {
            more = table_expire(&tx);
            POINT(EXPIRE_STEP);
            shared_step(&tx);
        }
        w->sh.slot->counters.grants_queued += tx.ngrants;
        shared_end(&w->sh, &tx);
    }
}

static void collect_shard(struct worker *w, uint32_t shard)
{
    uint64_t idle = seconds_to_ns(w->settings->gc_max_idle);
    uint64_t before = w->now > idle ? w->now - idle : 0;
    bool more = true;

    while (more &&
           __atomic_load_n(&table_shard(&w->sh.table, shard)->idle_oldest, __ATOMIC_RELAXED) <=
               before) {
        struct tx tx;

        if (!shared_begin(&w->sh, &tx, shard, w->now))
            return;
        for (unsigned i = 0; more && i < STEPS; i++) {
            more = table_collect(&tx, before);
            shared_step(&tx);
        }
        shared_end(&w->sh, &tx);
        shared_return_units(&w->sh);
    }
}

void expire_starved(struct worker *w)
{
    for (uint32_t i = 0; i < SHARD_COUNT; i++)
        if (mine(w, i) && is_starved(w, i) && !table_lost(&w->sh.table, i))
            expire_shard(w, i);
}

void expire_turn(struct worker *w)
{
    bool tick = w->now >= w->next_tick;

    if (w->now < w->expire_at)
        return;
    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        uint64_t due = table_next_due(&w->sh.table, i);

        if (due > w->began || table_lost(&w->sh.table, i) || !(mine(w, i) || (tick && w->began - due > NEGLECTED_NS)))
            continue;
        silence_notice(&w->sh, w->now);
        expire_shard(w, i);
    }
    if (tick) {
        uint64_t sweep = seconds_to_ns(w->settings->lease_sweep_interval);

        w->next_tick = w->now + (sweep < TICK_NS ? sweep : TICK_NS);
    }
    if (w->now >= w->next_gc) {
        for (uint32_t i = 0; i < SHARD_COUNT; i++)
            if (mine(w, i))
                collect_shard(w, i);
        w->next_gc = w->now + seconds_to_ns(w->settings->gc_interval);
    }
    plan(w);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* When each tombstone of the owner in this shard lapsed; returns how many (at most `room`). */
static uint32_t collect_times(struct worker *w, uint32_t slot, uint32_t shard, uint64_t *out,
                              uint32_t room)
{
    uint32_t n = 0;
    struct tx tx;

    if (!shared_begin(&w->sh, &tx, shard, w->now))
        return 0;
    for (uint32_t i = w->sh.table.owners[slot].held[shard]; i && n < room;) {
        const struct node *node = table_node(&w->sh.table, i);

        if (node->state == NODE_LAPSED)
            out[n++] = node->since;
        i = node->own_next;
    }
    shared_end(&w->sh, &tx);
    return n;
}

/* Drops at most `most` tombstones that lapsed at `not_after` or before; returns how many. */
static uint32_t drop_tombstones(struct worker *w, uint32_t slot, uint64_t not_after, uint32_t most)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < SHARD_COUNT && n < most; i++) {
        struct tx tx;

        if (!__atomic_load_n(&w->sh.table.owners[slot].tombs[i], __ATOMIC_RELAXED) ||
            !shared_begin(&w->sh, &tx, i, w->now))
            continue;
        while (n < most && table_drop_tombstone(&tx, slot, not_after)) {
            shared_step(&tx);
            n++;
        }
        shared_end(&w->sh, &tx);
    }
    return n;
}

/*
 * The bound is looked after when the connection uses two-phase commands, and only once it has
 * enqueued often enough to be over it.
 */
void expire_tombstones(struct worker *w, uint32_t slot)
{
    const struct owner *o = &w->sh.table.owners[slot];
    uint32_t total = 0, n = 0;
    uint64_t *times, limit;

    if (conns_slot(w->r, slot)->enqueues <= TOMBSTONE_MAX)
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
            n += collect_times(w, slot, i, times + n, total - n);
    if (n > TOMBSTONE_MAX) {
        uint32_t excess = n - TOMBSTONE_MAX;

        qsort(times, n, sizeof(*times), by_value);
        limit = times[excess - 1];
        excess -= drop_tombstones(w, slot, limit - 1, excess);
        drop_tombstones(w, slot, limit, excess); /* several may have lapsed at one time */
    }
    free(times);
}
