/*
 * core/snapshot.c - see snapshot.h. Runs in whoever moves a table: the master's child that takes it
 * out, the next master before its first fork that puts it in. Nobody else is there, no mutex is
 * held.
 */
#include "core/snapshot.h"

#include "core/holder.h"
#include "core/journal.h"
#include "core/keymap.h"
#include "core/leases.h"
#include "core/owners.h"
#include "core/pool.h"
#include "core/queue.h"

/* Out ----------------------------------------------------------------------------------------- */

bool snapshot_next_resource(const struct table *t, uint32_t shard, uint32_t *cursor,
                            struct snapshot_resource *out)
{
    const struct shard *s = table_shard(t, shard);
    const struct resource *r;

    do {
        if (*cursor >= s->res_bump)
            return false;
        r = table_resource(t, shard, ++*cursor);
    } while (r->state == RES_FREE);
    *out = (struct snapshot_resource){.key = table_key_bytes(t, shard, *cursor),
                                      .key_len = r->key_len,
                                      .limit = r->limit,
                                      .last_active = r->last_active,
                                      .kind = r->kind,
                                      .idle = r->state == RES_IDLE};
    return true;
}

static void take(const struct node *n, struct snapshot_node *out)
{
    *out = (struct snapshot_node){.conn_id = n->conn_id,
                                  .order = n->order,
                                  .salt = n->salt,
                                  .end = n->state == NODE_HELD ? n->end : 0,
                                  .extended = n->state == NODE_HELD ? n->extended : 0,
                                  .lease = n->lease,
                                  .since = n->since,
                                  .owner = n->owner,
                                  .state = n->state,
                                  .flags = n->flags & SNAPSHOT_FLAGS};
    if (n->state == NODE_WAITING)
        out->salt = 0;
}

/* The holder list is newest first, the queue oldest first: both are walked by age. */
static uint32_t next_by_age(const struct table *t, const struct resource *r, uint32_t after)
{
    uint32_t i = r->holders;

    if (after) {
        const struct node *n = table_node(t, after);

        if (n->state == NODE_WAITING)
            return n->next;
        return n->prev ? n->prev : r->q_head;
    }
    if (!i)
        return r->q_head;
    while (table_node(t, i)->next)
        i = table_node(t, i)->next;
    return i;
}

bool snapshot_next_node(const struct table *t, uint32_t shard, uint32_t res, uint32_t *cursor,
                        struct snapshot_node *out)
{
    *cursor = next_by_age(t, table_resource(t, shard, res), *cursor);
    if (!*cursor)
        return false;
    take(table_node(t, *cursor), out);
    return true;
}

bool snapshot_next_lapsed(const struct table *t, uint32_t shard, uint32_t *cursor, uint32_t *res,
                          struct snapshot_node *out)
{
    uint32_t i = *cursor; /* of nodes counted from 0, the next one to look at */

    while (i / CHUNK_NODES < t->geo->nchunks) {
        uint32_t c = i / CHUNK_NODES;
        const struct chunk *ch = table_chunk(t, c);
        const struct node *n = &ch->node[i % CHUNK_NODES];

        if (t->chunk_owner[c] != shard + 1 || i % CHUNK_NODES >= ch->bump) {
            i = (c + 1) * CHUNK_NODES;
            continue;
        }
        i++;
        if (n->state != NODE_LAPSED)
            continue;
        take(n, out);
        *res = n->res;
        *cursor = i;
        return true;
    }
    return false;
}

/* In ------------------------------------------------------------------------------------------ */

enum snapshot_result snapshot_add_resource(struct tx *tx, const struct snapshot_resource *r,
                                           uint64_t hash, uint32_t *res)
{
    struct table_key key = {.hash = hash, .bytes = r->key, .len = r->key_len, .kind = r->kind};
    uint64_t now = tx->now;

    if (r->kind > KIND_SEM || r->key_len < 1 || r->key_len > KEY_MAX || r->limit < 1 ||
        (r->kind == KIND_LOCK && r->limit != 1) || table_find(tx, &key))
        return SNAPSHOT_WRONG;
    if (*tx->reserved == 0)
        return SNAPSHOT_FULL;
    tx->now = r->last_active;
    *res = keymap_create(tx, &key, r->limit);
    tx->now = now;
    return *res ? SNAPSHOT_OK : SNAPSHOT_FULL;
}

static bool owner_possible(const struct table *t, const struct snapshot_node *n)
{
    if (!n->owner) /* only a plain holder may have none */
        return n->state == NODE_HELD && !(n->flags & ~NODE_KEPT);
    return n->owner <= t->geo->nowners && n->conn_id && t->owners[n->owner].id == n->conn_id &&
           owners_worker(t, n->owner) < WORKER_MAX && !(n->flags & NODE_KEPT);
}

/* Whether it may stand behind what the resource has already. */
static bool node_possible(const struct tx *tx, uint32_t res, const struct snapshot_node *n)
{
    const struct resource *r = table_resource(tx->t, tx->shard, res);

    if ((n->flags & ~SNAPSHOT_FLAGS) || !owner_possible(tx->t, n) ||
        ((n->flags & NODE_TWO_PHASE) && owners_pair_find(tx, n->owner, res)))
        return false;
    switch (n->state) {
    case NODE_WAITING:
        return !(n->flags & NODE_UNTOLD) && (n->flags & (NODE_BLOCKED | NODE_TWO_PHASE)) &&
               n->order < UINT64_MAX &&
               n->order > (r->q_tail ? table_node(tx->t, r->q_tail)->order : 0);
    case NODE_HELD:
        return r->nholders < r->limit && n->order < *tx->t->fence_next && n->end < TIME_NEVER;
    case NODE_LAPSED: /* without a request or a `w` to come nobody would ever remove it */
        return (n->flags & (NODE_BLOCKED | NODE_TWO_PHASE)) && n->order < *tx->t->fence_next;
    default:
        return false;
    }
}

static void add_to_lists(struct tx *tx, uint32_t res, uint32_t node)
{
    struct resource *r = table_resource(tx->t, tx->shard, res);
    struct node *n = table_node(tx->t, node);

    if (n->state == NODE_WAITING) {
        queue_push(tx, r, node);
        if (n->order >= tx->s->ticket_next)
            SET(tx, tx->s->ticket_next, n->order + 1);
        return;
    }
    if (n->state == NODE_HELD) {
        holder_push(tx, r, node);
        leases_insert(tx, node);
    } else {
        owners_count_lapsed(tx, node, 1);
    }
    if (n->flags & NODE_BLOCKED)
        owners_tell(tx, node);
}

enum snapshot_result snapshot_add_node(struct tx *tx, uint32_t res,
                                       const struct snapshot_node *from, uint32_t *node)
{
    struct node *n;

    if (!node_possible(tx, res, from))
        return SNAPSHOT_WRONG;
    *node = pool_alloc(tx);
    if (!*node)
        return SNAPSHOT_FULL;
    n = table_node(tx->t, *node);
    SET(tx, n->flags, from->flags & ~NODE_TWO_PHASE);
    SET(tx, n->state, from->state);
    SET(tx, n->res, res);
    SET(tx, n->conn_id, from->conn_id);
    SET(tx, n->owner, 0);
    SET(tx, n->order, from->order);
    SET(tx, n->salt, from->salt);
    SET(tx, n->end, from->end);
    SET(tx, n->extended, from->extended);
    SET(tx, n->lease, from->lease);
    SET(tx, n->since, from->since);
    SET(tx, n->tw_slot, 0);
    if (from->owner)
        owners_link(tx, from->owner, *node);
    if (from->flags & NODE_TWO_PHASE)
        owners_pair_insert(tx, *node);
    add_to_lists(tx, res, *node);
    return SNAPSHOT_OK;
}

enum snapshot_result snapshot_settle(struct tx *tx, uint32_t res, bool idle)
{
    const struct resource *r = table_resource(tx->t, tx->shard, res);
    bool empty = !r->nholders && !r->nwaiters && !r->ntombs;
    uint64_t now = tx->now;

    if (empty != idle)
        return SNAPSHOT_WRONG;
    tx->now = r->last_active;
    keymap_settle(tx, res);
    tx->now = now;
    if (r->nwaiters && r->nholders < r->limit && !tx->s->starved) {
        SET(tx, tx->s->starved, 1); /* there was no fence to grant with */
        leases_look_again(tx);
    }
    return SNAPSHOT_OK;
}
