/*
 * core/spare.c - see spare.h. The shard's mutex is held.
 */
#include "core/spare.h"

#include "core/journal.h"
#include "core/leases.h"
#include "core/pool.h"

bool spare_wanted(const struct resource *r)
{
    return r->limit == 1 && !r->q_head && !r->spare;
}

void spare_keep(struct tx *tx, uint32_t res, uint32_t node)
{
    struct node *n = table_node(tx->t, node);

    SET(tx, n->state, NODE_SPARE);
    if (n->flags)
        SET(tx, n->flags, 0);
    SET(tx, table_resource(tx->t, tx->shard, res)->spare, node);
}

uint32_t spare_take(struct tx *tx, uint32_t res)
{
    struct resource *r = table_resource(tx->t, tx->shard, res);
    uint32_t node = r->spare;

    if (node)
        SET(tx, r->spare, 0);
    return node;
}

void spare_drop(struct tx *tx, uint32_t res)
{
    uint32_t node = spare_take(tx, res);

    if (!node)
        return;
    leases_remove(tx, node);
    pool_free(tx, node);
}

bool spare_possible(const struct table *t, uint32_t shard, uint32_t node)
{
    const struct node *n = table_node(t, node);

    return n->state == NODE_SPARE && !n->owner && !n->flags && n->res >= 1 &&
           n->res <= table_shard(t, shard)->res_bump && n->res <= t->geo->res_per_shard &&
           table_resource(t, shard, n->res)->spare == node;
}
