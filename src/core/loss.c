/*
 * core/loss.c - see loss.h. The shard's mutex is held; reads only, allocates nothing, trusts nothing.
 */
#include "core/loss.h"

#include "core/pool.h"
#include "core/spare.h"

bool loss_resource_possible(const struct resource *r, uint32_t shard)
{
    return (r->state == RES_LIVE || r->state == RES_IDLE) && r->limit >= 1 &&
           (r->kind != KIND_LOCK || r->limit == 1) && r->key_len >= 1 &&
           r->key_len <= KEY_MAX && r->kind <= KIND_SEM && table_shard_of(r->hash) == shard;
}

static bool names_resource(const struct table *t, uint32_t shard, const struct node *n)
{
    return n->res >= 1 && n->res <= table_shard(t, shard)->res_bump &&
           n->res <= t->geo->res_per_shard &&
           loss_resource_possible(table_resource(t, shard, n->res), shard);
}

/*
 * A node that says FREE and is not in a free list that is whole: something was written over it.
 * When the chunk's head or list is not whole nothing can be said, and the states are believed.
 */
static bool free_by_mistake(const struct table *t, uint32_t c)
{
    const struct chunk *ch = table_chunk(t, c);
    uint64_t listed = 0, says = 0;

    for (uint32_t i = ch->free_head; i; i = table_node(t, i)->next) {
        uint64_t bit;

        if ((i - 1) / CHUNK_NODES != c || table_node(t, i)->state != NODE_FREE)
            return false;
        bit = UINT64_C(1) << (i - 1) % CHUNK_NODES;
        if (listed & bit)
            return false;
        listed |= bit;
    }
    for (uint32_t i = 0; i < CHUNK_NODES && i < ch->bump; i++)
        says |= (uint64_t)(ch->node[i].state == NODE_FREE) << i;
    return ch->linked == 1 && ch->bump <= CHUNK_NODES && (says & ~listed) != 0 &&
           ch->nfree == (uint32_t)__builtin_popcountll(listed) + CHUNK_NODES - ch->bump;
}

/* Only holders and spares are in the timer wheel: what is linked there and says otherwise was one. */
static bool was_holder(const struct table *t, uint32_t shard, uint32_t node)
{
    const struct wheel *w = &table_shard(t, shard)->wheel;
    const struct node *n = table_node(t, node);
    uint32_t prev = n->tw_prev;

    if (n->state == NODE_HELD || n->tw_slot < 1 || n->tw_slot > WHEEL_LEVELS * 64)
        return false;
    if (prev == 0)
        return w->slot[n->tw_slot - 1] == node;
    return prev <= t->geo->nchunks * CHUNK_NODES && table_node(t, prev)->tw_next == node &&
           table_node(t, prev)->tw_slot == n->tw_slot;
}

static bool is_in_shard(const struct table *t, uint32_t shard, uint32_t node)
{
    return node >= 1 && (node - 1) / CHUNK_NODES < t->geo->nchunks &&
           pool_has(t, shard, (node - 1) / CHUNK_NODES);
}

/* Whether the list of the resource that it names leads to it. */
static bool is_linked(const struct table *t, uint32_t shard, uint32_t node)
{
    const struct node *n = table_node(t, node), *prev;
    const struct resource *r = table_resource(t, shard, n->res);

    if (n->prev == 0)
        return (n->state == NODE_HELD ? r->holders : r->q_head) == node;
    if (!is_in_shard(t, shard, n->prev))
        return false;
    prev = table_node(t, n->prev);
    return prev->next == node && prev->res == n->res && prev->state == n->state;
}

/* The holders, or the queue, of a resource: as many as it says, each of them its own. */
static bool is_whole(const struct table *t, uint32_t shard, uint32_t res, uint8_t state)
{
    const struct resource *r = table_resource(t, shard, res);
    uint32_t left = state == NODE_HELD ? r->nholders : r->nwaiters;
    uint32_t i = state == NODE_HELD ? r->holders : r->q_head, prev = 0;

    /* Where all counts were wiped nothing can be said. */
    if ((r->state == RES_LIVE) != (r->nholders || r->nwaiters || r->ntombs))
        return false;
    for (; i && left; left--) {
        const struct node *n;

        if (!is_in_shard(t, shard, i))
            return false;
        n = table_node(t, i);
        if (n->state != state || n->res != res || n->prev != prev)
            return false;
        prev = i;
        i = n->next;
    }
    return i == 0 && left == 0;
}

/* A holder or waiter of a resource whose own list is whole, and does not have it: it was another's,
   or none. */
static bool is_stranger(const struct table *t, uint32_t shard, uint32_t node)
{
    const struct node *n = table_node(t, node);

    return (n->state == NODE_HELD || n->state == NODE_WAITING) && names_resource(t, shard, n) &&
           !is_linked(t, shard, node) && is_whole(t, shard, n->res, n->state);
}

bool loss_certain(const struct table *t, uint32_t shard, struct check_report *report)
{
    uint32_t claimed = 0;

    for (uint32_t c = 0; c < t->geo->nchunks; c++) {
        if (!pool_has(t, shard, c))
            continue;
        claimed++;
        for (uint32_t i = 0; i < CHUNK_NODES; i++) {
            uint32_t node = c * CHUNK_NODES + i + 1;
            const struct node *n = table_node(t, node);

            if (spare_possible(t, shard, node))
                continue;
            *report = (struct check_report){4, node, "not known what it held"};
            if (n->state > NODE_LAPSED || (n->state == NODE_HELD && !names_resource(t, shard, n)) ||
                was_holder(t, shard, node))
                return true;
            *report = (struct check_report){4, node, "not among those of the key that it names"};
            if (is_stranger(t, shard, node))
                return true;
        }
        *report = (struct check_report){4, c, "a record of this chunk was wiped"};
        if (free_by_mistake(t, c))
            return true;
    }
    *report = (struct check_report){15, claimed, "chunks were lost or gained"};
    return claimed != table_shard(t, shard)->nchunks;
}
