/*
 * tests/core/model.c - see model.h.
 */
#include "tests/core/model.h"

#include "core/check.h"
#include "tests/tap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { WRONG_SHOWN = 20 };

/* `number` says which: a node, a resource, a verdict. */
static bool want(struct model *m, bool held, uint64_t number, const char *what)
{
    if (held)
        return true;
    if (m->wrong++ < WRONG_SHOWN) {
        const struct op *op = m->op;

        diag("%s: operation %" PRIu64 " (%s, shard %u, key %u, owner %u, now %" PRIu64
             "): %s (%" PRIu64 ")",
             m->gen->config->name, m->gen->ops, op ? op_name[op->kind] : "-", op ? op->shard : 0,
             op ? op->key : 0, op ? op->owner : 0, op ? op->now : 0, what, number);
    }
    return false;
}

static uint32_t shard_of(const struct model *m, uint32_t key)
{
    return table_shard_of(m->bed->key[key].key.hash);
}

static uint64_t later(uint64_t time, uint64_t ns)
{
    return time + ns < time || time + ns == UINT64_MAX ? UINT64_MAX - 1 : time + ns;
}

/* "While the worker that serves the holder's connection does not answer, the leases of that
   connection do not end: they are extended by the gap, at most 3 s." In all, for one lease. */
static uint64_t extension(const struct m_record *r, uint64_t gap)
{
    uint64_t left = 3 * SECOND - r->extended;

    return gap < left ? gap : left;
}

static bool ended(const struct model *m, const struct m_record *r, uint64_t now)
{
    uint64_t since = 0;
    uint64_t gap;

    if (r->owner)
        since = m->bed->words->down_since[m->bed->t.owners[r->owner].worker];
    if (!since || since > r->end || now <= since)
        return now >= r->end;
    gap = extension(r, now - since);
    return now >= r->end && now >= later(r->end, gap);
}

static struct m_record *record_of(struct model *m, uint32_t node)
{
    for (uint32_t i = 0; i < m->nrecords; i++)
        if (m->record[i].node == node)
            return &m->record[i];
    return NULL;
}

static uint32_t count(const struct model *m, uint32_t key, enum node_state state)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->nrecords; i++)
        n += m->record[i].key == key && m->record[i].state == state;
    return n;
}

static struct m_record *first_waiter(struct model *m, uint32_t key)
{
    struct m_record *first = NULL;

    for (uint32_t i = 0; i < m->nrecords; i++) {
        struct m_record *r = &m->record[i];

        if (r->key == key && r->state == NODE_WAITING && (!first || r->ticket < first->ticket))
            first = r;
    }
    return first;
}

static struct m_record *pair_of(struct model *m, uint32_t owner, uint32_t key)
{
    for (uint32_t i = 0; i < m->nrecords; i++) {
        struct m_record *r = &m->record[i];

        if (r->key == key && r->owner == owner && r->two_phase)
            return r;
    }
    return NULL;
}

static struct m_record *by_token(struct model *m, const struct op *op)
{
    for (uint32_t i = 0; i < m->nrecords; i++) {
        struct m_record *r = &m->record[i];

        if (r->key == op->key && r->state == NODE_HELD && r->fence == op->fence &&
            r->salt == op->salt)
            return r;
    }
    return NULL;
}

/* Transitions ------------------------------------------------------------------------------- */

/* Puts the resource among the idle ones or takes it out, as its records say. */
static void settle(struct model *m, uint32_t key, uint64_t now)
{
    struct m_resource *r = &m->resource[key];
    bool idle = true;

    for (uint32_t i = 0; i < m->nrecords && idle; i++)
        idle = m->record[i].key != key;
    if (idle && !r->idle_at) {
        r->idle_at = ++m->sequence;
        r->last_active = now;
        /* Workers' clocks differ a little; the order of idling is the order of its times. */
        for (uint32_t i = 0; i < m->bed->nkeys; i++)
            if (i != key && m->resource[i].exists && m->resource[i].idle_at &&
                shard_of(m, i) == shard_of(m, key) && m->resource[i].last_active > now)
                r->last_active = m->resource[i].last_active > r->last_active
                                     ? m->resource[i].last_active
                                     : r->last_active;
    } else if (!idle) {
        r->idle_at = 0;
    }
}

static void remove_record(struct model *m, struct m_record *r)
{
    *r = m->record[--m->nrecords];
}

static bool fences_left(const struct model *m)
{
    return m->bed->words->fence_next < m->bed->words->fence_limit;
}

/* Whether a lease of this length may be promised. */
static bool may_promise(const struct model *m, uint64_t now, uint64_t lease)
{
    return later(now, lease) <= m->bed->words->promise_until;
}

static bool begun(const struct model *m, uint64_t now)
{
    return now >= m->bed->words->grants_from;
}

/* What the table wrote about a grant is taken over here, once it is known to be right. */
static void hold(struct model *m, struct m_record *r, uint64_t now)
{
    const struct node *n = table_node(&m->bed->t, r->node);

    want(m, n->order > m->last_fence, n->order, "fences grow in the order of grants");
    want(m, n->order < m->bed->words->fence_limit, n->order, "no fence beyond the limit");
    want(m,
         m->bed->salt_next > m->last_salt &&
             n->salt == (m->bed->salt_next - 1) * UINT64_C(0x9e3779b97f4a7c15),
         r->node, "the token has fresh salt");
    m->last_fence = n->order;
    m->last_salt = m->bed->salt_next;
    r->state = NODE_HELD;
    r->fence = n->order;
    r->salt = n->salt;
    r->since = now;
    r->end = later(now, r->lease);
    r->extended = 0;
    m->grants++;
}

/* A free slot goes to the first waiter. Returns the worker's bit if one must hear of it. */
static uint64_t pass_on(struct model *m, uint32_t key, const struct outcome *out, uint64_t now,
                        bool fence_was_left)
{
    struct m_record *r = first_waiter(m, key);
    uint64_t tell = 0;

    bool may = r && fence_was_left && begun(m, now) && may_promise(m, now, r->lease);

    if (may && count(m, key, NODE_HELD) < m->resource[key].limit) {
        hold(m, r, now);
        r->untold = true;
        if (r->blocked) {
            r->tell = true;
            r->told_at = ++m->sequence;
            tell = UINT64_C(1) << m->bed->t.owners[r->owner].worker;
        }
        want(m, out->ngrants == 1, r->node, "a slot that gets free is granted");
    } else {
        want(m, out->ngrants == 0, out->ngrants, "nothing is granted");
        if (r && !may)
            m->starved[shard_of(m, key)] = true;
    }
    want(m, out->tell == tell, out->tell, "the right worker is told");
    settle(m, key, now);
    return tell;
}

/* Fences that were left before the operation; one is used at most. */
static bool had_fence(const struct model *m, const struct outcome *out)
{
    return fences_left(m) || out->ngrants;
}

static void give_back(struct model *m, struct m_record *r, const struct outcome *out, uint64_t now)
{
    uint32_t key = r->key;

    remove_record(m, r);
    pass_on(m, key, out, now, had_fence(m, out));
}

/* The lease ended: who could not know that it had a slot hears of it later. */
static void take_away(struct model *m, struct m_record *r, const struct outcome *out, uint64_t now)
{
    uint32_t key = r->key;

    if (r->tell || r->two_phase) {
        r->state = NODE_LAPSED;
        r->since = now;
        m->tombstones++;
    } else {
        remove_record(m, r);
    }
    pass_on(m, key, out, now, had_fence(m, out));
}

static void leave(struct model *m, struct m_record *r, uint64_t now)
{
    uint32_t key = r->key;

    remove_record(m, r);
    settle(m, key, now);
}

static struct m_record *new_record(struct model *m, const struct op *op, uint32_t node)
{
    struct m_record *r = &m->record[m->nrecords];

    if (m->nrecords == MODEL_RECORDS)
        bail_out("the model is full");
    want(m, !record_of(m, node), node, "a new record is not in use");
    m->nrecords++;
    *r = (struct m_record){.node = node,
                           .key = op->key,
                           .owner = op->owner,
                           .conn_id = m->bed->t.owners[op->owner].id,
                           .two_phase = op->two_phase,
                           .lease = op->lease};
    return r;
}

/* Operations: each checks its outcome, then does to the model what must have been done. ------ */

static void same_grant(struct model *m, const struct m_record *r, const struct outcome *out)
{
    want(m,
         out->grant.node == r->node && out->grant.fence == r->fence &&
             out->grant.salt == r->salt && out->grant.lease == r->lease,
         r->node, "the answer has the grant's token and lease");
}

static bool verdict(struct model *m, const struct outcome *out, enum verdict right)
{
    return want(m, out->verdict == right, out->verdict * 100 + right,
                "verdict (what it was * 100 + what is right)");
}

/* Whether a node can be had: one in the shard's chunks, or a chunk that nobody has. */
static bool node_left(const struct model *m, uint32_t shard)
{
    const struct bed *b = m->bed;

    for (uint32_t c = 0; c < b->geo.nchunks; c++)
        if (!b->t.chunk_owner[c])
            return true;
    return table_shard(&b->t, shard)->nfree > 0; /* which model_compare() counts */
}

/* Whether a free slot may be granted at once. */
static bool grantable(const struct model *m, const struct op *op, const struct outcome *out)
{
    return begun(m, op->now) && may_promise(m, op->now, op->lease) && had_fence(m, out);
}

static void granted_at_once(struct model *m, const struct op *op, const struct outcome *out)
{
    struct m_record *r = new_record(m, op, out->grant.node);

    want(m, grantable(m, op, out), r->node, "nothing is promised that may not be");
    hold(m, r, op->now);
    want(m, out->ngrants == 1 && out->tell == 0, out->ngrants, "a grant at once");
    same_grant(m, r, out);
}

static void queued(struct model *m, const struct op *op, const struct outcome *out)
{
    const struct node *n = table_node(&m->bed->t, out->grant.node);
    struct m_record *r = new_record(m, op, out->grant.node);

    want(m, n->order > m->tickets[op->shard], n->order, "tickets grow");
    m->tickets[op->shard] = r->ticket = n->order;
    r->state = NODE_WAITING;
    r->since = op->now;
    r->blocked = !op->two_phase;
}

static void queued_beside_free(struct model *m, const struct op *op, const struct outcome *out)
{
    want(m, !begun(m, op->now) || (op->patient && !grantable(m, op, out)), out->grant.node,
         "a free slot is waited for only when it must be");
    want(m, out->ngrants == 0 && out->tell == 0, out->ngrants, "nothing is granted");
    queued(m, op, out);
    m->starved[op->shard] = true;
}

static void acquire_new(struct model *m, const struct op *op, const struct outcome *out)
{
    struct m_resource *res = &m->resource[op->key];
    uint32_t in_shard = 0;

    for (uint32_t i = 0; i < m->bed->nkeys; i++)
        in_shard += m->resource[i].exists && shard_of(m, i) == op->shard;
    if (out->verdict != VERDICT_OK && out->verdict != VERDICT_QUEUED) {
        if (m->bed->words->reserved[op->worker] == 0)
            verdict(m, out, VERDICT_NEED_UNIT);
        else if (in_shard == m->bed->geo.res_per_shard)
            verdict(m, out, VERDICT_MAX_LOCKS);
        else if (op->try_only && (!begun(m, op->now) || (op->patient && !grantable(m, op, out))))
            verdict(m, out, VERDICT_TIMEOUT);
        else if (begun(m, op->now) && !op->patient && !grantable(m, op, out))
            verdict(m, out, VERDICT_NO_FENCE);
        else if (want(m, !node_left(m, op->shard), op->shard, "there is a node left"))
            verdict(m, out, VERDICT_NO_NODES);
        return;
    }
    want(m, in_shard < m->bed->geo.res_per_shard, in_shard, "the shard's resources are bounded");
    *res = (struct m_resource){.exists = true, .limit = op->limit, .last_active = op->now};
    res->res = table_node(&m->bed->t, out->grant.node)->res;
    if (out->verdict == VERDICT_QUEUED) {
        queued_beside_free(m, op, out);
        return;
    }
    granted_at_once(m, op, out);
}

static void ran_acquire(struct model *m, const struct op *op, const struct outcome *out)
{
    struct m_resource *res = &m->resource[op->key];
    struct m_record *mine = op->two_phase ? pair_of(m, op->owner, op->key) : NULL;
    uint32_t holders, waiters;

    if (!res->exists) {
        acquire_new(m, op, out);
        return;
    }
    if (mine && mine->state != NODE_LAPSED) {
        verdict(m, out, VERDICT_ALREADY_ENQUEUED);
        return;
    }
    if (res->limit != op->limit) {
        verdict(m, out, VERDICT_LIMIT_MISMATCH);
        return;
    }
    if (mine)
        leave(m, mine, op->now);
    holders = count(m, op->key, NODE_HELD);
    waiters = count(m, op->key, NODE_WAITING);
    if (holders < res->limit && waiters == 0 &&
        (grantable(m, op, out) || (begun(m, op->now) && !op->patient))) {
        if (!grantable(m, op, out)) {
            verdict(m, out, VERDICT_NO_FENCE);
        } else if (out->verdict == VERDICT_NO_NODES) {
            want(m, !node_left(m, op->shard), op->shard, "there is a node left");
        } else if (verdict(m, out, VERDICT_OK)) {
            granted_at_once(m, op, out);
            settle(m, op->key, op->now);
        }
        return;
    }
    want(m, out->ngrants == 0 && out->tell == 0, out->ngrants, "a full resource grants nothing");
    if (op->max_waiters && waiters >= op->max_waiters) {
        verdict(m, out, VERDICT_MAX_WAITERS);
    } else if (op->try_only) {
        verdict(m, out, VERDICT_TIMEOUT);
    } else if (out->verdict == VERDICT_NO_NODES) {
        want(m, !node_left(m, op->shard), op->shard, "there is a node left");
    } else if (verdict(m, out, VERDICT_QUEUED)) {
        if (holders < res->limit && waiters == 0)
            queued_beside_free(m, op, out);
        else
            queued(m, op, out);
        settle(m, op->key, op->now);
    }
}

static void ran_wait(struct model *m, const struct op *op, const struct outcome *out)
{
    struct m_record *r = m->resource[op->key].exists ? pair_of(m, op->owner, op->key) : NULL;

    if (!r) {
        verdict(m, out, VERDICT_NOT_ENQUEUED);
    } else if (r->state == NODE_LAPSED) {
        verdict(m, out, VERDICT_LEASE_EXPIRED);
        leave(m, r, op->now);
    } else if (r->state == NODE_WAITING && !op->block) {
        verdict(m, out, VERDICT_TIMEOUT);
        leave(m, r, op->now);
    } else if (r->state == NODE_WAITING) {
        verdict(m, out, VERDICT_QUEUED);
        want(m, out->grant.node == r->node, r->node, "the answer names the waiter");
        r->blocked = true;
    } else if (ended(m, r, op->now)) {
        verdict(m, out, VERDICT_LEASE_EXPIRED);
        want(m, out->expired == 1, out->expired, "an expiry is counted");
        give_back(m, r, out, op->now);
    } else if (!may_promise(m, op->now, r->lease)) {
        verdict(m, out, VERDICT_NO_FENCE);
    } else {
        verdict(m, out, VERDICT_OK);
        r->two_phase = r->untold = false;
        r->end = later(op->now, r->lease);
        r->extended = 0;
        same_grant(m, r, out);
    }
}

static void ran_release(struct model *m, const struct op *op, const struct outcome *out)
{
    struct m_record *r = by_token(m, op);

    if (!r) {
        verdict(m, out, VERDICT_NOT_HELD);
        return;
    }
    verdict(m, out, VERDICT_OK);
    m->resource[op->key].last_active = op->now;
    if (r->tell)
        take_away(m, r, out, op->now);
    else
        give_back(m, r, out, op->now);
}

static void ran_renew(struct model *m, const struct op *op, const struct outcome *out)
{
    struct m_record *r = by_token(m, op);

    if (!r) {
        verdict(m, out, VERDICT_NOT_HELD);
        return;
    }
    m->resource[op->key].last_active = op->now;
    if (ended(m, r, op->now)) {
        verdict(m, out, VERDICT_NOT_HELD);
        want(m, out->expired == 1, out->expired, "an expiry is counted");
        take_away(m, r, out, op->now);
        return;
    }
    if (!may_promise(m, op->now, op->lease)) {
        verdict(m, out, VERDICT_NO_FENCE);
        return;
    }
    verdict(m, out, VERDICT_OK);
    /* "The lease is the one given to `e`": until `w` comes it stays what it was. */
    if (!r->two_phase)
        r->lease = op->lease;
    r->end = later(op->now, op->lease);
    r->extended = 0;
    if (r->kept) {
        r->kept = false;
        r->owner = op->owner;
        r->conn_id = m->bed->t.owners[op->owner].id;
    }
}

static void ran_evict(struct model *m, const struct op *op, const struct outcome *out)
{
    struct m_record *r = NULL;

    for (uint32_t i = 0; i < m->nrecords; i++) {
        struct m_record *h = &m->record[i];

        if (h->key == op->key && h->state == NODE_HELD &&
            (op->fence ? h->fence == op->fence : !r || h->fence < r->fence))
            r = h;
    }
    if (verdict(m, out, r ? VERDICT_OK : VERDICT_NOT_HELD) && r)
        take_away(m, r, out, op->now);
}

static void deliver_record(struct model *m, struct m_record *r, const struct op *op,
                           const struct outcome *out)
{
    if (r->state == NODE_LAPSED) {
        verdict(m, out, VERDICT_LEASE_EXPIRED);
        leave(m, r, op->now);
        return;
    }
    if (!may_promise(m, op->now, r->lease)) {
        verdict(m, out, VERDICT_NO_FENCE);
        return;
    }
    verdict(m, out, VERDICT_OK);
    r->tell = r->two_phase = r->blocked = r->untold = false;
    r->end = later(op->now, r->lease);
    r->extended = 0;
    same_grant(m, r, out);
}

static void ran_deliver(struct model *m, const struct op *op, const struct outcome *out)
{
    struct m_record *r = record_of(m, op->node);

    if (!want(m, r && r->tell, op->node, "what is pending is to be told"))
        return;
    for (uint32_t i = 0; i < m->nrecords; i++) {
        const struct m_record *other = &m->record[i];

        want(m,
             !other->tell || shard_of(m, other->key) != op->shard ||
                 m->bed->t.owners[other->owner].worker != op->worker ||
                 other->told_at >= r->told_at,
             other->node, "grants are told in the order they were made");
    }
    deliver_record(m, r, op, out);
}

static void ran_unblock(struct model *m, const struct op *op, const struct outcome *out)
{
    struct m_record *r = record_of(m, op->node);

    if (!want(m, r && r->blocked, op->node, "what is unblocked is blocked"))
        return;
    if (op->deliver && (r->state == NODE_LAPSED ||
                        (r->state == NODE_HELD && may_promise(m, op->now, r->lease)))) {
        deliver_record(m, r, op, out);
        return;
    }
    verdict(m, out, VERDICT_TIMEOUT);
    if (r->state == NODE_HELD)
        give_back(m, r, out, op->now);
    else
        leave(m, r, op->now);
}

static void ran_lose_wait(struct model *m, const struct op *op, const struct outcome *out)
{
    struct m_record *r = record_of(m, op->node);

    if (!want(m, r && r->blocked, op->node, "what loses its request has one"))
        return;
    verdict(m, out, VERDICT_OK);
    if (r->two_phase)
        r->blocked = r->tell = false;
    else if (r->state == NODE_HELD)
        give_back(m, r, out, op->now);
    else
        leave(m, r, op->now);
}

static void ran_drop_owner(struct model *m, const struct op *op, const struct outcome *out)
{
    struct m_record *r = m->head ? record_of(m, m->head) : NULL;

    if (!out->more) {
        for (uint32_t i = 0; i < m->nrecords; i++)
            want(m, m->record[i].owner != op->owner || shard_of(m, m->record[i].key) != op->shard,
                 m->record[i].node, "nothing of a dropped owner remains");
        return;
    }
    if (!want(m, r && r->owner == op->owner, m->head, "the head of an owner's list is its own"))
        return;
    if (r->state != NODE_HELD) {
        leave(m, r, op->now);
    } else if (op->release_held || r->blocked || (op->kept && r->untold)) {
        give_back(m, r, out, op->now);
    } else {
        r->owner = 0;
        r->two_phase = r->untold = false;
        r->kept = op->kept;
    }
}

static void ran_drop_tombstone(struct model *m, const struct op *op, const struct outcome *out)
{
    struct m_record *gone = NULL;

    for (uint32_t i = 0; i < m->nrecords; i++) {
        struct m_record *r = &m->record[i];

        if (r->owner != op->owner || shard_of(m, r->key) != op->shard ||
            r->state != NODE_LAPSED || r->blocked || r->since > op->time)
            continue;
        if (!out->more)
            want(m, false, r->node, "a tombstone that old is dropped");
        else if (table_node(&m->bed->t, r->node)->state == NODE_FREE)
            gone = r;
    }
    if (out->more && want(m, gone, op->owner, "what was dropped is a tombstone that old"))
        leave(m, gone, op->now);
}

/* An overdue lease was ended: which? */
static void one_expired(struct model *m, const struct op *op, const struct outcome *out,
                        bool of_key)
{
    struct m_record *gone = NULL;

    for (uint32_t i = 0; i < m->nrecords; i++) {
        struct m_record *r = &m->record[i];
        const struct node *n = table_node(&m->bed->t, r->node);

        if (r->state == NODE_HELD && shard_of(m, r->key) == op->shard &&
            (n->state != NODE_HELD || n->order != r->fence)) {
            want(m, !gone, r->node, "one lease ends a step");
            gone = r;
        }
    }
    if (!want(m, gone, 0, "a lease that ended is one of these"))
        return;
    want(m, ended(m, gone, op->now), gone->node, "no lease ends early");
    want(m, !of_key || gone->key == op->key, gone->node, "leases of this key only");
    m->expired++;
    take_away(m, gone, out, op->now);
}

static void ran_expire_key(struct model *m, const struct op *op, const struct outcome *out)
{
    want(m, out->expired == out->more, out->expired, "an expiry is counted");
    if (out->more) {
        one_expired(m, op, out, true);
        return;
    }
    for (uint32_t i = 0; i < m->nrecords; i++) {
        const struct m_record *r = &m->record[i];

        want(m,
             r->key != op->key || r->state != NODE_HELD || !ended(m, r, op->now) ||
                 count(m, op->key, NODE_HELD) > 64,
             r->node, "no overdue lease of the key is left");
    }
}

/* Whether what is granted to somebody, if anything, is to him. */
enum starved { STARVED, STARVED_GRANTED, STARVED_REFUSED };

/* The first key of the shard with a waiter beside a free slot; BED_KEYS = none. GRANTED: the table
   has granted it now. REFUSED: the waiter's lease may not be promised at `now`. */
static uint32_t starved_key(struct model *m, uint32_t shard, enum starved sort, uint64_t now)
{
    for (uint32_t i = 0; i < m->bed->nkeys; i++) {
        const struct m_record *r;

        if (!m->resource[i].exists || shard_of(m, i) != shard)
            continue;
        r = first_waiter(m, i);
        if (r && count(m, i, NODE_HELD) < m->resource[i].limit &&
            (sort != STARVED_GRANTED || table_node(&m->bed->t, r->node)->state == NODE_HELD) &&
            (sort != STARVED_REFUSED || !may_promise(m, now, r->lease)))
            return i;
    }
    return BED_KEYS;
}

static void ran_expire(struct model *m, const struct op *op, const struct outcome *out)
{
    uint64_t next_due = table_next_due(&m->bed->t, op->shard);
    /* Overdue leases of a worker that is down are looked at every 16 ticks. */
    uint64_t slack = TICK * (m->gen->config->downs ? 18 : 1) + m->gen->config->jitter;

    if (out->expired) {
        want(m, out->expired == 1 && out->more, out->expired, "one lease a step");
        one_expired(m, op, out, false);
        return;
    }
    if (out->ngrants) {
        uint32_t key = starved_key(m, op->shard, STARVED_GRANTED, op->now);

        if (want(m, key < BED_KEYS, 0, "a grant without an expiry ends a lack of fences"))
            pass_on(m, key, out, op->now, true);
    }
    if (out->more)
        return;
    if (fences_left(m) && begun(m, op->now)) {
        bool none = starved_key(m, op->shard, STARVED, op->now) == BED_KEYS;

        /* The walk stops at one whose lease is too long. */
        want(m, none || starved_key(m, op->shard, STARVED_REFUSED, op->now) < BED_KEYS, 0,
             "with fences no slot stays free beside a waiter");
        if (none)
            m->starved[op->shard] = false;
    }
    for (uint32_t i = 0; i < m->nrecords; i++) {
        const struct m_record *r = &m->record[i];

        if (r->state != NODE_HELD || shard_of(m, r->key) != op->shard)
            continue;
        want(m, op->now < slack + r->graced || !ended(m, r, op->now - slack), r->node,
             "nothing stays overdue by more than a tick");
        /* Leases of a worker that is down may get three seconds more. */
        want(m,
             next_due <= later(r->end, slack + (m->gen->config->downs ? 3 * SECOND : 0)) ||
                 r->end > UINT64_MAX - slack,
             r->node, "the published time is not after an end");
    }
}

static void ran_collect(struct model *m, const struct op *op, const struct outcome *out)
{
    struct m_resource *oldest = NULL;

    for (uint32_t i = 0; i < m->bed->nkeys; i++) {
        struct m_resource *r = &m->resource[i];

        if (r->exists && r->idle_at && shard_of(m, i) == op->shard &&
            (!oldest || r->idle_at < oldest->idle_at))
            oldest = r;
    }
    if (oldest && oldest->last_active > op->time)
        oldest = NULL;
    want(m, out->more == (oldest != NULL), out->more, "the longest idle one goes, if old enough");
    if (oldest)
        oldest->exists = false;
}

/* Which ones a call extends is the table's business, how much is not. */
static void ran_extend(struct model *m, const struct op *op, const struct outcome *out)
{
    (void)out;
    for (uint32_t i = 0; i < m->nrecords; i++) {
        struct m_record *r = &m->record[i];
        const struct node *n = table_node(&m->bed->t, r->node);

        if (r->owner == op->owner && shard_of(m, r->key) == op->shard &&
            r->state == NODE_HELD && n->end != r->end) {
            uint64_t gap = extension(r, op->time);

            r->end = later(r->end, gap);
            r->extended += gap;
        }
    }
}

static void (*const ran_op[OP_KINDS])(struct model *, const struct op *,
                                      const struct outcome *) = {
    [OP_ACQUIRE] = ran_acquire,
    [OP_EXPIRE_KEY] = ran_expire_key,
    [OP_WAIT] = ran_wait,
    [OP_RELEASE] = ran_release,
    [OP_RENEW] = ran_renew,
    [OP_EVICT] = ran_evict,
    [OP_DELIVER] = ran_deliver,
    [OP_UNBLOCK] = ran_unblock,
    [OP_LOSE_WAIT] = ran_lose_wait,
    [OP_DROP_OWNER] = ran_drop_owner,
    [OP_DROP_TOMBSTONE] = ran_drop_tombstone,
    [OP_EXPIRE] = ran_expire,
    [OP_COLLECT] = ran_collect,
    [OP_EXTEND] = ran_extend,
};

/* Comparison -------------------------------------------------------------------------------- */

static void compare_record(struct model *m, const struct m_record *r)
{
    const struct node *n = table_node(&m->bed->t, r->node);
    uint8_t flags = (uint8_t)((r->tell ? NODE_TELL : 0) | (r->two_phase ? NODE_TWO_PHASE : 0) |
                              (r->blocked ? NODE_BLOCKED : 0) | (r->kept ? NODE_KEPT : 0) |
                              (r->untold ? NODE_UNTOLD : 0));

    want(m, n->state == r->state, r->node, "state");
    want(m, n->flags == flags, r->node, "flags");
    want(m, n->res == m->resource[r->key].res, r->node, "resource");
    want(m, n->owner == r->owner, r->node, "owner");
    want(m, n->conn_id == r->conn_id, r->node, "connection");
    want(m, n->order == (r->state == NODE_WAITING ? r->ticket : r->fence), r->node, "order");
    want(m, n->since == r->since, r->node, "since");
    want(m, n->lease == r->lease, r->node, "lease");
    if (r->state == NODE_HELD) {
        want(m, n->salt == r->salt, r->node, "salt");
        want(m, n->end == r->end, r->node, "end");
    }
}

static int by_ticket(const void *a, const void *b)
{
    const struct m_record *const *x = a, *const *y = b;

    return ((*x)->ticket > (*y)->ticket) - ((*x)->ticket < (*y)->ticket);
}

static void compare_queue(struct model *m, uint32_t key, const struct resource *res)
{
    static const struct m_record *queue[MODEL_RECORDS];
    uint32_t n = 0;
    uint32_t i = res->q_head;

    for (uint32_t k = 0; k < m->nrecords; k++)
        if (m->record[k].key == key && m->record[k].state == NODE_WAITING)
            queue[n++] = &m->record[k];
    qsort(queue, n, sizeof(queue[0]), by_ticket);
    for (uint32_t k = 0; k < n; k++) {
        if (!want(m, i == queue[k]->node, i, "place in the queue"))
            return;
        i = table_node(&m->bed->t, i)->next;
    }
    want(m, i == 0, i, "end of the queue");
}

static void compare_resource(struct model *m, uint32_t key)
{
    const struct m_resource *mine = &m->resource[key];
    struct tx tx = {.t = &m->bed->t, .shard = shard_of(m, key)};
    uint32_t found = table_find(&tx, &m->bed->key[key].key);
    const struct resource *r;

    want(m, found == (mine->exists ? mine->res : 0), key, "finding the key");
    if (!mine->exists)
        return;
    r = table_resource(&m->bed->t, tx.shard, mine->res);
    want(m, r->limit == mine->limit, key, "limit");
    want(m, r->state == (mine->idle_at ? RES_IDLE : RES_LIVE), key, "state of a resource");
    want(m, r->last_active == mine->last_active, key, "last activity");
    want(m, r->nholders == count(m, key, NODE_HELD), key, "number of holders");
    want(m, r->nholders <= r->limit, key, "at most `limit` holders");
    want(m, r->nwaiters == count(m, key, NODE_WAITING), key, "number of waiters");
    want(m, r->ntombs == count(m, key, NODE_LAPSED), key, "number of tombstones");
    want(m, r->nwaiters == 0 || r->nholders == r->limit || m->starved[tx.shard], key,
         "no free slot beside a waiter");
    if (r->nwaiters)
        compare_queue(m, key, r);
}

static void compare_idle(struct model *m, uint32_t shard)
{
    uint32_t i = table_shard(&m->bed->t, shard)->idle_head;
    uint64_t at = 0;

    for (;; i = table_resource(&m->bed->t, shard, i)->idle_next) {
        uint32_t next = 0;
        uint64_t next_at = UINT64_MAX;

        for (uint32_t k = 0; k < m->bed->nkeys; k++) {
            const struct m_resource *r = &m->resource[k];

            if (r->exists && shard_of(m, k) == shard && r->idle_at > at && r->idle_at < next_at) {
                next = r->res;
                next_at = r->idle_at;
            }
        }
        if (!want(m, i == next, i, "order of idle resources") || !i)
            return;
        at = next_at;
    }
}

void model_compare(struct model *m, uint32_t shard)
{
    const struct shard *s = table_shard(&m->bed->t, shard);
    const struct words *w = m->bed->words;
    uint32_t in_use = 0, resources = 0, empty = 0, spare = 0;
    uint64_t units = w->units;
    struct check_report report;

    for (uint32_t i = 0; i < m->nrecords; i++) {
        if (shard_of(m, m->record[i].key) == shard) {
            in_use++;
            compare_record(m, &m->record[i]);
        }
    }
    for (uint32_t i = 0; i < m->bed->nkeys; i++) {
        if (shard_of(m, i) == shard) {
            resources += m->resource[i].exists;
            compare_resource(m, i);
        }
    }
    compare_idle(m, shard);
    want(m, s->res_count == resources, s->res_count, "number of resources");
    for (uint32_t i = 1; i <= s->res_bump; i++) {
        const struct resource *r = table_resource(&m->bed->t, shard, i);

        if (r->state == RES_FREE || !r->spare)
            continue;
        spare++;
        want(m, r->limit == 1 && table_node(&m->bed->t, r->spare)->state == NODE_SPARE, r->spare,
             "what a lock keeps");
    }
    want(m, s->nchunks * CHUNK_NODES - s->nfree == in_use + spare, in_use, "nodes in use");
    for (uint32_t c = 0; c < m->bed->geo.nchunks; c++)
        empty += m->bed->t.chunk_owner[c] == shard + 1 &&
                 table_chunk(&m->bed->t, c)->nfree == CHUNK_NODES;
    want(m, empty <= 1, empty, "a shard keeps one empty chunk");
    want(m, s->moving == 0, s->moving, "no chunk is being moved");
    for (uint32_t i = 0; i < m->gen->config->nworkers; i++)
        units += w->reserved[i];
    for (uint32_t i = 0; i < SHARD_COUNT; i++)
        units += table_shard(&m->bed->t, i)->res_count;
    want(m, units == m->gen->config->size.max_locks, units, "units of max-locks");
    if (!want(m, check_shard(&m->bed->t, shard, &report) == 0, (uint64_t)report.invariant,
              "check_shard()"))
        diag("I%d at %u: %s", report.invariant, report.index, report.what);
}

void model_adopt_orders(struct model *m)
{
    const struct table *t = &m->bed->t;

    for (uint32_t shard = 0; shard < SHARD_COUNT; shard++) {
        const struct shard *s = table_shard(t, shard);
        uint64_t last = 0;

        for (uint32_t w = 0; w < WORKER_MAX; w++) {
            uint32_t head = s->pending[w];

            for (uint32_t i = head; i; i = table_node(t, i)->pend_next == head
                                               ? 0
                                               : table_node(t, i)->pend_next) {
                struct m_record *r = record_of(m, i);

                if (want(m, r && r->tell, i, "what is pending is to be told"))
                    r->told_at = ++m->sequence;
            }
        }
        for (uint32_t i = s->idle_head; i; i = table_resource(t, shard, i)->idle_next) {
            struct m_resource *r = &m->resource[gen_key_of(m->bed, shard, i)];

            want(m, r->exists && r->idle_at && r->last_active >= last, i, "idle resource");
            last = r->last_active;
            r->idle_at = ++m->sequence;
        }
    }
}

static void compare_owner(struct model *m, uint32_t owner)
{
    bool any = false;

    for (uint32_t i = 0; i < m->nrecords; i++)
        any |= m->record[i].owner == owner;
    want(m, table_owns_any(&m->bed->t, owner) == any, owner, "whether an owner has anything");
}

static void before(void *arg, const struct op *op)
{
    struct model *m = arg;

    if (op->kind == OP_DROP_OWNER)
        m->head = m->bed->t.owners[op->owner].held[op->shard];
}

static void ran(void *arg, const struct op *op, const struct outcome *out, bool committed)
{
    struct model *m = arg;

    m->op = op;
    if (committed) {
        m->verdicts[op->kind][out->verdict]++;
        ran_op[op->kind](m, op, out);
    }
    model_compare(m, op->shard);
    if (op->owner)
        compare_owner(m, op->owner);
    /* The mark may be gone already although the last fence was: what counts is who starves. */
    if (starved_key(m, op->shard, STARVED, op->now) != BED_KEYS)
        want(m,
             table_next_due(&m->bed->t, op->shard) <=
                 (begun(m, op->now) ? op->now + 16 * TICK + m->gen->config->jitter
                                    : m->bed->words->grants_from),
             op->shard, "new fences are looked for soon");
    for (uint32_t i = 0; i < m->nrecords; i++) {
        struct m_record *r = &m->record[i];

        if (r->state == NODE_HELD && op->now >= r->end && !ended(m, r, op->now))
            r->graced = op->now;
    }
    if (m->gen->ops % 1024 == 0)
        for (uint32_t i = 0; i < SHARD_COUNT; i++)
            model_compare(m, i);
    if (m->wrong >= WRONG_SHOWN)
        bail_out("too much is wrong");
}

void model_make(struct model *m, struct gen *gen)
{
    memset(m, 0, sizeof(*m));
    m->gen = gen;
    m->bed = gen->bed;
    gen->observer = (struct gen_observer){.arg = m, .before = before, .ran = ran};
}
