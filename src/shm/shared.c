/*
 * shm/shared.c - see shared.h. Runs in workers.
 */
#include "shm/shared.h"

#include "base/point.h"
#include "base/random.h"
#include "shm/bell.h"
#include "shm/caps.h"
#include "shm/fences.h"
#include "shm/lock.h"

#include <string.h>

static uint64_t next_salt(void *arg)
{
    struct shared *sh = arg;

    if (sh->nsalt == 0)
        __builtin_trap(); /* more than SHARED_HOLD_GRANTS: a token must not be guessable */
    return sh->salt[--sh->nsalt];
}

void shared_attach(struct shared *sh, struct region *r, uint32_t worker)
{
    memset(sh, 0, sizeof(*sh));
    sh->r = r;
    sh->worker = worker;
    sh->slot = region_worker(r, worker);
    table_attach(&sh->table, r, &r->geo);
    sh->table.fence_next = &r->fence_next;
    sh->table.fence_limit = &r->fence_limit;
    sh->table.promise_until = &r->promise_until;
    sh->table.grants_from = &r->grants_from;
    sh->table.down_since = r->down_since;
}

/* Random numbers that grants will use, fetched while no lock is held. */
static bool refill(struct shared *sh)
{
    if (sh->nsalt >= SHARED_HOLD_GRANTS)
        return true;
    if (random_bytes(&sh->salt[sh->nsalt], (SHARED_SALTS - sh->nsalt) * sizeof(sh->salt[0])) != 0)
        return false;
    sh->nsalt = SHARED_SALTS;
    return true;
}

struct table_key shared_key(const struct shared *sh, enum kind kind, const char *key, uint32_t len)
{
    return (struct table_key){.bytes = key, .len = len, .kind = kind,
                              .hash = region_key_hash(sh->r, kind, key, len)};
}

static void remember(struct shared *sh, uint32_t shard, enum lock_result result,
                     const struct check_report *found)
{
    uint64_t bit = UINT64_C(1) << shard;

    if (result == LOCK_REPAIRED)
        sh->repaired |= bit;
    if (found->invariant == 0)
        return; /* rolled back, or in quarantine since long */
    sh->found = *found;
    if (result == LOCK_REBUILT) {
        sh->rebuilt |= bit;
        return;
    }
    sh->quarantined |= bit;
    /* Who waits there must hear it. This may be the heir of a quarantine's finder, so all are told. */
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        bell_alarm(sh->r, i);
}

bool shared_begin(struct shared *sh, struct tx *tx, uint32_t shard, uint64_t now)
{
    struct check_report found;
    enum lock_result result;

    if (!refill(sh))
        return false;
    result = lock_shard(sh->r, &sh->table, shard, &found);
    if (result != LOCK_OK)
        remember(sh, shard, result, &found);
    if (result == LOCK_QUARANTINED)
        return false;
    POINT(SHARED_LOCKED);
    tx_begin(tx, &sh->table, shard, now);
    tx->reserved = &sh->slot->units.reserved;
    tx->tally = &sh->slot->counters.tally;
    tx->salt = next_salt;
    tx->salt_arg = sh;
    return true;
}

void shared_step(struct tx *tx)
{
    tx_commit(tx);
}

/* What region_mend_fences() has to go by: never lowered. */
static void witness_fence(struct shared *sh, uint64_t fence)
{
    if (fence >= sh->slot->fence_seen)
        __atomic_store_n(&sh->slot->fence_seen, fence + 1, __ATOMIC_RELAXED);
}

void shared_end(struct shared *sh, struct tx *tx)
{
    uint64_t tell = tx->tell;

    POINT(SHARED_COMMIT);
    tx_commit(tx);
    if (tx->fence)
        witness_fence(sh, tx->fence);
    POINT(SHARED_COMMITTED);
    lock_release(sh->r, tx->shard);
    POINT(SHARED_UNLOCKED);
    if (tx->promised)
        fences_ask(sh->r, tx->promised);
    while (tell) {
        POINT(SHARED_TELL);
        bell_tell(sh->r, (uint32_t)__builtin_ctzll(tell), tx->shard);
        tell &= tell - 1;
    }
}

static bool collect_longest_idle(struct shared *sh, uint64_t now)
{
    uint64_t oldest = TIME_NEVER;
    uint32_t shard = SHARD_COUNT;
    struct tx tx;

    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        const struct shard *s = table_shard(&sh->table, i);
        uint64_t t = __atomic_load_n(&s->idle_oldest, __ATOMIC_RELAXED);

        /* What a shard beyond repair says would keep all others from being looked at. */
        if (t < oldest && !table_lost(&sh->table, i)) {
            oldest = t;
            shard = i;
        }
    }
    if (shard == SHARD_COUNT)
        return false;
    if (!shared_begin(sh, &tx, shard, now))
        return true; /* quarantined just now: look on */
    /* However short a time it has been idle, by another process's clock perhaps a little later than
       ours. If somebody was faster, the caller looks again. */
    table_collect(&tx, TIME_NEVER - 1);
    shared_end(sh, &tx);
    return true;
}

bool shared_make_room(struct shared *sh, uint64_t now)
{
    if (sh->slot->units.reserved > 0)
        return true;
    for (unsigned tries = 0; tries < 1000; tries++) {
        if (caps_take(sh->r, sh->worker))
            return true;
        if (!collect_longest_idle(sh, now))
            return false;
        if (caps_exceeded(sh->r))
            shared_return_units(sh); /* the cap was lowered: one for one would keep it exceeded */
        else if (sh->slot->units.reserved > 0)
            return true;
    }
    return false;
}

void shared_return_units(struct shared *sh)
{
    while (sh->slot->units.reserved > 0)
        caps_give(sh->r, sh->worker);
}

void shared_recover(struct shared *sh)
{
    struct tx tx;

    /* It names connections and the worker's own slot, never the table. */
    journal_rollback(&sh->slot->journal, region_base(sh->r), sh->r->workers, sh->r->iobuf_owner);
    /* A transaction that the dead worker left open names its units and its connections: all must
       be rolled back before either is looked at. */
    for (uint32_t i = 0; i < SHARD_COUNT; i++)
        if (shared_begin(sh, &tx, i, 0))
            shared_end(sh, &tx);
    caps_recover(sh->r, sh->worker);
    shared_return_units(sh);
}
