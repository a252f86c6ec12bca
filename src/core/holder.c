/*
 * core/holder.c - holders and the token index. The shard's mutex is held.
 *
 * A resource of limit 1 needs no index: its only holder is compared. Limits never change while a
 * resource exists, so a node is in the index exactly when its resource's limit is above 1.
 */
#include "core/holder.h"

#include "core/journal.h"

uint32_t *holder_token_bucket(const struct table *t, uint32_t shard, uint64_t fence)
{
    /* Fences count up and are ours to choose, so their low bits spread by themselves. */
    return (uint32_t *)(t->base + t->geo->tok_buckets) +
           (uint64_t)shard * (t->geo->node_mask + 1) + (fence & t->geo->node_mask);
}

void holder_push(struct tx *tx, struct resource *r, uint32_t node)
{
    struct node *n = table_node(tx->t, node);
    uint32_t head = r->holders;

    SET(tx, n->prev, 0);
    SET(tx, n->next, head);
    if (head)
        SET(tx, table_node(tx->t, head)->prev, node);
    SET(tx, r->holders, node);
    SET(tx, r->nholders, r->nholders + 1);
    SET(tx, tx->s->nheld[table_count_of(r)], tx->s->nheld[table_count_of(r)] + 1);
    if (r->limit > 1) {
        uint32_t *bucket = holder_token_bucket(tx->t, tx->shard, n->order);

        SET(tx, n->tok_next, *bucket);
        SET(tx, *bucket, node);
    }
}

void holder_remove(struct tx *tx, struct resource *r, uint32_t node)
{
    struct node *n = table_node(tx->t, node);

    if (n->prev)
        SET(tx, table_node(tx->t, n->prev)->next, n->next);
    else
        SET(tx, r->holders, n->next);
    if (n->next)
        SET(tx, table_node(tx->t, n->next)->prev, n->prev);
    SET(tx, r->nholders, r->nholders - 1);
    SET(tx, tx->s->nheld[table_count_of(r)], tx->s->nheld[table_count_of(r)] - 1);
    if (r->limit > 1) {
        uint32_t *link = holder_token_bucket(tx->t, tx->shard, n->order);

        while (*link != node)
            link = &table_node(tx->t, *link)->tok_next;
        SET(tx, *link, n->tok_next);
    }
}

/* Constant time in what the caller sent: a token is as good as a password for its slot. */
static bool same_token(const struct node *n, uint64_t fence, uint64_t salt)
{
    return ((n->order ^ fence) | (n->salt ^ salt)) == 0;
}

uint32_t holder_find(const struct tx *tx, uint32_t res, uint64_t fence, uint64_t salt)
{
    const struct resource *r = table_resource(tx->t, tx->shard, res);
    uint32_t i;

    if (r->limit == 1)
        return r->holders && same_token(table_node(tx->t, r->holders), fence, salt) ? r->holders
                                                                                    : 0;
    for (i = *holder_token_bucket(tx->t, tx->shard, fence); i;
         i = table_node(tx->t, i)->tok_next) {
        const struct node *n = table_node(tx->t, i);

        if (n->res == res && same_token(n, fence, salt))
            return i;
    }
    return 0;
}
