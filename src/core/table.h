/*
 * core/table.h - the lock table: acquire, enqueue, wait, renew, release, expire, cancel, drop.
 *
 * A pure library on a block of memory: no system call, no clock, no log, no malloc, no mutex (a
 * test looks at its undefined symbols). The caller holds the shard's mutex from tx_begin() to
 * tx_commit(); shm/shared.h wraps that. Each function below is one bounded transaction: it logs
 * every store, and the caller commits it, together with whatever it adds itself (the request
 * consumed, the reply written).
 *
 * Errors of three kinds are never mixed: an outcome (enum verdict) is a legal answer, also
 * when it says no; a broken invariant met on the way is a bug and traps.
 */
#ifndef CORE_TABLE_H
#define CORE_TABLE_H

#include "core/layout.h"
#include "core/tally.h"

#include <stdbool.h>

/* A table as one process sees it: where things are. Private memory, filled by table_attach(). */
struct table {
    char *base;
    const struct geometry *geo;
    struct owner *owners;
    uint64_t *next_due;    /* by shard: see layout.h */
    uint32_t *chunk_owner; /* atomic; shard + 1, 0 = in the pool */
    char *chunks;
    uint64_t *fence_next;  /* atomic, shared by all shards */
    uint64_t *fence_limit; /* fences below it may be used */
    const uint64_t *promise_until; /* no lease may be promised beyond, BOOTTIME ns; NULL = any may */
    const uint64_t *grants_from;   /* nothing is granted before, BOOTTIME ns; NULL = at once */
    const uint64_t *down_since; /* per worker: BOOTTIME ns since when it does not answer, 0 = it
                                   does; atomic, may be NULL */
};

/* A transaction on one shard. Private memory. */
struct tx {
    struct table *t;
    struct shard *s;
    uint32_t shard;
    uint32_t ngrants;  /* grants made */
    uint64_t fence;    /* the last fence that it took; 0 = none */
    uint64_t now;      /* BOOTTIME ns, read once by the caller */
    uint64_t tell;     /* workers whose bell to ring after the commit */
    uint32_t *reserved; /* units of the table's cap in this worker's hand; may be NULL */
    uint64_t (*salt)(void *arg); /* 64 random bits; must not block or fail */
    void *salt_arg;
    uint32_t expired;  /* leases that ended */
    struct tally *tally; /* where this is counted, NULL = nowhere, as tx_begin() says */
    uint64_t promised; /* the latest end of a lease that was promised, or asked for in vain */
};

enum verdict {
    VERDICT_OK = 0,        /* acquired, released, renewed, settled, evicted */
    VERDICT_QUEUED,        /* enqueued, or a wait that blocks: the node says which */
    VERDICT_TIMEOUT,
    VERDICT_NOT_HELD,      /* no such key, token not held, lease ended */
    VERDICT_LIMIT_MISMATCH,
    VERDICT_NEED_UNIT,     /* a new resource needs a unit of max-locks: get one and call again */
    VERDICT_MAX_LOCKS,     /* the shard's own slots are used up */
    VERDICT_MAX_WAITERS,   /* of the resource */
    VERDICT_NO_NODES,      /* the table has no record left for a holder or waiter */
    VERDICT_NO_FENCE,      /* no fence, or no lease that long, may be promised yet */
    VERDICT_ALREADY_ENQUEUED,
    VERDICT_NOT_ENQUEUED,
    VERDICT_LEASE_EXPIRED,
};

struct table_key {
    uint64_t hash;
    const char *bytes;
    uint32_t len;
    enum kind kind;
};

struct grant {
    uint32_t node; /* of the holder or waiter; 0 when the verdict makes none */
    uint64_t fence, salt;
    uint64_t lease; /* ns */
};

struct acquire_args {
    struct table_key key;
    uint32_t owner; /* slot */
    uint32_t limit;
    uint64_t lease;       /* ns */
    uint32_t max_waiters; /* of this resource, 0 = no bound */
    bool try_only;        /* acquire: timeout 0; never queues */
    bool two_phase;       /* enqueue */
    bool patient;         /* acquire: queues rather than hear NO_FENCE */
};

void table_attach(struct table *t, void *base, const struct geometry *geo);
void table_format(struct table *t); /* makes a zeroed block an empty table */

/* In which of a shard's counts a resource is, and in which of a tally's. */
static inline unsigned table_count_of(const struct resource *r)
{
    return r->limit > 1;
}

static inline struct shard *table_shard(const struct table *t, uint32_t shard)
{
    return (struct shard *)(t->base + t->geo->shards + (uint64_t)shard * t->geo->shard_stride);
}

static inline uint32_t table_shard_of(uint64_t hash)
{
    return (uint32_t)(hash >> 58);
}

static inline struct chunk *table_chunk(const struct table *t, uint32_t chunk)
{
    return (struct chunk *)(t->chunks + (uint64_t)chunk * sizeof(struct chunk));
}

static inline struct node *table_node(const struct table *t, uint32_t node)
{
    uint32_t i = node - 1;
    return &table_chunk(t, i / CHUNK_NODES)->node[i % CHUNK_NODES];
}

static inline struct resource *table_resource(const struct table *t, uint32_t shard, uint32_t res)
{
    return (struct resource *)(t->base + t->geo->resources) +
           (uint64_t)shard * (t->geo->res_per_shard + 1) + res;
}

/* No lease of the shard ends before this time. May be read without the mutex. */
static inline uint64_t table_next_due(const struct table *t, uint32_t shard)
{
    return __atomic_load_n(&t->next_due[shard], __ATOMIC_RELAXED);
}

/* The key's bytes, wherever they are kept; `r->key_len` of them. */
const char *table_key_bytes(const struct table *t, uint32_t shard, uint32_t res);

void tx_begin(struct tx *tx, struct table *t, uint32_t shard, uint64_t now);
void tx_commit(struct tx *tx);
void tx_abort(struct tx *tx); /* as if nothing had been done since tx_begin() or tx_commit() */

/* 0 when there is no such resource. */
uint32_t table_find(const struct tx *tx, const struct table_key *key);

/*
 * acquire (`l`, `sl`) and enqueue (`e`, `se`).
 * OK: held, `out` has the token. QUEUED: waiting, out->node is the place in the queue.
 * Others: TIMEOUT (try_only), LIMIT_MISMATCH, NEED_UNIT, MAX_LOCKS, MAX_WAITERS, NO_NODES,
 * NO_FENCE, ALREADY_ENQUEUED (two_phase); they change nothing, but an enqueue ends a tombstone.
 * Before *grants_from a free slot counts as taken.
 * The caller has ended overdue leases of this key before, by table_expire_key().
 */
enum verdict table_acquire(struct tx *tx, const struct acquire_args *args, struct grant *out);

/*
 * Ends one overdue lease of this key and passes the slot on. True when it did: commit and call
 * again until it answers false, before table_acquire(). Bounded: looks at most at 64 holders.
 */
bool table_expire_key(struct tx *tx, const struct table_key *key);

/*
 * wait (`w`, `sw`). OK: settled, `out` has the token. QUEUED: still waiting (`block` was set:
 * out->node is marked BLOCKED; else see TIMEOUT). TIMEOUT: block was false; the waiter is gone.
 * NOT_ENQUEUED, LEASE_EXPIRED; NO_FENCE changes nothing.
 */
enum verdict table_wait(struct tx *tx, const struct table_key *key, uint32_t owner, bool block,
                        struct grant *out);

/* OK or NOT_HELD. */
enum verdict table_release(struct tx *tx, const struct table_key *key, uint64_t fence,
                           uint64_t salt);

/* `lease` in ns; `owner`: who asks (takes over a KEPT slot). OK, NOT_HELD or NO_FENCE. */
enum verdict table_renew(struct tx *tx, const struct table_key *key, uint32_t owner,
                         uint64_t fence, uint64_t salt, uint64_t lease);

/* Takes the slot from the holder (fence 0: the oldest one). OK or NOT_HELD. */
enum verdict table_evict(struct tx *tx, const struct table_key *key, uint64_t fence);

/*
 * Delivery to a blocked request. `node` must be pending for the caller's worker. OK: the lease
 * restarts, `out` has the token, the node is no longer BLOCKED. LEASE_EXPIRED: the node is gone.
 * NO_FENCE: it stays pending.
 */
enum verdict table_deliver(struct tx *tx, uint32_t node, struct grant *out);

/*
 * Ends a blocked request: its time is up, or its client is gone. A waiter leaves the queue; a
 * grant that was made meanwhile is passed on. TIMEOUT always (two-phase state cleared too).
 * With `deliver` set a grant that was made in time is delivered instead: OK or LEASE_EXPIRED; but
 * one that may not be promised now is passed on.
 */
enum verdict table_unblock(struct tx *tx, uint32_t node, bool deliver, struct grant *out);

/*
 * The request that waits by `node` is gone by the server's fault, its connection is not. A place that
 * `e` made stays, as if no `w` had come: a grant to be told waits for the next one. Any other leaves
 * the queue, and a grant that was made meanwhile is passed on.
 */
void table_lose_wait(struct tx *tx, uint32_t node);

/*
 * The owner is gone: deals with one of its nodes in this shard. False when none is left.
 * release_held: slots are released and passed on; else they stay until their lease ends, and with
 * `kept` they belong to whoever renews them. Waiters and lapsed nodes go in any case; so does a
 * grant that was never told.
 */
bool table_drop_owner(struct tx *tx, uint32_t owner, bool release_held, bool kept);

/* Drops one tombstone of the owner in this shard that lapsed at `not_after` or before; true when
   it did. */
bool table_drop_tombstone(struct tx *tx, uint32_t owner, uint64_t not_after);

/*
 * One step of expiry: ends one overdue lease, or moves the wheel on, or grants a slot that stayed
 * free because nothing could be promised. False when nothing is due at tx->now. Each step is a
 * transaction of its own. To be called when table_next_due() has come.
 */
bool table_expire(struct tx *tx);

/*
 * Collects the longest idle resource of this shard if it has been idle since `before` or longer;
 * its unit is added to *tx->reserved. True when it did.
 */
bool table_collect(struct tx *tx, uint64_t before);

/*
 * The owner is another worker's from here on. `node`: by which it is blocked, in this shard, or 0;
 * what that node has to tell goes to the other worker, who is rung.
 */
void table_move_owner(struct tx *tx, uint32_t owner, uint32_t node, uint32_t worker);

/* First node on this shard's pending list of `worker`, 0 = none. */
static inline uint32_t table_pending(const struct tx *tx, uint32_t worker)
{
    return tx->s->pending[worker];
}

/* The one behind it on that list, 0 = it is the last. */
static inline uint32_t table_pending_next(const struct tx *tx, uint32_t worker, uint32_t node)
{
    uint32_t next = table_node(tx->t, node)->pend_next;

    return next == tx->s->pending[worker] ? 0 : next;
}

/* True when the shard is beyond repair; reads without a mutex. */
static inline bool table_lost(const struct table *t, uint32_t shard)
{
    return __atomic_load_n(&table_shard(t, shard)->state, __ATOMIC_RELAXED) == SHARD_QUARANTINED;
}

/* True when the owner has any node at all; reads without a mutex, for the owner's own worker. */
bool table_owns_any(const struct table *t, uint32_t owner);

/* Extends the leases of the owner's holders in this shard by `gap` ns (leases_extend()), a bounded
   number a call starting after node `*cursor` (0 first); false when done. */
bool table_extend(struct tx *tx, uint32_t owner, uint64_t gap, uint32_t *cursor);

#endif
