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

enum {
    STEPS = 128, /* transactions under one lock; below SHARED_HOLD_GRANTS */
    HOLDS = 8,   /* of one shard in one turn (idle keys: of all); the rest in the next */
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
        shared_end(&w->sh, &tx);
    }
}

static bool is_idle_since(const struct worker *w, uint32_t shard, uint64_t before)
{
    return __atomic_load_n(&table_shard(&w->sh.table, shard)->idle_oldest, __ATOMIC_RELAXED) <=
           before;
}

/* Collects some of the shard's idle keys. False: there are no more, or it cannot be locked. */
static bool collect_some(struct worker *w, uint32_t shard, uint64_t before)
{
    bool more = true;
    struct tx tx;

    if (!shared_begin(&w->sh, &tx, shard, w->now))
        return false;
    for (unsigned i = 0; more && i < STEPS; i++) {
        more = table_collect(&tx, before);
        shared_step(&tx);
    }
    shared_end(&w->sh, &tx);
    shared_return_units(&w->sh);
    return more;
}

/* True when all was collected that a turn is too short for: many keys may come to rest at once. */
static bool collect(struct worker *w)
{
    uint64_t idle = seconds_to_ns(w->settings->gc_max_idle);
    uint64_t before = w->now > idle ? w->now - idle : 0;
    unsigned holds = 0;

    for (uint32_t i = 0; i < SHARD_COUNT; i++)
        while (mine(w, i) && is_idle_since(w, i, before)) {
            if (holds++ == HOLDS)
                return false;
            if (!collect_some(w, i, before))
                break;
        }
    return true;
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
    plan(w);
    if (w->now >= w->next_gc) {
        if (collect(w))
            w->next_gc = w->now + seconds_to_ns(w->settings->gc_interval);
        else
            w->expire_at = w->now; /* on with it in the next turn */
    }
}
