/*
 * core/queue.c - a resource's FIFO. The shard's mutex is held. O(1) each.
 */
#include "core/queue.h"

#include "core/journal.h"

void queue_push(struct tx *tx, struct resource *r, uint32_t node)
{
    struct node *n = table_node(tx->t, node);

    SET(tx, n->prev, r->q_tail);
    SET(tx, n->next, 0);
    if (r->q_tail)
        SET(tx, table_node(tx->t, r->q_tail)->next, node);
    else
        SET(tx, r->q_head, node);
    SET(tx, r->q_tail, node);
    SET(tx, r->nwaiters, r->nwaiters + 1);
    SET(tx, tx->s->nwaiting[table_count_of(r)], tx->s->nwaiting[table_count_of(r)] + 1);
}

void queue_remove(struct tx *tx, struct resource *r, uint32_t node)
{
    struct node *n = table_node(tx->t, node);

    if (n->prev)
        SET(tx, table_node(tx->t, n->prev)->next, n->next);
    else
        SET(tx, r->q_head, n->next);
    if (n->next)
        SET(tx, table_node(tx->t, n->next)->prev, n->prev);
    else
        SET(tx, r->q_tail, n->prev);
    SET(tx, r->nwaiters, r->nwaiters - 1);
    SET(tx, tx->s->nwaiting[table_count_of(r)], tx->s->nwaiting[table_count_of(r)] - 1);
}
