/*
 * core/repair.c - rollback and rebuild. The shard's mutex is held; nothing is allocated.
 *
 * A rebuild is not journalled: it destroys derived data first and reads ground truth only, so
 * running it again from the start is always right. The shard's state REBUILDING says that it was
 * begun; whoever locks the shard next must finish it.
 */
#include "core/repair.h"

#include "core/holder.h"
#include "core/journal.h"
#include "core/keymap.h"
#include "core/leases.h"
#include "core/loss.h"
#include "core/owners.h"
#include "core/pool.h"
#include "core/spare.h"

#include <string.h>

bool repair_rollback(struct table *t, uint32_t shard)
{
    bool whole = journal_rollback(&table_shard(t, shard)->journal, t->base, t->geo->from,
                                  t->geo->size);

    pool_settle(t, shard);
    return whole;
}

/* Bottom-up merge sort of a list linked by index, without recursion or memory. */
struct list_ops {
    uint32_t *(*next)(struct table *t, uint32_t shard, uint32_t i);
    uint64_t (*rank)(struct table *t, uint32_t shard, uint32_t i);
};

static uint32_t merge(struct table *t, uint32_t shard, const struct list_ops *ops, uint32_t a,
                      uint32_t b)
{
    uint32_t head = 0;
    uint32_t *link = &head;

    while (a && b) {
        uint32_t *from = ops->rank(t, shard, a) <= ops->rank(t, shard, b) ? &a : &b;
        uint32_t taken = *from;

        *from = *ops->next(t, shard, taken);
        *link = taken;
        link = ops->next(t, shard, taken);
    }
    *link = a ? a : b;
    return head;
}

static uint32_t sort(struct table *t, uint32_t shard, const struct list_ops *ops, uint32_t list)
{
    uint32_t part[32] = {0}; /* part[k] is sorted and has 2^k elements, or none */

    while (list) {
        uint32_t one = list;
        unsigned k = 0;

        list = *ops->next(t, shard, one);
        *ops->next(t, shard, one) = 0;
        while (k < 31 && part[k]) {
            one = merge(t, shard, ops, part[k], one);
            part[k++] = 0;
        }
        part[k] = part[k] ? merge(t, shard, ops, part[k], one) : one;
    }
    for (unsigned k = 0; k < 32; k++)
        if (part[k])
            list = merge(t, shard, ops, part[k], list);
    return list;
}

static uint32_t *node_next(struct table *t, uint32_t shard, uint32_t i)
{
    (void)shard;
    return &table_node(t, i)->next;
}

static uint64_t node_rank(struct table *t, uint32_t shard, uint32_t i)
{
    (void)shard;
    return table_node(t, i)->order;
}

static uint32_t *idle_next(struct table *t, uint32_t shard, uint32_t i)
{
    return &table_resource(t, shard, i)->idle_next;
}

static uint64_t idle_rank(struct table *t, uint32_t shard, uint32_t i)
{
    return table_resource(t, shard, i)->last_active;
}

static const struct list_ops by_order = {node_next, node_rank};
static const struct list_ops by_age = {idle_next, idle_rank};

static void clear(struct table *t, uint32_t shard, struct shard *s)
{
    uint64_t buckets = t->geo->node_mask + 1;

    memset(keymap_bucket(t, shard, 0), 0, (t->geo->res_mask + 1) * sizeof(uint32_t));
    memset(holder_token_bucket(t, shard, 0), 0, buckets * sizeof(uint32_t));
    memset((uint32_t *)(t->base + t->geo->pair_buckets) + shard * buckets, 0,
           buckets * sizeof(uint32_t));
    for (uint32_t o = 1; o <= t->geo->nowners; o++) {
        /* Look before storing: most slots were never touched, and stay without memory. */
        if (t->owners[o].held[shard])
            t->owners[o].held[shard] = 0;
        if (t->owners[o].tombs[shard])
            t->owners[o].tombs[shard] = 0;
    }
    memset(s->pending, 0, sizeof(s->pending));
    memset(&s->wheel, 0, sizeof(s->wheel));
    s->journal.count = 0;
    if (s->ticket_next == 0)
        s->ticket_next = 1; /* I3 counts from 1 */
    s->starved = 0;
    s->res_free = s->res_count = 0;
    s->idle_head = s->idle_tail = 0;
    __atomic_store_n(&s->idle_oldest, TIME_NEVER, __ATOMIC_RELAXED);
    __atomic_store_n(&t->next_due[shard], TIME_NEVER, __ATOMIC_RELAXED);
    s->partial = s->nchunks = s->nfree = s->nidle = 0;
    memset(s->nheld, 0, sizeof(s->nheld));
    memset(s->nwaiting, 0, sizeof(s->nwaiting));
    if (s->res_bump > t->geo->res_per_shard)
        s->res_bump = t->geo->res_per_shard;
}

static void rebuild_resources(struct table *t, uint32_t shard, struct shard *s)
{
    for (uint32_t i = s->res_bump; i >= 1; i--) {
        struct resource *r = table_resource(t, shard, i);
        uint32_t *bucket;

        r->nholders = r->nwaiters = r->ntombs = 0;
        r->holders = r->q_head = r->q_tail = 0;
        r->idle_prev = r->idle_next = 0;
        r->spare = 0;
        if (!loss_resource_possible(r, shard)) {
            r->state = RES_FREE;
            r->next = s->res_free;
            s->res_free = i;
            continue;
        }
        bucket = keymap_bucket(t, shard, r->hash);
        r->next = *bucket;
        *bucket = i;
        s->res_count++;
    }
}

/* Ground truth that cannot be true is dropped here, so that what follows may trust it. */
static bool node_possible(struct table *t, uint32_t shard, const struct shard *s, struct node *n)
{
    if (n->state < NODE_WAITING || n->state > NODE_LAPSED || n->res < 1 || n->res > s->res_bump ||
        table_resource(t, shard, n->res)->state == RES_FREE)
        return false;
    if (n->owner && (n->owner > t->geo->nowners || t->owners[n->owner].id != n->conn_id ||
                     owners_worker(t, n->owner) >= WORKER_MAX)) {
        /* In this order: a second run must see an owner that is none, or the mark. */
        n->flags = NODE_KEPT;
        JOURNAL_BARRIER();
        n->owner = 0;
    }
    if (!n->owner) {
        if (n->state != NODE_HELD)
            return false;
        n->flags &= NODE_KEPT;
        return true;
    }
    n->flags &= (uint8_t)~NODE_KEPT;
    if (n->state == NODE_WAITING)
        n->flags &= NODE_BLOCKED | NODE_TWO_PHASE;
    else if (n->flags & NODE_BLOCKED)
        n->flags |= NODE_TELL;
    else
        n->flags &= (uint8_t)~NODE_TELL;
    return n->state != NODE_LAPSED || (n->flags & (NODE_TELL | NODE_TWO_PHASE));
}

static void link_owner(struct table *t, uint32_t shard, uint32_t node)
{
    struct node *n = table_node(t, node);
    struct owner *o = &t->owners[n->owner];

    n->own_prev = 0;
    n->own_next = o->held[shard];
    if (n->own_next)
        table_node(t, n->own_next)->own_prev = node;
    o->held[shard] = node;
    if (owners_is_tombstone(n))
        o->tombs[shard]++;
}

static void link_pending(struct table *t, struct shard *s, uint32_t node)
{
    struct node *n = table_node(t, node);
    uint32_t *head = &s->pending[owners_worker(t, n->owner)];

    if (!*head) {
        *head = n->pend_prev = n->pend_next = node;
        return;
    }
    n->pend_next = *head;
    n->pend_prev = table_node(t, *head)->pend_prev;
    table_node(t, n->pend_prev)->pend_next = node;
    table_node(t, *head)->pend_prev = node;
}

static void link_wheel(struct table *t, uint32_t shard, struct shard *s, uint32_t node)
{
    struct node *n = table_node(t, node);
    struct wheel *w = &s->wheel;
    uint32_t slot = (uint32_t)(w->now & 63); /* looked at next, and put where it belongs then */

    n->tw_prev = 0;
    n->tw_next = w->slot[slot];
    n->tw_slot = (uint16_t)(slot + 1);
    if (n->tw_next)
        table_node(t, n->tw_next)->tw_prev = node;
    w->slot[slot] = node;
    w->occupied[0] |= UINT64_C(1) << slot;
    t->next_due[shard] = 0;
}

static void link_node(struct table *t, uint32_t shard, struct shard *s, uint32_t node)
{
    struct node *n = table_node(t, node);
    struct resource *r = table_resource(t, shard, n->res);

    n->tw_slot = 0;
    if (n->state == NODE_WAITING) {
        n->next = r->q_head; /* sorted later */
        r->q_head = node;
        if (n->order >= s->ticket_next)
            s->ticket_next = n->order + 1;
    } else if (n->state == NODE_HELD) {
        n->next = r->holders;
        r->holders = node;
        link_wheel(t, shard, s, node);
        if (r->limit > 1) {
            uint32_t *bucket = holder_token_bucket(t, shard, n->order);

            n->tok_next = *bucket;
            *bucket = node;
        }
    } else {
        r->ntombs++;
    }
    if (n->flags & NODE_TWO_PHASE) {
        uint32_t *bucket = owners_pair_bucket(t, shard, n->conn_id, n->res);

        n->pair_next = *bucket;
        *bucket = node;
    }
    if (n->owner)
        link_owner(t, shard, node);
    if (n->flags & NODE_TELL)
        link_pending(t, s, node);
}

static void rebuild_chunk(struct table *t, uint32_t shard, struct shard *s, uint32_t c)
{
    struct chunk *ch = table_chunk(t, c);

    /* All are looked at, for `bump` may be what was scribbled over: unused ones say FREE. */
    ch->bump = CHUNK_NODES;
    ch->linked = 1;
    ch->free_head = 0;
    ch->nfree = 0;
    ch->prev = ch->next = 0;
    for (uint32_t i = CHUNK_NODES; i >= 1; i--) {
        struct node *n = &ch->node[i - 1];
        uint32_t node = c * CHUNK_NODES + i;

        if (node_possible(t, shard, s, n)) {
            link_node(t, shard, s, node);
        } else {
            n->state = NODE_FREE;
            n->next = ch->free_head;
            ch->free_head = node;
            ch->nfree++;
        }
    }
    s->nchunks++;
    s->nfree += ch->nfree;
    if (ch->nfree) {
        ch->next = s->partial;
        if (ch->next)
            table_chunk(t, ch->next - 1)->prev = c + 1;
        s->partial = c + 1;
    }
}

static void back_links(struct table *t, uint32_t head, uint32_t *tail, uint32_t *count)
{
    uint32_t prev = 0;

    *count = 0;
    for (uint32_t i = head; i; i = table_node(t, i)->next) {
        table_node(t, i)->prev = prev;
        prev = i;
        ++*count;
    }
    if (tail)
        *tail = prev;
}

static void finish_resources(struct table *t, uint32_t shard, struct shard *s)
{
    uint32_t prev = 0;

    for (uint32_t i = 1; i <= s->res_bump; i++) {
        struct resource *r = table_resource(t, shard, i);

        if (r->state == RES_FREE)
            continue;
        r->q_head = sort(t, shard, &by_order, r->q_head);
        back_links(t, r->q_head, &r->q_tail, &r->nwaiters);
        back_links(t, r->holders, NULL, &r->nholders);
        s->nwaiting[table_count_of(r)] += r->nwaiters;
        s->nheld[table_count_of(r)] += r->nholders;
        if (r->nwaiters && r->nholders < r->limit && !s->starved) {
            s->starved = i; /* a holder that was dropped, or no fences: granted by expiry */
            t->next_due[shard] = 0;
        }
        if (r->nholders || r->nwaiters || r->ntombs) {
            r->state = RES_LIVE;
        } else {
            r->state = RES_IDLE;
            r->idle_next = s->idle_head;
            s->idle_head = i;
            s->nidle++;
        }
    }
    s->idle_head = sort(t, shard, &by_age, s->idle_head);
    for (uint32_t i = s->idle_head; i; i = table_resource(t, shard, i)->idle_next) {
        table_resource(t, shard, i)->idle_prev = prev;
        prev = i;
    }
    s->idle_tail = prev;
    if (s->idle_head)
        __atomic_store_n(&s->idle_oldest, table_resource(t, shard, s->idle_head)->last_active,
                         __ATOMIC_RELAXED);
}

int repair_rebuild(struct table *t, uint32_t shard, struct check_report *report)
{
    struct shard *s = table_shard(t, shard);

    if (s->state != SHARD_REBUILDING && loss_certain(t, shard, report)) {
        *(volatile uint32_t *)&s->state = SHARD_QUARANTINED;
        return report->invariant;
    }
    *(volatile uint32_t *)&s->state = SHARD_REBUILDING;
    JOURNAL_BARRIER();
    journal_hook();
    clear(t, shard, s);
    journal_hook();
    rebuild_resources(t, shard, s);
    journal_hook();
    for (uint32_t c = 0; c < t->geo->nchunks; c++) {
        if (pool_has(t, shard, c)) {
            rebuild_chunk(t, shard, s, c);
            journal_hook();
        }
    }
    finish_resources(t, shard, s);
    journal_hook();
    JOURNAL_BARRIER();
    if (check_shard(t, shard, report) != 0) {
        *(volatile uint32_t *)&s->state = SHARD_QUARANTINED;
        return report->invariant;
    }
    *(volatile uint32_t *)&s->state = SHARD_OK;
    return 0;
}
