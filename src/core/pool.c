/*
 * core/pool.c - nodes and chunks. The shard's mutex is held.
 *
 * The pool is the array chunk_owner: 0, or the number of the shard (+1) that claimed the chunk. It
 * is shared by all shards, so it cannot be journalled; a claim or a return is made crash-safe by
 * the word shard->moving, stored before the pool is touched:
 *   claim   moving = c, then owner[c]: 0 → me by CAS, then the journalled link (chunk->linked = 1)
 *   return  moving = c, then the journalled unlink (linked = 0), commit, then owner[c] → 0
 * Whatever the point of death, after the rollback or commit `linked` says which side won, and
 * pool_settle() makes owner[c] agree: mine and not linked goes back to the pool. It is idempotent.
 */
#include "core/pool.h"

#include "core/journal.h"

static void partial_push(struct tx *tx, uint32_t c)
{
    struct chunk *ch = table_chunk(tx->t, c);
    uint32_t head = tx->s->partial;

    SET(tx, ch->prev, 0);
    SET(tx, ch->next, head);
    if (head)
        SET(tx, table_chunk(tx->t, head - 1)->prev, c + 1);
    SET(tx, tx->s->partial, c + 1);
}

static void partial_remove(struct tx *tx, uint32_t c)
{
    struct chunk *ch = table_chunk(tx->t, c);

    if (ch->prev)
        SET(tx, table_chunk(tx->t, ch->prev - 1)->next, ch->next);
    else
        SET(tx, tx->s->partial, ch->next);
    if (ch->next)
        SET(tx, table_chunk(tx->t, ch->next - 1)->prev, ch->prev);
}

static void moving_store(struct shard *s, uint32_t value)
{
    JOURNAL_BARRIER();
    *(volatile uint32_t *)&s->moving = value;
    JOURNAL_BARRIER();
    journal_hook();
}

/* Chunk number + 1, 0 when the pool is empty. */
static uint32_t claim(struct tx *tx)
{
    uint32_t total = tx->t->geo->nchunks;
    uint32_t c = (uint32_t)((uint64_t)total * tx->shard / SHARD_COUNT);

    /* Each shard starts to look in a part of its own, so that claims rarely meet. */
    for (uint32_t looked = 0; looked < total; looked++, c = c + 1 == total ? 0 : c + 1) {
        uint32_t nobody = 0;
        struct chunk *ch;

        if (__atomic_load_n(&tx->t->chunk_owner[c], __ATOMIC_RELAXED) != 0)
            continue;
        moving_store(tx->s, c + 1);
        if (!__atomic_compare_exchange_n(&tx->t->chunk_owner[c], &nobody, tx->shard + 1, false,
                                         __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            continue;
        journal_hook();
        ch = table_chunk(tx->t, c);
        SET(tx, ch->free_head, 0);
        SET(tx, ch->bump, 0);
        SET(tx, ch->nfree, CHUNK_NODES);
        SET(tx, ch->linked, 1);
        partial_push(tx, c);
        SET(tx, tx->s->nchunks, tx->s->nchunks + 1);
        SET(tx, tx->s->nfree, tx->s->nfree + CHUNK_NODES);
        return c + 1;
    }
    moving_store(tx->s, 0);
    return 0;
}

uint32_t pool_alloc(struct tx *tx)
{
    uint32_t c = tx->s->partial;
    struct chunk *ch;
    uint32_t n;

    if (!c) {
        c = claim(tx);
        if (!c)
            return 0;
    }
    c--;
    ch = table_chunk(tx->t, c);
    if (ch->free_head) {
        n = ch->free_head;
        SET(tx, ch->free_head, table_node(tx->t, n)->next);
    } else {
        n = c * CHUNK_NODES + ch->bump + 1;
        SET(tx, ch->bump, ch->bump + 1);
    }
    SET(tx, ch->nfree, ch->nfree - 1);
    SET(tx, tx->s->nfree, tx->s->nfree - 1);
    if (ch->nfree == 0)
        partial_remove(tx, c);
    return n;
}

void pool_free(struct tx *tx, uint32_t node)
{
    uint32_t c = (node - 1) / CHUNK_NODES;
    struct chunk *ch = table_chunk(tx->t, c);
    struct node *n = table_node(tx->t, node);

    SET(tx, n->state, NODE_FREE);
    SET(tx, n->next, ch->free_head);
    SET(tx, ch->free_head, node);
    SET(tx, ch->nfree, ch->nfree + 1);
    SET(tx, tx->s->nfree, tx->s->nfree + 1);
    if (ch->nfree == 1)
        partial_push(tx, c);
    /* Keep a chunk's worth of free nodes: a shard that hovers at a border would claim and return
       all the time. One chunk moves at a time. */
    if (ch->nfree == CHUNK_NODES && tx->s->nfree >= 2 * CHUNK_NODES && !tx->s->moving) {
        moving_store(tx->s, c + 1);
        partial_remove(tx, c);
        SET(tx, ch->linked, 0);
        SET(tx, tx->s->nchunks, tx->s->nchunks - 1);
        SET(tx, tx->s->nfree, tx->s->nfree - CHUNK_NODES);
    }
}

void pool_settle(struct table *t, uint32_t shard)
{
    struct shard *s = table_shard(t, shard);
    uint32_t c = s->moving;

    if (!c)
        return;
    c--;
    if (c < t->geo->nchunks &&
        __atomic_load_n(&t->chunk_owner[c], __ATOMIC_ACQUIRE) == shard + 1 &&
        !table_chunk(t, c)->linked)
        __atomic_store_n(&t->chunk_owner[c], 0, __ATOMIC_RELEASE);
    journal_hook();
    moving_store(s, 0);
}
