/*
 * core/owners.c - the owner's side of a node. The shard's mutex is held.
 *
 * The pending list is circular: its head's pend_prev is the tail, so it appends in O(1) without a
 * tail word for each of the 64 workers, and grants are delivered in the order they were made.
 */
#include "core/owners.h"

#include "core/journal.h"

void owners_link(struct tx *tx, uint32_t owner, uint32_t node)
{
    struct owner *o = &tx->t->owners[owner];
    struct node *n = table_node(tx->t, node);
    uint32_t head = o->held[tx->shard];

    SET(tx, n->owner, owner);
    SET(tx, n->conn_id, o->id);
    SET(tx, n->own_prev, 0);
    SET(tx, n->own_next, head);
    if (head)
        SET(tx, table_node(tx->t, head)->own_prev, node);
    SET(tx, o->held[tx->shard], node);
}

void owners_unlink(struct tx *tx, uint32_t node)
{
    struct node *n = table_node(tx->t, node);

    if (!n->owner)
        return;
    if (n->own_prev)
        SET(tx, table_node(tx->t, n->own_prev)->own_next, n->own_next);
    else
        SET(tx, tx->t->owners[n->owner].held[tx->shard], n->own_next);
    if (n->own_next)
        SET(tx, table_node(tx->t, n->own_next)->own_prev, n->own_prev);
    SET(tx, n->owner, 0);
}

uint32_t *owners_pair_bucket(const struct table *t, uint32_t shard, uint64_t conn_id, uint32_t res)
{
    /* Both are numbers that the server gave: nothing for a client to aim with. */
    uint64_t mixed = (conn_id * 0x9e3779b97f4a7c15u) ^ ((uint64_t)res * 0xc2b2ae3d27d4eb4fu);

    return (uint32_t *)(t->base + t->geo->pair_buckets) +
           (uint64_t)shard * (t->geo->node_mask + 1) + ((mixed >> 32) & t->geo->node_mask);
}

void owners_pair_insert(struct tx *tx, uint32_t node)
{
    struct node *n = table_node(tx->t, node);
    uint32_t *bucket = owners_pair_bucket(tx->t, tx->shard, n->conn_id, n->res);

    SET(tx, n->flags, n->flags | NODE_TWO_PHASE);
    SET(tx, n->pair_next, *bucket);
    SET(tx, *bucket, node);
}

void owners_pair_remove(struct tx *tx, uint32_t node)
{
    struct node *n = table_node(tx->t, node);
    uint32_t *link;

    if (!(n->flags & NODE_TWO_PHASE))
        return;
    link = owners_pair_bucket(tx->t, tx->shard, n->conn_id, n->res);
    while (*link != node)
        link = &table_node(tx->t, *link)->pair_next;
    SET(tx, *link, n->pair_next);
    SET(tx, n->flags, n->flags & ~NODE_TWO_PHASE);
}

uint32_t owners_pair_find(const struct tx *tx, uint32_t owner, uint32_t res)
{
    uint64_t id = tx->t->owners[owner].id;
    uint32_t i = *owners_pair_bucket(tx->t, tx->shard, id, res);

    for (; i; i = table_node(tx->t, i)->pair_next) {
        const struct node *n = table_node(tx->t, i);

        if (n->conn_id == id && n->res == res)
            return i;
    }
    return 0;
}

void owners_tell(struct tx *tx, uint32_t node)
{
    struct node *n = table_node(tx->t, node);
    uint32_t worker = owners_worker(tx->t, n->owner);
    uint32_t head = tx->s->pending[worker];

    SET(tx, n->flags, n->flags | NODE_TELL);
    if (head) {
        struct node *first = table_node(tx->t, head);
        uint32_t tail = first->pend_prev;

        SET(tx, n->pend_prev, tail);
        SET(tx, n->pend_next, head);
        SET(tx, table_node(tx->t, tail)->pend_next, node);
        SET(tx, first->pend_prev, node);
    } else {
        SET(tx, n->pend_prev, node);
        SET(tx, n->pend_next, node);
        SET(tx, tx->s->pending[worker], node);
    }
    tx->tell |= UINT64_C(1) << worker;
}

void owners_told(struct tx *tx, uint32_t node)
{
    struct node *n = table_node(tx->t, node);
    uint32_t worker;

    if (!(n->flags & NODE_TELL))
        return;
    worker = owners_worker(tx->t, n->owner);
    if (n->pend_next == node) {
        SET(tx, tx->s->pending[worker], 0);
    } else {
        SET(tx, table_node(tx->t, n->pend_prev)->pend_next, n->pend_next);
        SET(tx, table_node(tx->t, n->pend_next)->pend_prev, n->pend_prev);
        if (tx->s->pending[worker] == node)
            SET(tx, tx->s->pending[worker], n->pend_next);
    }
    SET(tx, n->flags, n->flags & ~NODE_TELL);
}

void owners_count_lapsed(struct tx *tx, uint32_t node, int by)
{
    const struct node *n = table_node(tx->t, node);
    struct resource *r = table_resource(tx->t, tx->shard, n->res);
    uint32_t *tombs = &tx->t->owners[n->owner].tombs[tx->shard];

    SET(tx, r->ntombs, r->ntombs + (uint32_t)by);
    if (owners_is_tombstone(n))
        SET(tx, *tombs, *tombs + (uint32_t)by);
}
