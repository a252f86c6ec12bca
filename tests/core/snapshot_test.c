/*
 * tests/core/snapshot_test.c - a table that moves into another one, of other sizes and other hashes,
 * and goes on as if nothing had happened; and records that no table could have had.
 */
#include "core/snapshot.h"

#include "core/check.h"
#include "tests/core/model.h"
#include "tests/tap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOVES = 40, BETWEEN = 400, SHARD = 9 };

#define WEIGHTS                                                                                    \
    {                                                                                              \
        [OP_ACQUIRE] = 30, [OP_EXPIRE_KEY] = 1, [OP_WAIT] = 10, [OP_RELEASE] = 14,                 \
        [OP_RENEW] = 8, [OP_EVICT] = 1, [OP_DELIVER] = 8, [OP_UNBLOCK] = 4, [OP_LOSE_WAIT] = 1,    \
        [OP_DROP_OWNER] = 1, [OP_DROP_TOMBSTONE] = 1, [OP_EXPIRE] = 6, [OP_COLLECT] = 2,           \
        [OP_EXTEND] = 1,                                                                           \
    }

static const struct gen_config configs[] = {
    {
        .name = "locks, semaphores, long keys, equal hashes",
        .size = {.max_locks = 200, .owners = 60},
        .nkeys = 120, .nshards = 9, .nworkers = 4, .hot = 100, .sems = 500, .limit_max = 5,
        .same_hash = 100, .long_keys = 200,
        .lease_min = SECOND, .lease_max = MINUTE, .start = 5 * SECOND,
        .step_max = SECOND / 5, .jumps = 5, .jump_max = 2 * MINUTE,
        .two_phase = 300, .aborts = 20, .weight = WEIGHTS,
    },
    {
        .name = "two-phase, leases that end before `w`",
        .size = {.max_locks = 64, .owners = 12, .buckets = 4},
        .nkeys = 24, .nshards = 3, .nworkers = 3, .sems = 500, .limit_max = 3, .hot = 200,
        .lease_min = SECOND, .lease_max = 3 * SECOND, .start = MINUTE,
        .step_max = SECOND, .jumps = 5, .jump_max = MINUTE,
        .two_phase = 950, .aborts = 20, .weight = WEIGHTS,
    },
    {
        .name = "workers that do not answer, the clock in centuries",
        .size = {.max_locks = 64, .owners = 40},
        .nkeys = 12, .nshards = 2, .nworkers = 4, .sems = 500, .limit_max = 5, .hot = 200,
        .lease_min = SECOND, .lease_max = UINT64_C(9223372036) * SECOND,
        .start = UINT64_C(1) << 63, .step_max = SECOND / 5, .jumps = 2, .jump_max = YEAR,
        .downs = 40, .two_phase = 300, .aborts = 20, .weight = WEIGHTS,
    },
    {
        .name = "fences run out",
        .size = {.max_locks = 200, .owners = 150},
        .nkeys = 80, .nshards = 1, .nworkers = 4, .sems = 300, .limit_max = 5, .hot = 30,
        .lease_min = SECOND, .lease_max = 4 * SECOND, .start = MINUTE,
        .step_max = SECOND / 50, .jumps = 2, .jump_max = 5 * SECOND, .fences = 150,
        .two_phase = 300, .aborts = 20, .weight = WEIGHTS,
    },
};

static struct bed beds[2];
static struct gen gen;
static struct model model;
static uint64_t moved[NODE_LAPSED + 1], idle_moved, kept_moved, starved_moved;

/* A table that differs in all that may differ: sizes, and the hashes of the keys. */
static void empty_like(struct bed *to, const struct bed *from, unsigned n)
{
    struct bed_size size = gen.config->size;

    size.max_locks += n % 3 * 500;
    size.owners += n % 4 * 7;
    size.buckets = n % 2 ? 64 : size.buckets;
    bed_make(to, &size);
    *to->words = *from->words;
    to->conn_next = from->conn_next;
    to->salt_next = from->salt_next;
    to->nkeys = from->nkeys;
    memcpy(to->key, from->key, sizeof(to->key));
    for (uint32_t i = 0; i < to->nkeys; i++) {
        to->key[i].key.bytes = to->key[i].bytes;
        to->key[i].key.hash ^= UINT64_C(0x123456789abc) * n; /* the shard's bits stay */
    }
    for (uint32_t o = 1; o <= gen.config->size.owners; o++) {
        to->t.owners[o].id = from->t.owners[o].id;
        to->t.owners[o].worker = from->t.owners[o].worker;
    }
}

static void rename_node(uint32_t from, uint32_t to, struct m_record *renamed, uint32_t *nrenamed)
{
    for (uint32_t i = 0; i < model.nrecords; i++) {
        if (model.record[i].node != from)
            continue;
        renamed[*nrenamed] = model.record[i];
        renamed[(*nrenamed)++].node = to;
        return;
    }
    bail_out("node %u is unknown to the model", from);
}

struct idle {
    uint64_t last_active;
    uint32_t shard, res;
};

static int older(const void *a, const void *b)
{
    const struct idle *x = a, *y = b;

    return x->last_active < y->last_active ? -1 : x->last_active > y->last_active;
}

static void must(enum snapshot_result r, const char *what)
{
    if (r != SNAPSHOT_OK)
        bail_out("%s is refused: %d", what, (int)r);
}

static uint32_t add_resource(struct bed *to, struct tx *tx, const struct snapshot_resource *r,
                             uint32_t key)
{
    uint32_t res;

    to->words->reserved[0]++;
    must(snapshot_add_resource(tx, r, to->key[key].key.hash, &res), "a resource");
    tx_commit(tx);
    model.resource[key].res = res;
    return res;
}

static void move(const struct bed *from, struct bed *to)
{
    static struct m_record renamed[MODEL_RECORDS];
    static struct idle idle[BED_KEYS];
    uint32_t nrenamed = 0, nidle = 0, node, res_from;
    struct snapshot_resource r;
    struct snapshot_node n;
    struct tx tx;

    for (uint32_t shard = 0; shard < SHARD_COUNT; shard++) {
        uint32_t live[BED_KEYS], nlive = 0;

        tx_begin(&tx, &to->t, shard, gen.now);
        tx.reserved = &to->words->reserved[0];
        starved_moved += table_shard(&from->t, shard)->starved != 0;
        for (uint32_t res = 0; snapshot_next_resource(&from->t, shard, &res, &r);) {
            uint32_t key = gen_key_of(from, shard, res), at;

            if (r.idle) {
                idle[nidle++] = (struct idle){r.last_active, shard, res};
                continue;
            }
            at = live[nlive++] = add_resource(to, &tx, &r, key);
            for (uint32_t i = 0; snapshot_next_node(&from->t, shard, res, &i, &n);) {
                must(snapshot_add_node(&tx, at, &n, &node), "a node");
                tx_commit(&tx);
                rename_node(i, node, renamed, &nrenamed);
                moved[n.state]++;
                kept_moved += (n.flags & NODE_KEPT) != 0;
            }
        }
        for (uint32_t i = 0; snapshot_next_lapsed(&from->t, shard, &i, &res_from, &n);) {
            uint32_t key = gen_key_of(from, shard, res_from);

            must(snapshot_add_node(&tx, model.resource[key].res, &n, &node), "a lapsed node");
            tx_commit(&tx);
            rename_node(i, node, renamed, &nrenamed);
            moved[n.state]++;
        }
        while (nlive > 0) {
            must(snapshot_settle(&tx, live[--nlive], false), "a resource with nodes");
            tx_commit(&tx);
        }
    }
    qsort(idle, nidle, sizeof(idle[0]), older);
    for (uint32_t i = 0; i < nidle; i++) {
        uint32_t before = idle[i].res - 1;

        tx_begin(&tx, &to->t, idle[i].shard, gen.now);
        tx.reserved = &to->words->reserved[0];
        snapshot_next_resource(&from->t, idle[i].shard, &before, &r);
        must(snapshot_settle(&tx, add_resource(to, &tx, &r, gen_key_of(from, idle[i].shard,
                                                                       idle[i].res)),
                             true),
             "an idle resource");
        tx_commit(&tx);
    }
    idle_moved += nidle;
    if (nrenamed != model.nrecords)
        bail_out("%u of %u records have moved", nrenamed, model.nrecords);
    memcpy(model.record, renamed, nrenamed * sizeof(renamed[0]));
}

/* The model goes on as if nothing had happened; whatever a move loses, it misses. */
static void test_moves(const struct gen_config *config, uint64_t seed)
{
    unsigned at = 0;

    gen_make(&gen, config, &beds[0], seed);
    model_make(&model, &gen);
    for (unsigned n = 1; n <= gen_scaled(MOVES); n++) {
        uint64_t until = gen.ops + BETWEEN;

        while (gen.ops < until)
            gen_step(&gen);
        empty_like(&beds[!at], &beds[at], n);
        move(&beds[at], &beds[!at]);
        bed_free(&beds[at]);
        at = !at;
        gen.bed = model.bed = &beds[at];
        model.op = NULL;
        /* What need not be the same: which numbers tickets have, and in which order grants to
           different connections are told. */
        memset(model.tickets, 0, sizeof(model.tickets));
        model_adopt_orders(&model);
        for (uint32_t shard = 0; shard < SHARD_COUNT; shard++)
            model_compare(&model, shard);
    }
    while (gen.ops < gen_scaled(MOVES + 10) * BETWEEN)
        gen_step(&gen);
    is_u64(model.wrong, 0, "%s", config->name);
    bed_free(&beds[at]);
}

/* What cannot be ---------------------------------------------------------------------------- */

static struct bed bed;

static struct snapshot_resource resource(uint32_t key, uint32_t limit)
{
    const struct table_key *k = &bed.key[key].key;

    return (struct snapshot_resource){
        .key = k->bytes, .key_len = k->len, .kind = (uint8_t)k->kind, .limit = limit};
}

static const struct snapshot_node waiter = {
    .conn_id = 1, .order = 5, .lease = SECOND, .owner = 1, .state = NODE_WAITING,
    .flags = NODE_BLOCKED};
static const struct snapshot_node holder = {
    .conn_id = 2, .order = 7, .salt = 8, .end = MINUTE, .lease = SECOND, .owner = 2,
    .state = NODE_HELD};
static const struct snapshot_node tomb = {
    .conn_id = 3, .order = 9, .lease = SECOND, .owner = 3, .state = NODE_LAPSED,
    .flags = NODE_TWO_PHASE};

static void build(struct tx *tx, uint32_t *res)
{
    struct snapshot_resource r = resource(0, 1);
    uint32_t node;

    bed_make(&bed, &(struct bed_size){.max_locks = 64, .owners = 8, .chunks = 3});
    bed_add_key(&bed, KIND_LOCK, 5, (uint64_t)SHARD << 58 | 1);
    bed_add_key(&bed, KIND_SEM, 5, (uint64_t)SHARD << 58 | 2);
    for (uint32_t o = 1; o <= 4; o++)
        bed_connect(&bed, o, o);
    bed.words->reserved[0] = 2;
    tx_begin(tx, &bed.t, SHARD, SECOND);
    tx->reserved = &bed.words->reserved[0];
    r = resource(0, 1);
    must(snapshot_add_resource(tx, &r, bed.key[0].key.hash, res), "the resource");
    must(snapshot_add_node(tx, *res, &holder, &node), "the holder");
    must(snapshot_add_node(tx, *res, &waiter, &node), "the waiter");
    tx_commit(tx);
}

static void test_impossible_nodes(void)
{
    static const struct {
        const char *name;
        struct snapshot_node n;
    } rows[] = {
        {"a node of no state", {.state = NODE_FREE}},
        {"a node of an unknown state", {.state = NODE_LAPSED + 1}},
        {"a second holder of a lock", {.conn_id = 3, .owner = 3, .order = 8, .state = NODE_HELD}},
        {"a waiter with the ticket of another",
         {.conn_id = 3, .owner = 3, .order = 5, .state = NODE_WAITING, .flags = NODE_BLOCKED}},
        {"a waiter with the last ticket of all",
         {.conn_id = 3, .owner = 3, .order = UINT64_MAX, .state = NODE_WAITING,
          .flags = NODE_BLOCKED}},
        {"a waiter that nothing waits for",
         {.conn_id = 3, .owner = 3, .order = 6, .state = NODE_WAITING}},
        {"a waiter that was granted",
         {.conn_id = 3, .owner = 3, .order = 6, .state = NODE_WAITING,
          .flags = NODE_BLOCKED | NODE_UNTOLD}},
        {"a waiter of nobody", {.conn_id = 3, .order = 6, .state = NODE_WAITING,
                                .flags = NODE_BLOCKED}},
        {"a node of another connection in its slot",
         {.conn_id = 4, .owner = 3, .order = 6, .state = NODE_WAITING, .flags = NODE_BLOCKED}},
        {"a node of a slot that is free", {.conn_id = 0, .owner = 7, .order = 6, .state = NODE_WAITING,
                                    .flags = NODE_BLOCKED}},
        {"a node of a slot that is none", {.conn_id = 3, .owner = 9, .order = 6, .state = NODE_WAITING,
                                    .flags = NODE_BLOCKED}},
        {"a node with a flag that is none", {.conn_id = 3, .owner = 3, .order = 6, .state = NODE_WAITING,
                                      .flags = NODE_BLOCKED | 128}},
        {"a node that says itself that it is to be told",
         {.conn_id = 3, .owner = 3, .order = 6, .state = NODE_WAITING,
          .flags = NODE_BLOCKED | NODE_TELL}},
        {"a node kept for anybody, but owned",
         {.conn_id = 3, .owner = 3, .order = 6, .state = NODE_WAITING,
          .flags = NODE_BLOCKED | NODE_KEPT}},
        {"a lapsed node of a fence to come",
         {.conn_id = 3, .owner = 3, .order = 1000, .state = NODE_LAPSED, .flags = NODE_TWO_PHASE}},
        {"a lapsed node that nobody waits for",
         {.conn_id = 3, .owner = 3, .order = 9, .state = NODE_LAPSED}},
    };
    struct check_report report;
    struct snapshot_node n;
    struct tx tx;
    uint32_t res, node, added;

    build(&tx, &res);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        is_int(snapshot_add_node(&tx, res, &rows[i].n, &node), SNAPSHOT_WRONG, "refused: %s",
               rows[i].name);
    is_u64(tx.s->journal.count, 0, "nothing is changed by them");
    must(snapshot_add_node(&tx, res, &tomb, &node), "a tombstone");
    tx_commit(&tx);
    is_int(snapshot_add_node(&tx, res, &tomb, &node), SNAPSHOT_WRONG, "two of one pair");
    n = holder;
    n.order = bed.words->fence_next;
    table_resource(&bed.t, SHARD, res)->limit = 2;
    is_int(snapshot_add_node(&tx, res, &n, &node), SNAPSHOT_WRONG, "a holder's fence to come");
    n.order--;
    n.end = TIME_NEVER;
    is_int(snapshot_add_node(&tx, res, &n, &node), SNAPSHOT_WRONG, "a lease without an end");
    table_resource(&bed.t, SHARD, res)->limit = 1;
    must(snapshot_settle(&tx, res, false), "the resource");
    is_int(check_shard(&bed.t, SHARD, &report), 0, "the table is whole");
    n = waiter;
    n.order++;
    for (added = 0; added < 1000; added++, n.order++) {
        enum snapshot_result r = snapshot_add_node(&tx, res, &n, &node);

        tx_commit(&tx);
        if (r != SNAPSHOT_OK)
            break;
    }
    is_u64(added, 3 * CHUNK_NODES - 3, "nodes until the table is full");
    bed_free(&bed);
}

static void test_impossible_resources(void)
{
    struct snapshot_resource r;
    struct tx tx;
    uint32_t res, other;

    build(&tx, &res);
    r = resource(0, 1);
    is_int(snapshot_add_resource(&tx, &r, bed.key[0].key.hash, &other), SNAPSHOT_WRONG,
           "a key that is there already");
    r = resource(1, 0);
    is_int(snapshot_add_resource(&tx, &r, 1, &other), SNAPSHOT_WRONG, "no slots");
    r = resource(1, 3);
    r.kind = KIND_LOCK;
    is_int(snapshot_add_resource(&tx, &r, 1, &other), SNAPSHOT_WRONG, "a lock of three");
    r.kind = KIND_SEM + 1;
    is_int(snapshot_add_resource(&tx, &r, 1, &other), SNAPSHOT_WRONG, "an unknown kind");
    r.kind = KIND_SEM;
    r.key_len = 0;
    is_int(snapshot_add_resource(&tx, &r, 1, &other), SNAPSHOT_WRONG, "no key");
    r.key_len = KEY_MAX + 1;
    is_int(snapshot_add_resource(&tx, &r, 1, &other), SNAPSHOT_WRONG, "too long a key");
    is_int(snapshot_settle(&tx, res, true), SNAPSHOT_WRONG, "idle, but held");
    r = resource(1, 3);
    must(snapshot_add_resource(&tx, &r, bed.key[1].key.hash, &other), "a semaphore");
    tx_commit(&tx);
    is_int(snapshot_settle(&tx, other, false), SNAPSHOT_WRONG, "not idle, but nothing is on it");
    r.kind = KIND_LOCK;
    r.limit = 1;
    is_int(snapshot_add_resource(&tx, &r, 1, &other), SNAPSHOT_FULL, "without a unit");
    bed_free(&bed);
}

static bool all_moved(void)
{
    return moved[NODE_WAITING] && moved[NODE_HELD] && moved[NODE_LAPSED] && idle_moved &&
           kept_moved && starved_moved;
}

int main(void)
{
    uint64_t seed = gen_seed();

    /* Some seeds have no shard without fences when it moves: on with others. */
    for (uint64_t more = 0; !all_moved() && more < 50; more++)
        for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++)
            test_moves(&configs[i], seed + more * 1000003 + i);
    ok(all_moved(),
       "moved: %" PRIu64 " waiters, %" PRIu64 " holders, %" PRIu64 " kept, %" PRIu64
       " lapsed, %" PRIu64 " idle keys, %" PRIu64 " shards without fences",
       moved[NODE_WAITING], moved[NODE_HELD], kept_moved, moved[NODE_LAPSED], idle_moved,
       starved_moved);
    test_impossible_nodes();
    test_impossible_resources();
    return done_testing();
}
