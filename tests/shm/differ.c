/*
 * tests/shm/differ.c - see differ.h. Reads both regions by their structs: nothing of what makes a
 * dump.
 */
#include "tests/shm/differ.h"

#include "shm/caps.h"
#include "shm/conns.h"
#include "shm/lock.h"
#include "tests/tap.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static char difference[300];

static bool differs(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static bool differs(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(difference, sizeof(difference), fmt, args);
    va_end(args);
    return true;
}

struct pair {
    struct region *a, *b;
    struct table ta, tb;
    const uint32_t *slot;
    bool fences;
};

static void attach(struct table *t, struct region *r)
{
    memset(t, 0, sizeof(*t));
    table_attach(t, r, &r->geo);
    t->fence_next = &r->fence_next;
    t->fence_limit = &r->fence_limit;
    t->down_since = r->down_since;
}

static bool node_differs(const struct pair *p, uint32_t in_a, uint32_t in_b)
{
    const struct node *a = table_node(&p->ta, in_a), *b = table_node(&p->tb, in_b);
    uint32_t owner = a->owner ? p->slot[a->owner] : 0;
    bool held = a->state == NODE_HELD;

    if (a->conn_id != b->conn_id || owner != b->owner || a->state != b->state ||
        a->flags != b->flags || a->lease != b->lease || a->since != b->since ||
        (held && a->end != b->end) || (p->fences && a->order != b->order) ||
        (p->fences && held && a->salt != b->salt))
        return differs("node %u (state %u flags %u owner %u) and %u (state %u flags %u owner %u)",
                       in_a, a->state, a->flags, owner, in_b, b->state, b->flags, b->owner);
    if ((a->flags & NODE_BLOCKED) && conns_slot(p->a, a->owner)->phase == PHASE_BLOCKED &&
        (conns_slot(p->b, owner)->blocked != in_b ||
         conns_slot(p->b, owner)->blocked_shard + 1 != p->tb.chunk_owner[(in_b - 1) / CHUNK_NODES]))
        return differs("connection %u is blocked on another node", owner);
    return false;
}

static bool list_differs(const struct pair *p, uint32_t a, uint32_t b)
{
    for (; a && b; a = table_node(&p->ta, a)->next, b = table_node(&p->tb, b)->next)
        if (node_differs(p, a, b))
            return true;
    return a || b ? differs("lists of different lengths") : false;
}

static uint32_t find(const struct pair *p, uint32_t shard, uint32_t res, struct tx *tx)
{
    const struct resource *r = table_resource(&p->ta, shard, res);
    struct table_key key = {
        .bytes = table_key_bytes(&p->ta, shard, res), .len = r->key_len, .kind = r->kind};

    key.hash = region_key_hash(p->b, r->kind, key.bytes, key.len);
    tx->t = (struct table *)&p->tb;
    tx->shard = table_shard_of(key.hash);
    return table_find(tx, &key);
}

static bool resource_differs(const struct pair *p, uint32_t shard, uint32_t res, bool *gone)
{
    const struct resource *a = table_resource(&p->ta, shard, res), *b;
    struct tx tx;
    uint32_t in_b = find(p, shard, res, &tx);

    *gone = !in_b;
    if (!in_b)
        return a->state == RES_LIVE && differs("key %u of shard %u is missing", res, shard);
    b = table_resource(&p->tb, tx.shard, in_b);
    if (a->limit != b->limit || a->last_active != b->last_active || a->state != b->state ||
        a->nholders != b->nholders || a->nwaiters != b->nwaiters || a->ntombs != b->ntombs)
        return differs("key %u of shard %u: limit %u/%u last_active %llu/%llu state %u/%u", res,
                       shard, a->limit, b->limit, (unsigned long long)a->last_active,
                       (unsigned long long)b->last_active, a->state, b->state);
    return list_differs(p, a->holders, b->holders) || list_differs(p, a->q_head, b->q_head);
}

/* Each lapsed node of a has its like in b. There are as many: the keys' counts agree. */
static bool lapsed_differs(const struct pair *p)
{
    for (uint32_t i = 1; i <= p->a->geo.nchunks * CHUNK_NODES; i++) {
        const struct node *a = table_node(&p->ta, i);
        bool found = false;
        struct tx tx;
        uint32_t res;

        if (!p->ta.chunk_owner[(i - 1) / CHUNK_NODES] || a->state != NODE_LAPSED ||
            (i - 1) % CHUNK_NODES >= table_chunk(&p->ta, (i - 1) / CHUNK_NODES)->bump)
            continue;
        res = find(p, p->ta.chunk_owner[(i - 1) / CHUNK_NODES] - 1, a->res, &tx);
        for (uint32_t k = p->tb.owners[p->slot[a->owner]].held[tx.shard]; k && !found;
             k = table_node(&p->tb, k)->own_next)
            found = table_node(&p->tb, k)->state == NODE_LAPSED &&
                    table_node(&p->tb, k)->res == res && !node_differs(p, i, k);
        if (!found)
            return differs("lapsed node %u is missing", i);
    }
    return false;
}

static bool rings_differ(const struct pair *p, const struct conn *a, const struct conn *b)
{
    uint32_t size = conns_in_size(a) < conns_in_size(b) ? conns_in_size(a) : conns_in_size(b);

    if (!a->iobuf != !b->iobuf || !a->bigbuf != !b->bigbuf)
        return true;
    if (!a->iobuf)
        return false;
    for (uint64_t i = a->in_head; i < a->in_head + size; i++)
        if (conns_in(p->a, a)[i & (conns_in_size(a) - 1)] !=
            conns_in(p->b, b)[i & (conns_in_size(b) - 1)])
            return true;
    for (uint64_t i = a->out_head; i < a->out_tail; i++)
        if (conns_out(p->a, a)[i & (IOBUF_OUT - 1)] != conns_out(p->b, b)[i & (IOBUF_OUT - 1)])
            return true;
    return false;
}

static bool conn_differs(const struct pair *p, uint32_t slot)
{
    const struct conn *a = conns_slot(p->a, slot), *b = conns_slot(p->b, p->slot[slot]);
    struct conn x = *a, y = *b;

    if (rings_differ(p, a, b) || p->tb.owners[p->slot[slot]].id != a->id ||
        p->tb.owners[p->slot[slot]].worker != a->worker)
        return differs("connection %u: rings or owner", slot);
    /* What is compared elsewhere; the rest to the last byte. */
    x.iobuf = y.iobuf = x.bigbuf = y.bigbuf = 0;
    x.blocked = y.blocked = x.blocked_shard = y.blocked_shard = 0;
    return memcmp(&x, &y, sizeof(x)) != 0 ? differs("connection %u: fields", slot) : false;
}

static bool worker_differs(const struct pair *p, uint32_t i)
{
    const struct worker_slot *a = region_worker(p->a, i), *b = region_worker(p->b, i);
    uint32_t serving = a->serving & ~SERVING_EXECUTES;

    serving = serving ? p->slot[serving] | (a->serving & SERVING_EXECUTES) : 0;
    return (a->generation != b->generation || a->settled != b->settled ||
            a->started != b->started || a->deaths != b->deaths || serving != b->serving ||
            a->died != b->died || a->counted != b->counted || a->fence_seen != b->fence_seen ||
            memcmp(&a->counters, &b->counters, sizeof(a->counters)) != 0 ||
            p->a->down_since[i] != p->b->down_since[i]) &&
           differs("worker %u", i);
}

static bool master_differs(const struct pair *p)
{
    return memcmp(&p->a->master, &p->b->master, sizeof(p->a->master)) != 0 &&
           differs("counters of the master");
}

static bool invalid(const struct pair *p)
{
    struct check_report report = {0};
    uint32_t resources = 0;

    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        if (check_shard(&p->tb, i, &report) != 0 || !lock_keys_whole(p->b, &p->tb, i, &report))
            return differs("shard %u: I%d at %u: %s", i, report.invariant, report.index,
                           report.what);
        resources += table_shard(&p->tb, i)->res_count;
    }
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        resources += region_worker(p->b, i)->units.reserved;
    if (resources + caps_free(p->b) != p->b->geo.max_locks)
        return differs("units of max-locks: %u used, %u free", resources, caps_free(p->b));
    for (uint32_t i = 1; i <= p->b->max_conns; i++)
        if (conns_slot(p->b, i)->state != CONN_FREE && !conns_possible(p->b, i))
            return differs("connection %u is impossible", i);
    return false;
}

const char *differ_invalid(struct region *r)
{
    struct pair p = {.b = r};

    attach(&p.tb, r);
    return invalid(&p) ? difference : NULL;
}

static bool words_differ(const struct pair *p)
{
    return (p->a->fence_next != p->b->fence_next || p->a->fence_limit != p->b->fence_limit ||
            p->a->conn_id_next != p->b->conn_id_next || p->a->draining != p->b->draining ||
            p->a->created != p->b->created || p->a->nconns != p->b->nconns) &&
           differs("words of the region");
}

const char *differ_find(struct region *a, struct region *b, const uint32_t *slot, bool fences)
{
    struct pair p = {.a = a, .b = b, .slot = slot, .fences = fences};
    uint64_t missing = 0, idle = 0;

    attach(&p.ta, a);
    attach(&p.tb, b);
    if (invalid(&p) || (fences && words_differ(&p)) || lapsed_differs(&p) ||
        master_differs(&p))
        return difference;
    for (uint32_t slot_a = 1; slot_a <= a->max_conns; slot_a++)
        if (conns_slot(a, slot_a)->state != CONN_FREE && conn_differs(&p, slot_a))
            return difference;
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        if (worker_differs(&p, i))
            return difference;
    for (uint32_t shard = 0; shard < SHARD_COUNT; shard++) {
        for (uint32_t res = 1; res <= table_shard(&p.ta, shard)->res_bump; res++) {
            bool gone;

            if (table_resource(&p.ta, shard, res)->state == RES_FREE)
                continue;
            if (resource_differs(&p, shard, res, &gone))
                return difference;
            missing += gone;
        }
        idle += table_shard(&p.ta, shard)->res_count;
        idle -= table_shard(&p.tb, shard)->res_count;
    }
    /* Idle ones may have been collected; then there is no room, and nothing else is there. */
    if (idle != missing || (missing && caps_free(b)))
        return differs("%llu keys are missing", (unsigned long long)missing), difference;
    return NULL;
}
