/*
 * core/check.c - the validator. See layout.h for the invariants and their numbers.
 *
 * "Exactly once" is shown without marks: a doubly linked list whose back links agree holds a node
 * at most once, and the number of nodes met in all lists equals the number of nodes in that state.
 */
#include "core/check.h"

#include "core/holder.h"
#include "core/keymap.h"
#include "core/leases.h"
#include "core/owners.h"
#include "core/spare.h"

#include <string.h>

struct walk {
    const struct table *t;
    const struct shard *s;
    uint32_t shard;
    struct check_report *report;
    /* counted over the nodes of all claimed chunks, then found again in the lists */
    uint32_t waiting, held, spare, lapsed, owned, told, pairs, tokens;
    uint32_t stray; /* a node without a lease that says it is in the wheel */
};

#define REQUIRE(w, cond, number, where, text)                                                      \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            *(w)->report = (struct check_report){(number), (where), (text)};                       \
            return false;                                                                          \
        }                                                                                          \
    } while (0)

static bool node_mine(const struct walk *w, uint32_t node)
{
    return node >= 1 && (node - 1) / CHUNK_NODES < w->t->geo->nchunks &&
           w->t->chunk_owner[(node - 1) / CHUNK_NODES] == w->shard + 1;
}

static bool res_ok(const struct walk *w, uint32_t res)
{
    return res >= 1 && res <= w->s->res_bump;
}

static bool check_node_fields(struct walk *w, uint32_t node)
{
    const struct node *n = table_node(w->t, node);
    uint64_t fence_next = __atomic_load_n(w->t->fence_next, __ATOMIC_RELAXED);

    REQUIRE(w, n->state <= NODE_LAPSED, 4, node, "unknown node state");
    REQUIRE(w, res_ok(w, n->res), 11, node, "resource index of a node");
    REQUIRE(w, table_resource(w->t, w->shard, n->res)->state != RES_FREE, 4, node,
            "node of a free resource");
    REQUIRE(w, n->owner <= w->t->geo->nowners, 11, node, "owner index of a node");
    REQUIRE(w, !n->owner || owners_worker(w->t, n->owner) < WORKER_MAX, 11, node,
            "worker index of a node's owner");
    if (n->state == NODE_WAITING)
        REQUIRE(w, n->order < w->s->ticket_next, 5, node, "ticket from the future");
    else
        REQUIRE(w, n->order < fence_next, 5, node, "fence from the future");
    if (n->owner)
        REQUIRE(w, w->t->owners[n->owner].id == n->conn_id, 7, node, "owner's slot was reused");
    else
        REQUIRE(w, n->state == NODE_HELD && !(n->flags & ~NODE_KEPT), 7, node,
                "only a plain holder may have no owner");
    REQUIRE(w, !n->owner || !(n->flags & NODE_KEPT), 7, node, "kept for anybody, but owned");
    REQUIRE(w, !(n->flags & NODE_TELL) || (n->flags & NODE_BLOCKED), 10, node,
            "grant to tell, but no request waits for it");
    REQUIRE(w, n->state == NODE_WAITING || !(n->flags & NODE_BLOCKED) || (n->flags & NODE_TELL),
            10, node, "request blocked on a grant that is not to be told");
    return true;
}

static bool count_node(struct walk *w, uint32_t node)
{
    const struct node *n = table_node(w->t, node);

    if (n->state == NODE_SPARE) {
        REQUIRE(w, spare_possible(w->t, w->shard, node), 4, node, "a spare that no resource keeps");
        w->spare++;
        return true;
    }
    if (!check_node_fields(w, node))
        return false;
    w->waiting += n->state == NODE_WAITING;
    w->held += n->state == NODE_HELD;
    w->lapsed += n->state == NODE_LAPSED;
    if (n->state != NODE_HELD && n->tw_slot)
        w->stray = node;
    w->owned += n->owner != 0;
    w->told += (n->flags & NODE_TELL) != 0;
    w->pairs += (n->flags & NODE_TWO_PHASE) != 0;
    w->tokens += n->state == NODE_HELD && table_resource(w->t, w->shard, n->res)->limit > 1;
    return true;
}

static bool check_chunk(struct walk *w, uint32_t c, uint32_t *nfree)
{
    const struct chunk *ch = table_chunk(w->t, c);
    uint64_t free_set = 0;
    uint32_t i;

    REQUIRE(w, ch->linked == 1, 15, c, "claimed chunk is not linked");
    REQUIRE(w, ch->bump <= CHUNK_NODES, 11, c, "unused tail of a chunk");
    for (i = ch->free_head; i; i = table_node(w->t, i)->next) {
        uint64_t bit;

        REQUIRE(w, node_mine(w, i) && (i - 1) / CHUNK_NODES == c, 11, i, "free list index");
        bit = UINT64_C(1) << (i - 1) % CHUNK_NODES;
        REQUIRE(w, !(free_set & bit), 4, i, "node twice in the free list");
        REQUIRE(w, (i - 1) % CHUNK_NODES < ch->bump, 4, i, "unused node in the free list");
        REQUIRE(w, table_node(w->t, i)->state == NODE_FREE, 4, i, "busy node in the free list");
        free_set |= bit;
    }
    for (i = 0; i < ch->bump; i++) {
        uint32_t node = c * CHUNK_NODES + i + 1;

        if (free_set >> i & 1)
            continue;
        REQUIRE(w, ch->node[i].state != NODE_FREE, 4, node, "free node in no free list");
        if (!count_node(w, node))
            return false;
    }
    i = (uint32_t)__builtin_popcountll(free_set) + CHUNK_NODES - ch->bump;
    REQUIRE(w, ch->nfree == i, 8, c, "free nodes of a chunk");
    *nfree += i;
    return true;
}

static bool check_chunks(struct walk *w)
{
    uint32_t nchunks = 0, nfree = 0, with_free = 0, on_list = 0, prev = 0;

    /* First, because what follows trusts it. */
    REQUIRE(w, w->s->res_bump <= w->t->geo->res_per_shard, 11, w->s->res_bump, "resource slots");
    for (uint32_t c = 0; c < w->t->geo->nchunks; c++) {
        if (w->t->chunk_owner[c] != w->shard + 1)
            continue;
        nchunks++;
        if (!check_chunk(w, c, &nfree))
            return false;
        with_free += table_chunk(w->t, c)->nfree != 0;
    }
    REQUIRE(w, w->s->nchunks == nchunks, 8, nchunks, "chunks of a shard");
    REQUIRE(w, w->s->nfree == nfree, 8, nfree, "free nodes of a shard");
    for (uint32_t c = w->s->partial; c; c = table_chunk(w->t, c - 1)->next) {
        REQUIRE(w, c <= w->t->geo->nchunks && w->t->chunk_owner[c - 1] == w->shard + 1, 11, c,
                "partial list index");
        REQUIRE(w, table_chunk(w->t, c - 1)->prev == prev, 15, c, "partial list back link");
        REQUIRE(w, table_chunk(w->t, c - 1)->nfree != 0, 15, c, "full chunk on the partial list");
        prev = c;
        REQUIRE(w, ++on_list <= with_free, 15, c, "partial list too long");
    }
    REQUIRE(w, on_list == with_free, 15, on_list, "chunk missing from the partial list");
    return true;
}

static bool check_queue(struct walk *w, uint32_t res, uint32_t *waiting)
{
    const struct resource *r = table_resource(w->t, w->shard, res);
    uint32_t prev = 0, n = 0;
    uint64_t ticket = 0;

    for (uint32_t i = r->q_head; i; i = table_node(w->t, i)->next) {
        const struct node *node;

        REQUIRE(w, node_mine(w, i), 11, i, "queue index");
        node = table_node(w->t, i);
        REQUIRE(w, node->state == NODE_WAITING && node->res == res, 4, i, "stranger in a queue");
        REQUIRE(w, node->prev == prev, 4, i, "queue back link");
        REQUIRE(w, node->order > ticket, 3, i, "queue out of order");
        ticket = node->order;
        prev = i;
        n++;
    }
    REQUIRE(w, r->q_tail == prev, 4, res, "queue tail");
    REQUIRE(w, r->nwaiters == n, 8, res, "number of waiters");
    *waiting += n;
    return true;
}

static bool check_holders(struct walk *w, uint32_t res, uint32_t *held)
{
    const struct resource *r = table_resource(w->t, w->shard, res);
    uint32_t prev = 0, n = 0;

    for (uint32_t i = r->holders; i; i = table_node(w->t, i)->next) {
        const struct node *node;

        REQUIRE(w, node_mine(w, i), 11, i, "holder index");
        node = table_node(w->t, i);
        REQUIRE(w, node->state == NODE_HELD && node->res == res, 4, i, "stranger among holders");
        REQUIRE(w, node->prev == prev, 4, i, "holder back link");
        prev = i;
        REQUIRE(w, ++n <= r->limit, 1, res, "more holders than the limit");
    }
    REQUIRE(w, r->nholders == n, 8, res, "number of holders");
    *held += n;
    return true;
}

static bool check_resource(struct walk *w, uint32_t res, uint32_t *waiting, uint32_t *held)
{
    const struct resource *r = table_resource(w->t, w->shard, res);
    bool busy;

    REQUIRE(w, r->limit >= 1 && r->key_len >= 1 && r->key_len <= KEY_MAX && r->kind <= KIND_SEM &&
                   (r->kind != KIND_LOCK || r->limit == 1),
            11, res, "fields of a resource");
    if (!check_queue(w, res, waiting) || !check_holders(w, res, held))
        return false;
    if (r->spare)
        REQUIRE(w, r->limit == 1 && node_mine(w, r->spare) &&
                       table_node(w->t, r->spare)->state == NODE_SPARE &&
                       table_node(w->t, r->spare)->res == res,
                4, res, "what it keeps is no spare of its own");
    REQUIRE(w, r->nwaiters == 0 || r->nholders == r->limit || w->s->starved, 2, res,
            "a free slot beside a waiter");
    busy = r->nholders || r->nwaiters || r->ntombs;
    REQUIRE(w, r->state == (busy ? RES_LIVE : RES_IDLE), 14, res, "idle or not");
    return true;
}

/* No other resource behind it in its chain has its key. */
static bool only_one(const struct walk *w, uint32_t res, uint32_t live)
{
    const struct resource *a = table_resource(w->t, w->shard, res);

    for (uint32_t i = a->next, n = 0; res_ok(w, i) && n < live; n++) {
        const struct resource *b = table_resource(w->t, w->shard, i);

        if (a->hash == b->hash && a->kind == b->kind && a->key_len == b->key_len &&
            a->key_len <= KEY_MAX &&
            memcmp(table_key_bytes(w->t, w->shard, res), table_key_bytes(w->t, w->shard, i),
                   a->key_len) == 0)
            return false;
        i = b->next;
    }
    return true;
}

static bool check_resources(struct walk *w)
{
    uint32_t live = 0, idle = 0, reached = 0, nfree = 0, waiting = 0, held = 0, tombs = 0, prev = 0;
    uint32_t nwaiting[SHARD_KINDS] = {0}, nheld[SHARD_KINDS] = {0};
    uint64_t last = 0;

    for (uint32_t i = 1; i <= w->s->res_bump; i++) {
        const struct resource *r = table_resource(w->t, w->shard, i);

        if (r->state == RES_FREE)
            continue;
        live++;
        idle += r->state == RES_IDLE;
        tombs += r->ntombs;
        if (!check_resource(w, i, &waiting, &held))
            return false;
        nwaiting[table_count_of(r)] += r->nwaiters;
        nheld[table_count_of(r)] += r->nholders;
    }
    REQUIRE(w, w->s->res_count == live, 8, live, "number of resources");
    REQUIRE(w, waiting == w->waiting, 4, waiting, "waiter in no queue");
    REQUIRE(w, held == w->held, 4, held, "holder in no holder list");
    REQUIRE(w, tombs == w->lapsed, 8, tombs, "lapsed nodes");
    REQUIRE(w, w->s->nidle == idle, 8, idle, "number of idle resources");
    for (unsigned k = 0; k < SHARD_KINDS; k++) {
        REQUIRE(w, w->s->nwaiting[k] == nwaiting[k], 8, k, "waiters of a shard");
        REQUIRE(w, w->s->nheld[k] == nheld[k], 8, k, "holders of a shard");
    }
    for (uint32_t b = 0; b <= w->t->geo->res_mask; b++) {
        for (uint32_t i = *keymap_bucket(w->t, w->shard, b); i;) {
            const struct resource *r;

            REQUIRE(w, res_ok(w, i), 11, i, "bucket index");
            r = table_resource(w->t, w->shard, i);
            REQUIRE(w, r->state != RES_FREE && (r->hash & w->t->geo->res_mask) == b &&
                           table_shard_of(r->hash) == w->shard,
                    6, i, "resource in a wrong bucket");
            REQUIRE(w, ++reached <= live, 6, i, "resource reachable twice");
            REQUIRE(w, only_one(w, i, live), 6, i, "two resources of one key");
            i = r->next;
        }
    }
    REQUIRE(w, reached == live, 6, reached, "resource in no bucket");
    for (uint32_t i = w->s->res_free; i; i = table_resource(w->t, w->shard, i)->next) {
        REQUIRE(w, res_ok(w, i), 11, i, "free resource index");
        REQUIRE(w, table_resource(w->t, w->shard, i)->state == RES_FREE, 6, i,
                "live resource in the free list");
        REQUIRE(w, ++nfree <= w->s->res_bump, 6, i, "free list of resources is a circle");
    }
    REQUIRE(w, live + nfree == w->s->res_bump, 6, nfree, "free resource in no free list");
    for (uint32_t i = w->s->idle_head; i; i = table_resource(w->t, w->shard, i)->idle_next) {
        const struct resource *r;

        REQUIRE(w, res_ok(w, i), 11, i, "idle index");
        r = table_resource(w->t, w->shard, i);
        REQUIRE(w, r->state == RES_IDLE && r->idle_prev == prev && r->last_active >= last, 14, i,
                "idle list");
        last = r->last_active;
        prev = i;
        REQUIRE(w, idle-- > 0, 14, i, "idle list too long");
    }
    REQUIRE(w, idle == 0 && w->s->idle_tail == prev, 14, prev, "idle list too short");
    REQUIRE(w,
            w->s->idle_oldest ==
                (w->s->idle_head ? table_resource(w->t, w->shard, w->s->idle_head)->last_active
                                 : TIME_NEVER),
            14, w->s->idle_head, "published idle time");
    return true;
}

static bool check_owners(struct walk *w)
{
    uint32_t owned = 0;

    for (uint32_t o = 1; o <= w->t->geo->nowners; o++) {
        const struct owner *owner = &w->t->owners[o];
        uint32_t prev = 0, tombs = 0;

        for (uint32_t i = owner->held[w->shard]; i; i = table_node(w->t, i)->own_next) {
            const struct node *n;

            REQUIRE(w, node_mine(w, i), 11, i, "owner's list index");
            n = table_node(w->t, i);
            REQUIRE(w, n->state != NODE_FREE && n->owner == o && n->own_prev == prev, 7, i,
                    "owner's list");
            tombs += owners_is_tombstone(n);
            prev = i;
            owned++;
        }
        REQUIRE(w, owner->tombs[w->shard] == tombs, 8, o, "tombstones of an owner");
    }
    REQUIRE(w, owned == w->owned, 7, owned, "node missing from its owner's list");
    return true;
}

static bool check_pending(struct walk *w)
{
    uint32_t told = 0;

    for (uint32_t worker = 0; worker < WORKER_MAX; worker++) {
        uint32_t head = w->s->pending[worker];
        uint32_t i = head;

        while (i) {
            const struct node *n;

            REQUIRE(w, node_mine(w, i), 11, i, "pending index");
            n = table_node(w->t, i);
            REQUIRE(w, (n->flags & NODE_TELL) && n->owner &&
                           owners_worker(w->t, n->owner) == worker,
                    10, i, "stranger on a pending list");
            REQUIRE(w, node_mine(w, n->pend_next) &&
                           table_node(w->t, n->pend_next)->pend_prev == i,
                    10, i, "pending back link");
            REQUIRE(w, ++told <= w->told, 10, i, "pending list too long");
            i = n->pend_next == head ? 0 : n->pend_next;
        }
    }
    REQUIRE(w, told == w->told, 10, told, "grant missing from the pending list");
    return true;
}

static bool check_wheel(struct walk *w)
{
    const struct wheel *wheel = &w->s->wheel;
    uint64_t grace = w->t->down_since ? LEASES_GRACE_NS + LEASES_LOOK_NS : 0;
    uint64_t earliest = TIME_NEVER;
    uint32_t held = 0, spare = 0;

    REQUIRE(w, wheel->draining <= WHEEL_LEVELS * 64, 11, wheel->draining, "slot being drained");
    REQUIRE(w,
            !wheel->draining || (wheel->draining > 64 &&
                                 leases_slot_start(wheel, wheel->draining - 1) <= wheel->now),
            12, wheel->draining, "slot is drained before its time");
    for (uint32_t slot = 0; slot < WHEEL_LEVELS * 64; slot++) {
        bool draining = wheel->draining == slot + 1;
        uint64_t start = leases_slot_start(wheel, slot);
        uint32_t prev = 0;

        REQUIRE(w, (wheel->slot[slot] != 0) == (wheel->occupied[slot / 64] >> slot % 64 & 1), 12,
                slot, "occupied bits");
        if (wheel->slot[slot] && start < earliest)
            earliest = start;
        for (uint32_t i = wheel->slot[slot]; i; i = table_node(w->t, i)->tw_next) {
            const struct node *n;

            REQUIRE(w, node_mine(w, i), 11, i, "wheel index");
            n = table_node(w->t, i);
            REQUIRE(w, (n->state == NODE_HELD || n->state == NODE_SPARE) &&
                           n->tw_slot == slot + 1 && n->tw_prev == prev,
                    12, i, "wheel list");
            /* Behind the wheel's tick only what is looked at next, or being moved down. */
            REQUIRE(w, draining || start > wheel->now ||
                           (slot < 64 && slot == (wheel->now & 63)),
                    12, i, "slot was passed");
            /* While a worker is down its holders may lie later: they have a grace. */
            REQUIRE(w, n->state == NODE_SPARE || start <= wheel->now ||
                           start <= (leases_add(n->end, grace) >> WHEEL_TICK_SHIFT) + 1,
                    12, i, "lease would end late");
            prev = i;
            held += n->state == NODE_HELD;
            spare += n->state == NODE_SPARE;
            REQUIRE(w, held <= w->held && spare <= w->spare, 12, i, "wheel too full");
        }
    }
    REQUIRE(w, held == w->held, 12, held, "holder missing from the wheel");
    REQUIRE(w, spare == w->spare, 12, spare, "spare missing from the wheel");
    REQUIRE(w, w->stray == 0, 12, w->stray, "in the wheel without a lease");
    REQUIRE(w, earliest >> (64 - WHEEL_TICK_SHIFT) ||
                   w->t->next_due[w->shard] <= earliest << WHEEL_TICK_SHIFT,
            12, w->shard, "published due time is too late");
    return true;
}

static bool check_indexes(struct walk *w)
{
    uint32_t tokens = 0, pairs = 0;

    for (uint64_t b = 0; b <= w->t->geo->node_mask; b++) {
        const uint32_t *pair_buckets = (const uint32_t *)(w->t->base + w->t->geo->pair_buckets) +
                                       (uint64_t)w->shard * (w->t->geo->node_mask + 1);
        uint32_t i;

        for (i = *holder_token_bucket(w->t, w->shard, b); i; i = table_node(w->t, i)->tok_next) {
            const struct node *n;

            REQUIRE(w, node_mine(w, i), 11, i, "token index");
            n = table_node(w->t, i);
            REQUIRE(w, n->state == NODE_HELD && (n->order & w->t->geo->node_mask) == b &&
                           table_resource(w->t, w->shard, n->res)->limit > 1,
                    13, i, "token in a wrong bucket");
            REQUIRE(w, ++tokens <= w->tokens, 13, i, "token index too full");
        }
        for (i = pair_buckets[b]; i; i = table_node(w->t, i)->pair_next) {
            const struct node *n;

            REQUIRE(w, node_mine(w, i), 11, i, "pair index");
            n = table_node(w->t, i);
            REQUIRE(w, n->state != NODE_FREE && (n->flags & NODE_TWO_PHASE) &&
                           owners_pair_bucket(w->t, w->shard, n->conn_id, n->res) ==
                               &pair_buckets[b],
                    13, i, "pair in a wrong bucket");
            REQUIRE(w, ++pairs <= w->pairs, 13, i, "pair index too full");
        }
    }
    REQUIRE(w, tokens == w->tokens, 13, tokens, "holder missing from the token index");
    REQUIRE(w, pairs == w->pairs, 13, pairs, "node missing from the pair index");
    return true;
}

int check_shard(const struct table *t, uint32_t shard, struct check_report *report)
{
    struct walk w = {.t = t, .s = table_shard(t, shard), .shard = shard, .report = report};

    *report = (struct check_report){0, 0, "ok"};
    if (w.s->journal.count != 0)
        *report = (struct check_report){9, w.s->journal.count, "a transaction is open"};
    else if (check_chunks(&w) && check_resources(&w) && check_owners(&w) && check_pending(&w) &&
             check_wheel(&w))
        check_indexes(&w);
    return report->invariant;
}
