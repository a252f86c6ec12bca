/*
 * tests/core/bed.c - see bed.h.
 */
#include "tests/core/bed.h"

#include "tests/tap.h"

#include <stdlib.h>
#include <string.h>

const char *const op_name[OP_KINDS] = {
    [OP_ACQUIRE] = "acquire",
    [OP_EXPIRE_KEY] = "expire_key",
    [OP_WAIT] = "wait",
    [OP_RELEASE] = "release",
    [OP_RENEW] = "renew",
    [OP_EVICT] = "evict",
    [OP_DELIVER] = "deliver",
    [OP_UNBLOCK] = "unblock",
    [OP_LOSE_WAIT] = "lose_wait",
    [OP_DROP_OWNER] = "drop_owner",
    [OP_DROP_TOMBSTONE] = "drop_tombstone",
    [OP_EXPIRE] = "expire",
    [OP_COLLECT] = "collect",
    [OP_EXTEND] = "extend",
};

/* layout_compute() never makes a table as small as a test wants it. Only counts shrink: arrays
   stay where they are, with room behind them. */
static void shrink(struct geometry *g, const struct bed_size *size)
{
    if (size->chunks)
        g->nchunks = size->chunks;
    if (size->res_per_shard)
        g->res_per_shard = size->res_per_shard;
    if (size->buckets)
        g->res_mask = g->node_mask = size->buckets - 1;
}

void bed_make(struct bed *b, const struct bed_size *size)
{
    struct layout_limits limits = {
        .max_locks = size->max_locks, .max_owners = size->owners, .max_nodes = 1};

    memset(b, 0, sizeof(*b));
    if (layout_compute(&limits, BED_START, &b->geo) != 0)
        bail_out("layout_compute() refuses the limits of a test");
    shrink(&b->geo, size);
    b->size = b->geo.size;
    b->block = aligned_alloc(4096, (b->size + 4095) & ~UINT64_C(4095));
    if (!b->block)
        bail_out("no memory");
    memset(b->block, 0, b->size);
    bed_attach(b, b->block);
    b->words->fence_next = 1000;
    b->words->fence_limit = b->words->promise_until = UINT64_MAX;
    b->words->units = size->max_locks;
    table_format(&b->t);
    b->conn_next = 1;
    b->salt_next = 1;
}

void bed_attach(struct bed *b, char *block)
{
    b->block = block;
    b->words = (struct words *)block;
    table_attach(&b->t, block, &b->geo);
    b->t.fence_next = &b->words->fence_next;
    b->t.fence_limit = &b->words->fence_limit;
    b->t.promise_until = &b->words->promise_until;
    b->t.grants_from = &b->words->grants_from;
    b->t.down_since = b->words->down_since;
}

void bed_free(struct bed *b)
{
    free(b->block);
    b->block = NULL;
}

uint32_t bed_add_key(struct bed *b, enum kind kind, uint32_t len, uint64_t hash)
{
    uint32_t i = b->nkeys++;
    struct bed_key *k = &b->key[i];

    if (i >= BED_KEYS || len < 2 || len > KEY_MAX)
        bail_out("bed_add_key(): bad arguments");
    /* Two bytes tell keys apart; where they are, first or last, catches comparisons that stop. */
    memset(k->bytes, 'k', sizeof(k->bytes));
    k->bytes[i % 2 ? 0 : len - 1] = (char)('A' + i % 16);
    k->bytes[i % 2 ? 1 : len - 2] = (char)('A' + i / 16);
    k->key = (struct table_key){.hash = hash, .bytes = k->bytes, .len = len, .kind = kind};
    return i;
}

void bed_connect(struct bed *b, uint32_t owner, uint32_t worker)
{
    b->t.owners[owner].id = b->conn_next++;
    b->t.owners[owner].worker = worker;
}

void bed_disconnect(struct bed *b, uint32_t owner)
{
    b->t.owners[owner].id = 0;
}

/* Never the same twice, and no pattern that a wrong comparison could agree with. */
static uint64_t bed_salt(void *arg)
{
    struct bed *b = arg;

    return b->salt_next++ * UINT64_C(0x9e3779b97f4a7c15);
}

static bool run_bool(const struct op *op, struct tx *tx, const struct table_key *key,
                     struct outcome *out)
{
    switch (op->kind) {
    case OP_EXPIRE_KEY:
        return table_expire_key(tx, key);
    case OP_DROP_OWNER:
        return table_drop_owner(tx, op->owner, op->release_held, op->kept);
    case OP_DROP_TOMBSTONE:
        return table_drop_tombstone(tx, op->owner, op->time);
    case OP_EXPIRE:
        return table_expire(tx);
    case OP_COLLECT:
        return table_collect(tx, op->time);
    case OP_EXTEND:
        out->cursor = op->node;
        return table_extend(tx, op->owner, op->time, &out->cursor);
    default:
        bail_out("op_run(): operation %d", (int)op->kind);
    }
}

void op_run(struct bed *b, const struct op *op, struct tx *tx, struct outcome *out)
{
    const struct table_key *key = &b->key[op->key].key;

    memset(out, 0, sizeof(*out));
    tx_begin(tx, &b->t, op->shard, op->now);
    tx->reserved = &b->words->reserved[op->worker];
    tx->salt = bed_salt;
    tx->salt_arg = b;
    switch (op->kind) {
    case OP_ACQUIRE:
        out->verdict = table_acquire(tx,
                                     &(struct acquire_args){.key = *key,
                                                            .owner = op->owner,
                                                            .limit = op->limit,
                                                            .lease = op->lease,
                                                            .max_waiters = op->max_waiters,
                                                            .try_only = op->try_only,
                                                            .two_phase = op->two_phase,
                                                            .patient = op->patient},
                                     &out->grant);
        break;
    case OP_WAIT:
        out->verdict = table_wait(tx, key, op->owner, op->block, &out->grant);
        break;
    case OP_RELEASE:
        out->verdict = table_release(tx, key, op->fence, op->salt);
        break;
    case OP_RENEW:
        out->verdict = table_renew(tx, key, op->owner, op->fence, op->salt, op->lease);
        break;
    case OP_EVICT:
        out->verdict = table_evict(tx, key, op->fence);
        break;
    case OP_DELIVER:
        out->verdict = table_deliver(tx, op->node, &out->grant);
        break;
    case OP_UNBLOCK:
        out->verdict = table_unblock(tx, op->node, op->deliver, &out->grant);
        break;
    case OP_LOSE_WAIT:
        table_lose_wait(tx, op->node);
        break;
    default:
        out->more = run_bool(op, tx, key, out);
    }
    out->tell = tx->tell;
    out->ngrants = tx->ngrants;
    out->expired = tx->expired;
    out->logged = tx->s->journal.count;
}
