/*
 * serving/op.c - see op.h. Runs in lock workers and in the HTTP worker.
 */
#include "serving/op.h"

#include "base/clock.h"
#include "base/point.h"
#include "core/journal.h"
#include "core/leases.h"
#include "serving/silence.h"
#include "shm/caps.h"

#include <sched.h>

enum {
    EXPIRE_BEFORE = 64, /* overdue leases of a shard ended before a request is served */
    ROOM_TRIES = 100,   /* each gives the processor away once */
};

void op_end_overdue(struct shared *sh, struct tx *tx, const struct table_key *key)
{
    uint64_t due = table_next_due(tx->t, tx->shard);

    /* The wheel rounds up to its tick, the key's own holder is looked at to the nanosecond. */
    if (due > tx->now + (UINT64_C(1) << WHEEL_TICK_SHIFT))
        return;
    silence_notice(sh, tx->now);
    for (unsigned i = 0; i < EXPIRE_BEFORE && due <= tx->now && table_expire(tx); i++) {
        shared_step(tx);
        due = table_next_due(tx->t, tx->shard);
    }
    for (unsigned i = 0; i < EXPIRE_BEFORE && table_expire_key(tx, key); i++)
        shared_step(tx);
}

/* Whether a unit of max-locks is in another worker's hand: collected there and not yet given back,
   or taken for a key that turned out to exist. */
static bool unit_on_its_way(struct region *r)
{
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        if (__atomic_load_n(&region_worker(r, i)->units.reserved, __ATOMIC_SEQ_CST))
            return true;
    return caps_free(r) > 0; /* looked at last: that is where the others' units go */
}

/* The cap is exact both ways: units that are only changing hands are waited for. */
static bool make_room(struct shared *sh, uint64_t *now)
{
    for (unsigned i = 0; i < ROOM_TRIES; i++) {
        /* Others may have released, and so made idle, after this turn's time was read. */
        *now = clock_boottime_ns();
        if (shared_make_room(sh, *now))
            return true;
        if (!unit_on_its_way(sh->r))
            return false;
        SYS(ROOM_YIELD, sched_yield());
    }
    return false;
}

enum verdict op_acquire(struct shared *sh, struct tx *tx, const struct acquire_args *args,
                        struct grant *g, bool *locked, uint64_t *now)
{
    enum verdict v = table_acquire(tx, args, g);

    *locked = true;
    if (v == VERDICT_NEED_UNIT && caps_take(sh->r, sh->worker))
        v = table_acquire(tx, args, g);
    if (v != VERDICT_NEED_UNIT)
        return v;
    shared_end(sh, tx);
    *locked = false;
    if (!make_room(sh, now))
        return VERDICT_MAX_LOCKS;
    if (!shared_begin(sh, tx, tx->shard, *now))
        return VERDICT_NOT_HELD;
    *locked = true;
    return table_acquire(tx, args, g);
}

void op_block(struct tx *tx, struct conn *c, uint32_t node, uint64_t now, int64_t timeout_s)
{
    SET(tx, c->blocked, node);
    SET(tx, c->blocked_shard, tx->shard);
    SET(tx, c->blocked_since, now);
    SET(tx, c->blocked_until, leases_add(now, (uint64_t)timeout_s * NS_PER_SEC));
    SET(tx, c->phase, PHASE_BLOCKED);
}

bool op_still_blocked(const struct shared *sh, uint32_t slot)
{
    const struct table *t = &sh->table;
    const struct conn *c = conns_slot(sh->r, slot);
    const struct node *n = table_node(t, c->blocked);

    return n->state != NODE_FREE && (n->flags & NODE_BLOCKED) && n->owner == slot &&
           n->conn_id == c->id &&
           t->chunk_owner[(c->blocked - 1) / CHUNK_NODES] == c->blocked_shard + 1;
}

void op_unblocked(const struct shared *sh, struct journal *j, struct conn *c)
{
    JOURNAL_SET(j, region_base(sh->r), c->blocked, 0);
    JOURNAL_SET(j, region_base(sh->r), c->phase, PHASE_READY);
}

void op_count(struct counters *n, enum verdict v)
{
    switch (v) {
    case VERDICT_TIMEOUT:
        tally_add(&n->timeouts, 1);
        break;
    case VERDICT_MAX_LOCKS:
        tally_add(&n->rejected[LIMIT_LOCKS], 1);
        break;
    case VERDICT_MAX_WAITERS:
    case VERDICT_NO_NODES:
        tally_add(&n->rejected[LIMIT_WAITERS], 1);
        break;
    default:
        break;
    }
}
