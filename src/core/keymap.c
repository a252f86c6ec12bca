/*
 * core/keymap.c - key → resource. The shard's mutex is held.
 *
 * A shard has its own array of resource slots, 16 standard deviations larger than its fair share
 * of max-locks: keys are spread by a keyed hash, so it cannot overflow before the cap is hit.
 * Key bytes are written into a slot before it is linked and are not journalled.
 */
#include "core/keymap.h"

#include "core/journal.h"
#include "core/spare.h"

#include <string.h>

uint32_t *keymap_bucket(const struct table *t, uint32_t shard, uint64_t hash)
{
    return (uint32_t *)(t->base + t->geo->buckets) + (uint64_t)shard * (t->geo->res_mask + 1) +
           (hash & t->geo->res_mask);
}

static char *key_place(const struct table *t, uint32_t shard, uint32_t res, uint32_t len)
{
    if (len <= KEY_INLINE)
        return table_resource(t, shard, res)->key;
    return t->base + t->geo->long_keys +
           ((uint64_t)shard * (t->geo->res_per_shard + 1) + res) * KEY_MAX;
}

const char *table_key_bytes(const struct table *t, uint32_t shard, uint32_t res)
{
    return key_place(t, shard, res, table_resource(t, shard, res)->key_len);
}

uint32_t table_find(const struct tx *tx, const struct table_key *key)
{
    uint32_t i = *keymap_bucket(tx->t, tx->shard, key->hash);

    while (i) {
        const struct resource *r = table_resource(tx->t, tx->shard, i);

        if (r->hash == key->hash && r->key_len == key->len && r->kind == key->kind &&
            memcmp(table_key_bytes(tx->t, tx->shard, i), key->bytes, key->len) == 0)
            return i;
        i = r->next;
    }
    return 0;
}

uint32_t keymap_create(struct tx *tx, const struct table_key *key, uint32_t limit)
{
    uint32_t i = tx->s->res_free;
    uint32_t *bucket;
    struct resource *r;

    if (!i && tx->s->res_bump == tx->t->geo->res_per_shard)
        return 0;
    if (i) {
        SET(tx, tx->s->res_free, table_resource(tx->t, tx->shard, i)->next);
    } else {
        i = tx->s->res_bump + 1;
        SET(tx, tx->s->res_bump, i);
    }
    r = table_resource(tx->t, tx->shard, i);
    memcpy(key_place(tx->t, tx->shard, i, key->len), key->bytes, key->len);
    JOURNAL_BARRIER();
    bucket = keymap_bucket(tx->t, tx->shard, key->hash);
    SET(tx, r->hash, key->hash);
    SET(tx, r->last_active, tx->now);
    SET(tx, r->limit, limit);
    SET(tx, r->nholders, 0);
    SET(tx, r->nwaiters, 0);
    SET(tx, r->ntombs, 0);
    SET(tx, r->holders, 0);
    SET(tx, r->q_head, 0);
    SET(tx, r->q_tail, 0);
    SET(tx, r->spare, 0);
    SET(tx, r->key_len, key->len);
    SET(tx, r->kind, key->kind);
    SET(tx, r->state, RES_LIVE);
    SET(tx, r->next, *bucket);
    SET(tx, *bucket, i);
    SET(tx, tx->s->res_count, tx->s->res_count + 1);
    SET(tx, *tx->reserved, *tx->reserved - 1);
    return i;
}

static void idle_push(struct tx *tx, uint32_t res)
{
    struct resource *r = table_resource(tx->t, tx->shard, res);
    uint32_t tail = tx->s->idle_tail;
    uint64_t since = tx->now;

    /* Workers read the clock once a batch, so one may be behind another; the list stays in order
       all the same (I14). */
    if (tail && table_resource(tx->t, tx->shard, tail)->last_active > since)
        since = table_resource(tx->t, tx->shard, tail)->last_active;
    SET(tx, r->state, RES_IDLE);
    SET(tx, r->last_active, since);
    SET(tx, r->idle_prev, tail);
    SET(tx, r->idle_next, 0);
    if (tail) {
        SET(tx, table_resource(tx->t, tx->shard, tail)->idle_next, res);
    } else {
        SET(tx, tx->s->idle_head, res);
        SET(tx, tx->s->idle_oldest, since);
    }
    SET(tx, tx->s->idle_tail, res);
    SET(tx, tx->s->nidle, tx->s->nidle + 1);
}

static void idle_remove(struct tx *tx, uint32_t res)
{
    struct resource *r = table_resource(tx->t, tx->shard, res);

    if (r->idle_next)
        SET(tx, table_resource(tx->t, tx->shard, r->idle_next)->idle_prev, r->idle_prev);
    else
        SET(tx, tx->s->idle_tail, r->idle_prev);
    if (r->idle_prev) {
        SET(tx, table_resource(tx->t, tx->shard, r->idle_prev)->idle_next, r->idle_next);
    } else {
        uint32_t head = r->idle_next;

        SET(tx, tx->s->idle_head, head);
        SET(tx, tx->s->idle_oldest,
            head ? table_resource(tx->t, tx->shard, head)->last_active : TIME_NEVER);
    }
    SET(tx, tx->s->nidle, tx->s->nidle - 1);
    SET(tx, r->state, RES_LIVE);
}

void keymap_settle(struct tx *tx, uint32_t res)
{
    struct resource *r = table_resource(tx->t, tx->shard, res);
    bool idle = r->nholders == 0 && r->nwaiters == 0 && r->ntombs == 0;

    if (idle && r->state == RES_LIVE)
        idle_push(tx, res);
    else if (!idle && r->state == RES_IDLE)
        idle_remove(tx, res);
}

bool table_collect(struct tx *tx, uint64_t before)
{
    uint32_t i = tx->s->idle_head;
    struct resource *r;
    uint32_t *link;

    if (!i)
        return false;
    r = table_resource(tx->t, tx->shard, i);
    if (r->last_active > before)
        return false;
    /* First: who finds nothing idle (it looks without a lock) must find the unit in a hand. */
    SET(tx, *tx->reserved, *tx->reserved + 1);
    spare_drop(tx, i);
    idle_remove(tx, i);
    link = keymap_bucket(tx->t, tx->shard, r->hash);
    while (*link != i)
        link = &table_resource(tx->t, tx->shard, *link)->next;
    SET(tx, *link, r->next);
    SET(tx, r->state, RES_FREE);
    SET(tx, r->next, tx->s->res_free);
    SET(tx, tx->s->res_free, i);
    SET(tx, tx->s->res_count, tx->s->res_count - 1);
    return true;
}
