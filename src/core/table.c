/*
 * core/table.c - the operations. The shard's mutex is held; see table.h for the contract.
 *
 * How a node lives (docs/internals/table.md has the picture):
 *   FREE → WAITING → HELD → FREE          by queue, grant, release
 *   FREE → HELD → FREE                    granted at once
 *   HELD → LAPSED → FREE                  the lease ended before its owner could hear of the grant
 *   HELD → SPARE → HELD or FREE           kept for the lock's next holder (spare.h)
 * Only end_hold() takes a slot from its holder and only hold() gives one, and pump() follows each
 * end_hold() in the same transaction: so a free slot never stays beside a waiter (I2). Unless nothing
 * may be promised (promise.h): then the shard is marked, and table_expire() grants when it may.
 */
#include "core/table.h"

#include "core/holder.h"
#include "core/journal.h"
#include "core/keymap.h"
#include "core/leases.h"
#include "core/owners.h"
#include "core/pool.h"
#include "core/promise.h"
#include "core/queue.h"
#include "core/repair.h"
#include "core/spare.h"

enum { EXPIRE_LOOK = 64, STARVED_LOOK = 64, EXTEND_STEP = 8 };

void table_attach(struct table *t, void *base, const struct geometry *geo)
{
    t->base = base;
    t->geo = geo;
    t->owners = (struct owner *)(t->base + geo->owners);
    t->next_due = (uint64_t *)(t->base + geo->next_due);
    t->chunk_owner = (uint32_t *)(t->base + geo->chunk_owner);
    t->chunks = t->base + geo->chunks;
}

void table_format(struct table *t)
{
    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *s = table_shard(t, i);

        s->ticket_next = 1;
        s->idle_oldest = TIME_NEVER;
        t->next_due[i] = TIME_NEVER;
    }
}

void tx_begin(struct tx *tx, struct table *t, uint32_t shard, uint64_t now)
{
    tx->t = t;
    tx->s = table_shard(t, shard);
    tx->shard = shard;
    tx->now = now;
    tx->tell = 0;
    tx->ngrants = 0;
    tx->fence = 0;
    tx->expired = 0;
    tx->tally = NULL;
    tx->promised = 0;
}

void tx_commit(struct tx *tx)
{
    journal_commit(&tx->s->journal);
    if (tx->s->moving)
        pool_settle(tx->t, tx->shard);
}

void tx_abort(struct tx *tx)
{
    repair_rollback(tx->t, tx->shard);
}

bool table_owns_any(const struct table *t, uint32_t owner)
{
    const struct owner *o = &t->owners[owner];
    uint32_t any = 0;

    for (unsigned i = 0; i < SHARD_COUNT; i++)
        any |= __atomic_load_n(&o->held[i], __ATOMIC_RELAXED);
    if (any == 0)
        return false;
    /* What lies in a shard that is beyond repair is nobody's any more. */
    for (unsigned i = 0; i < SHARD_COUNT; i++)
        if (__atomic_load_n(&o->held[i], __ATOMIC_RELAXED) && !table_lost(t, i))
            return true;
    return false;
}

/* A grant: at once (`since` is the time of the transaction), or after a wait since then. */
static void count_grant(struct tx *tx, const struct resource *r, bool queued, uint64_t since)
{
    tx->ngrants++;
    if (!tx->tally)
        return;
    if (queued) {
        tally_add(&tx->tally->queued[table_count_of(r)], 1);
        tally_time(&tx->tally->wait, since, tx->now);
    } else {
        tally_add(&tx->tally->fast[table_count_of(r)], 1);
    }
}

static void count_expired(struct tx *tx)
{
    tx->expired++;
    if (tx->tally)
        tally_add(&tx->tally->expired, 1);
}

/* Makes a node that is in no list, or was a spare, a holder. */
static void hold(struct tx *tx, uint32_t res, uint32_t node, uint64_t fence)
{
    struct node *n = table_node(tx->t, node);

    SET(tx, n->state, NODE_HELD);
    SET(tx, n->order, fence);
    SET(tx, n->salt, tx->salt(tx->salt_arg));
    SET(tx, n->since, tx->now);
    SET(tx, n->end, leases_add(tx->now, n->lease));
    if (n->extended)
        SET(tx, n->extended, 0);
    holder_push(tx, table_resource(tx->t, tx->shard, res), node);
    leases_insert(tx, node);
}

/* A slot stays free beside a waiter: table_expire() will look. */
static void starve(struct tx *tx)
{
    SET(tx, tx->s->starved, 1);
    leases_look_again(tx);
}

/* Grants a free slot to the first waiter. False: nothing may be promised to it now. */
static bool grant_first(struct tx *tx, uint32_t res)
{
    struct resource *r = table_resource(tx->t, tx->shard, res);
    uint32_t node = r->q_head;
    struct node *n = table_node(tx->t, node);
    uint64_t fence;

    if (!promise_begun(tx) || !promise_lease(tx, n->lease) || !promise_fence(tx, &fence))
        return false;
    queue_remove(tx, r, node);
    count_grant(tx, r, true, n->since);
    SET(tx, n->flags, n->flags | NODE_UNTOLD);
    hold(tx, res, node, fence);
    if (n->flags & NODE_BLOCKED)
        owners_tell(tx, node);
    return true;
}

/* One slot at most is free after one end_hold(). */
static void pump(struct tx *tx, uint32_t res)
{
    const struct resource *r = table_resource(tx->t, tx->shard, res);

    if (r->nholders < r->limit && r->q_head && !grant_first(tx, res))
        starve(tx);
}

/*
 * One step of a walk over the resources, once something may be promised again: at most one grant.
 * False: it goes no further now.
 */
static bool feed_starved(struct tx *tx)
{
    uint32_t i = tx->s->starved;

    for (unsigned looked = 0; i <= tx->s->res_bump && looked < STARVED_LOOK; looked++, i++) {
        const struct resource *r = table_resource(tx->t, tx->shard, i);

        if (r->state == RES_LIVE && r->q_head && r->nholders < r->limit) {
            SET(tx, tx->s->starved, i); /* it may have more free slots */
            return grant_first(tx, i);
        }
    }
    SET(tx, tx->s->starved, i > tx->s->res_bump ? 0 : i);
    return true;
}

/* Takes a holder out of holder list and token index. */
static void end_hold(struct tx *tx, uint32_t node)
{
    struct node *n = table_node(tx->t, node);

    holder_remove(tx, table_resource(tx->t, tx->shard, n->res), node);
    if (tx->tally)
        tally_time(&tx->tally->hold, n->since, tx->now);
}

/* Its owner has nothing to do with it any more. */
static void disown(struct tx *tx, uint32_t node)
{
    owners_told(tx, node);
    owners_pair_remove(tx, node);
    owners_unlink(tx, node);
}

/* Frees a node that is in neither queue nor holder list nor wheel. */
static void forget(struct tx *tx, uint32_t node)
{
    disown(tx, node);
    pool_free(tx, node);
}

static void forget_lapsed(struct tx *tx, uint32_t node)
{
    uint32_t res = table_node(tx->t, node)->res;

    owners_count_lapsed(tx, node, -1);
    forget(tx, node);
    keymap_settle(tx, res);
}

/* A holder loses its slot, because its lease ended or it was evicted. Who could not know yet that
   it was granted is told so later: the node stays, lapsed. */
static void take_away(struct tx *tx, uint32_t node)
{
    struct node *n = table_node(tx->t, node);
    uint32_t res = n->res;

    end_hold(tx, node);
    leases_remove(tx, node);
    if (n->flags & (NODE_TELL | NODE_TWO_PHASE)) {
        SET(tx, n->state, NODE_LAPSED);
        SET(tx, n->since, tx->now);
        owners_count_lapsed(tx, node, 1);
    } else {
        forget(tx, node);
    }
    pump(tx, res);
    keymap_settle(tx, res);
}

/* A holder gives its slot back. */
static void give_back(struct tx *tx, uint32_t node)
{
    uint32_t res = table_node(tx->t, node)->res;

    end_hold(tx, node);
    if (spare_wanted(table_resource(tx->t, tx->shard, res))) {
        disown(tx, node);
        spare_keep(tx, res, node);
    } else {
        leases_remove(tx, node);
        forget(tx, node);
    }
    pump(tx, res);
    keymap_settle(tx, res);
}

static void leave_queue(struct tx *tx, uint32_t node)
{
    uint32_t res = table_node(tx->t, node)->res;

    queue_remove(tx, table_resource(tx->t, tx->shard, res), node);
    forget(tx, node);
    keymap_settle(tx, res);
}

static void fill_grant(const struct node *n, uint32_t node, struct grant *out)
{
    out->node = node;
    out->fence = n->order;
    out->salt = n->salt;
    out->lease = n->lease;
}

/* The client hears of its grant now: the lease starts anew. */
static void settle_grant(struct tx *tx, uint32_t node, struct grant *out)
{
    struct node *n = table_node(tx->t, node);

    owners_told(tx, node);
    owners_pair_remove(tx, node);
    SET(tx, n->flags, n->flags & ~(NODE_BLOCKED | NODE_UNTOLD));
    leases_begin(tx, node, leases_add(tx->now, n->lease));
    fill_grant(n, node, out);
}

/* A node gets who asks for it. */
static void prepare(struct tx *tx, const struct acquire_args *args, uint32_t node)
{
    struct node *n = table_node(tx->t, node);

    if (n->flags)
        SET(tx, n->flags, 0);
    if (n->lease != args->lease)
        SET(tx, n->lease, args->lease);
    owners_link(tx, args->owner, node);
    if (args->two_phase)
        owners_pair_insert(tx, node);
}

static uint32_t new_node(struct tx *tx, const struct acquire_args *args, uint32_t res)
{
    uint32_t node = pool_alloc(tx);
    struct node *n;

    if (!node)
        return 0;
    n = table_node(tx->t, node);
    SET(tx, n->res, res);
    SET(tx, n->tw_slot, 0);
    prepare(tx, args, node);
    return node;
}

static uint32_t new_holder(struct tx *tx, const struct acquire_args *args, uint32_t res)
{
    uint32_t node = spare_take(tx, res);

    if (!node)
        return new_node(tx, args, res);
    prepare(tx, args, node);
    return node;
}

/* A free slot. QUEUED: it is to be waited for all the same. */
static enum verdict hold_new(struct tx *tx, const struct acquire_args *args, uint32_t res,
                             struct grant *out)
{
    uint64_t fence;
    uint32_t node;

    if (!promise_begun(tx))
        return VERDICT_QUEUED;
    if (!promise_lease(tx, args->lease) || !promise_fence(tx, &fence))
        return args->patient ? VERDICT_QUEUED : VERDICT_NO_FENCE;
    node = new_holder(tx, args, res);
    if (!node)
        return VERDICT_NO_NODES;
    hold(tx, res, node, fence);
    count_grant(tx, table_resource(tx->t, tx->shard, res), false, tx->now);
    keymap_settle(tx, res);
    fill_grant(table_node(tx->t, node), node, out);
    return VERDICT_OK;
}

static enum verdict queue_new(struct tx *tx, const struct acquire_args *args, uint32_t res,
                              struct grant *out)
{
    struct resource *r = table_resource(tx->t, tx->shard, res);
    uint32_t node = new_node(tx, args, res);
    struct node *n;

    if (!node)
        return VERDICT_NO_NODES;
    n = table_node(tx->t, node);
    SET(tx, n->state, NODE_WAITING);
    SET(tx, n->order, tx->s->ticket_next);
    SET(tx, tx->s->ticket_next, tx->s->ticket_next + 1);
    SET(tx, n->since, tx->now);
    if (!args->two_phase)
        SET(tx, n->flags, n->flags | NODE_BLOCKED);
    queue_push(tx, r, node);
    out->node = node;
    return VERDICT_QUEUED;
}

static enum verdict hold_or_queue(struct tx *tx, const struct acquire_args *args, uint32_t res,
                                  struct grant *out)
{
    const struct resource *r = table_resource(tx->t, tx->shard, res);
    bool vacant = r->nholders < r->limit && !r->q_head;
    enum verdict verdict = vacant ? hold_new(tx, args, res, out) : VERDICT_QUEUED;

    if (verdict != VERDICT_QUEUED)
        return verdict;
    if (args->max_waiters && r->nwaiters >= args->max_waiters)
        return VERDICT_MAX_WAITERS;
    if (args->try_only)
        return VERDICT_TIMEOUT;
    verdict = queue_new(tx, args, res, out);
    if (vacant && verdict == VERDICT_QUEUED) {
        keymap_settle(tx, res);
        starve(tx);
    }
    return verdict;
}

static enum verdict acquire_new_key(struct tx *tx, const struct acquire_args *args,
                                    struct grant *out)
{
    enum verdict verdict;
    uint32_t res;

    if (!tx->reserved || *tx->reserved == 0)
        return VERDICT_NEED_UNIT;
    res = keymap_create(tx, &args->key, args->limit);
    if (!res)
        return VERDICT_MAX_LOCKS;
    verdict = hold_or_queue(tx, args, res, out);
    if (verdict != VERDICT_OK && verdict != VERDICT_QUEUED)
        tx_abort(tx); /* a resource without anything on it must not stay */
    return verdict;
}

enum verdict table_acquire(struct tx *tx, const struct acquire_args *args, struct grant *out)
{
    uint32_t res = table_find(tx, &args->key);
    struct resource *r;

    out->node = 0;
    if (!res)
        return acquire_new_key(tx, args, out);
    r = table_resource(tx->t, tx->shard, res);
    if (args->two_phase) {
        uint32_t mine = owners_pair_find(tx, args->owner, res);

        if (mine) {
            if (table_node(tx->t, mine)->state != NODE_LAPSED)
                return VERDICT_ALREADY_ENQUEUED;
            if (r->limit == args->limit)
                forget_lapsed(tx, mine);
        }
    }
    if (r->limit != args->limit)
        return VERDICT_LIMIT_MISMATCH;
    return hold_or_queue(tx, args, res, out);
}

bool table_expire_key(struct tx *tx, const struct table_key *key)
{
    uint32_t res = table_find(tx, key);
    uint32_t i;

    if (!res)
        return false;
    i = table_resource(tx->t, tx->shard, res)->holders;
    for (unsigned looked = 0; i && looked < EXPIRE_LOOK; looked++) {
        if (leases_ended(tx, table_node(tx->t, i))) {
            take_away(tx, i);
            count_expired(tx);
            return true;
        }
        i = table_node(tx->t, i)->next;
    }
    return false;
}

enum verdict table_wait(struct tx *tx, const struct table_key *key, uint32_t owner, bool block,
                        struct grant *out)
{
    uint32_t res = table_find(tx, key);
    uint32_t node = res ? owners_pair_find(tx, owner, res) : 0;
    struct node *n;

    out->node = 0;
    if (!node)
        return VERDICT_NOT_ENQUEUED;
    n = table_node(tx->t, node);
    switch (n->state) {
    case NODE_LAPSED:
        forget_lapsed(tx, node);
        return VERDICT_LEASE_EXPIRED;
    case NODE_HELD:
        if (leases_ended(tx, n)) {
            give_back(tx, node);
            count_expired(tx);
            return VERDICT_LEASE_EXPIRED;
        }
        if (!promise_lease(tx, n->lease))
            return VERDICT_NO_FENCE;
        settle_grant(tx, node, out);
        return VERDICT_OK;
    case NODE_WAITING:
        if (!block) {
            leave_queue(tx, node);
            return VERDICT_TIMEOUT;
        }
        SET(tx, n->flags, n->flags | NODE_BLOCKED);
        out->node = node;
        return VERDICT_QUEUED;
    default:
        __builtin_trap(); /* I4: a free node is in no index */
    }
}

/* The holder that `fence` and `salt` name, with its resource's activity refreshed; 0 = none. */
static uint32_t find_held(struct tx *tx, const struct table_key *key, uint64_t fence,
                          uint64_t salt)
{
    uint32_t res = table_find(tx, key);
    uint32_t node = res ? holder_find(tx, res, fence, salt) : 0;

    if (node)
        SET(tx, table_resource(tx->t, tx->shard, res)->last_active, tx->now);
    return node;
}

enum verdict table_release(struct tx *tx, const struct table_key *key, uint64_t fence,
                           uint64_t salt)
{
    uint32_t node = find_held(tx, key, fence, salt);

    if (!node)
        return VERDICT_NOT_HELD;
    if (table_node(tx->t, node)->flags & NODE_TELL)
        take_away(tx, node); /* its owner still waits for an answer and gets one */
    else
        give_back(tx, node);
    return VERDICT_OK;
}

enum verdict table_renew(struct tx *tx, const struct table_key *key, uint32_t owner,
                         uint64_t fence, uint64_t salt, uint64_t lease)
{
    uint32_t node = find_held(tx, key, fence, salt);
    struct node *n;

    if (!node)
        return VERDICT_NOT_HELD;
    n = table_node(tx->t, node);
    if (leases_ended(tx, n)) {
        take_away(tx, node);
        count_expired(tx);
        return VERDICT_NOT_HELD;
    }
    if (!promise_lease(tx, lease))
        return VERDICT_NO_FENCE;
    if (!(n->flags & NODE_TWO_PHASE)) /* what `w` restarts is the lease given to `e` */
        SET(tx, n->lease, lease);
    leases_begin(tx, node, leases_add(tx->now, lease));
    if (n->flags & NODE_KEPT) {
        SET(tx, n->flags, n->flags & ~NODE_KEPT);
        owners_link(tx, owner, node);
    }
    return VERDICT_OK;
}

enum verdict table_evict(struct tx *tx, const struct table_key *key, uint64_t fence)
{
    uint32_t res = table_find(tx, key);
    uint32_t node = 0;
    uint32_t i;

    if (!res)
        return VERDICT_NOT_HELD;
    for (i = table_resource(tx->t, tx->shard, res)->holders; i; i = table_node(tx->t, i)->next) {
        const struct node *n = table_node(tx->t, i);

        if (fence ? n->order == fence : !node || n->order < table_node(tx->t, node)->order)
            node = i;
    }
    if (!node)
        return VERDICT_NOT_HELD;
    take_away(tx, node);
    return VERDICT_OK;
}

enum verdict table_deliver(struct tx *tx, uint32_t node, struct grant *out)
{
    struct node *n = table_node(tx->t, node);

    out->node = 0;
    if (n->state == NODE_LAPSED) {
        forget_lapsed(tx, node);
        return VERDICT_LEASE_EXPIRED;
    }
    if (!promise_lease(tx, n->lease))
        return VERDICT_NO_FENCE;
    settle_grant(tx, node, out);
    return VERDICT_OK;
}

enum verdict table_unblock(struct tx *tx, uint32_t node, bool deliver, struct grant *out)
{
    struct node *n = table_node(tx->t, node);

    out->node = 0;
    if (n->state == NODE_WAITING) {
        leave_queue(tx, node);
        return VERDICT_TIMEOUT;
    }
    if (deliver) {
        enum verdict verdict = table_deliver(tx, node, out);

        if (verdict != VERDICT_NO_FENCE)
            return verdict;
    }
    if (n->state == NODE_LAPSED)
        forget_lapsed(tx, node);
    else
        give_back(tx, node);
    return VERDICT_TIMEOUT;
}

void table_lose_wait(struct tx *tx, uint32_t node)
{
    struct node *n = table_node(tx->t, node);
    struct grant none;

    if (!(n->flags & NODE_TWO_PHASE)) {
        table_unblock(tx, node, false, &none);
        return;
    }
    owners_told(tx, node);
    if (n->state == NODE_LAPSED)
        owners_count_lapsed(tx, node, -1);
    SET(tx, n->flags, n->flags & ~NODE_BLOCKED);
    if (n->state == NODE_LAPSED) /* it is a tombstone of its owner now */
        owners_count_lapsed(tx, node, 1);
}

void table_move_owner(struct tx *tx, uint32_t owner, uint32_t node, uint32_t worker)
{
    bool tell = node && table_node(tx->t, node)->owner == owner &&
                (table_node(tx->t, node)->flags & NODE_TELL);

    if (tell)
        owners_told(tx, node);
    SET(tx, tx->t->owners[owner].worker, worker);
    if (tell)
        owners_tell(tx, node);
}

/* The slot stays taken, but belongs to no connection any more. */
static void detach(struct tx *tx, uint32_t node, bool kept)
{
    struct node *n = table_node(tx->t, node);

    owners_pair_remove(tx, node);
    owners_unlink(tx, node);
    SET(tx, n->flags, kept ? NODE_KEPT : 0);
}

bool table_drop_owner(struct tx *tx, uint32_t owner, bool release_held, bool kept)
{
    uint32_t node = tx->t->owners[owner].held[tx->shard];
    struct node *n;

    if (!node)
        return false;
    n = table_node(tx->t, node);
    switch (n->state) {
    case NODE_WAITING:
        leave_queue(tx, node);
        break;
    case NODE_LAPSED:
        forget_lapsed(tx, node);
        break;
    default:
        if (release_held || (n->flags & NODE_BLOCKED) || (kept && (n->flags & NODE_UNTOLD)))
            give_back(tx, node);
        else
            detach(tx, node, kept);
    }
    return true;
}

bool table_drop_tombstone(struct tx *tx, uint32_t owner, uint64_t not_after)
{
    uint32_t i = tx->t->owners[owner].held[tx->shard];

    for (; i; i = table_node(tx->t, i)->own_next) {
        const struct node *n = table_node(tx->t, i);

        if (owners_is_tombstone(n) && n->since <= not_after) {
            forget_lapsed(tx, i);
            return true;
        }
    }
    return false;
}

bool table_expire(struct tx *tx)
{
    uint32_t node = 0;

    if (tx->s->starved && promise_begun(tx) && promise_fences_left(tx) && feed_starved(tx))
        return true;
    switch (leases_step(tx, &node)) {
    case LEASES_ENDED:
        take_away(tx, node);
        count_expired(tx);
        return true;
    case LEASES_SPARE:
        spare_drop(tx, table_node(tx->t, node)->res);
        return true;
    case LEASES_MOVED:
        return true;
    default:
        return false;
    }
}

bool table_extend(struct tx *tx, uint32_t owner, uint64_t gap, uint32_t *cursor)
{
    uint32_t i = *cursor ? table_node(tx->t, *cursor)->own_next
                         : tx->t->owners[owner].held[tx->shard];

    for (unsigned n = 0; i && n < EXTEND_STEP; n++, i = table_node(tx->t, i)->own_next) {
        const struct node *held = table_node(tx->t, i);

        *cursor = i;
        if (held->state == NODE_HELD)
            leases_extend(tx, i, gap);
    }
    return i != 0;
}
