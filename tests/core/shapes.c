/*
 * tests/core/shapes.c - see shapes.h.
 */
#include "tests/core/shapes.h"

#include "tests/core/gen.h"

struct bed bed;
uint64_t now;

static struct outcome outcome;

/* Building ----------------------------------------------------------------------------------- */

static void commit(const struct op *op)
{
    struct tx tx;

    op_run(&bed, op, &tx, &outcome);
    tx_commit(&tx);
}

static struct op key_op(enum op_kind kind, uint32_t key, uint32_t owner)
{
    static const uint32_t limit[KEYS] = {1, 1, 1, 1, 1, 1, 3, 200};

    return (struct op){.kind = kind,
                       .shard = SHARD,
                       .worker = bed.t.owners[owner].worker,
                       .key = key,
                       .owner = owner,
                       .limit = limit[key],
                       .lease = 10 * SECOND,
                       .now = now};
}

static uint32_t acquire(uint32_t key, uint32_t owner)
{
    struct op op = key_op(OP_ACQUIRE, key, owner);

    commit(&op);
    return outcome.grant.node;
}

static uint32_t enqueue(uint32_t key, uint32_t owner)
{
    struct op op = key_op(OP_ACQUIRE, key, owner);

    op.two_phase = true;
    commit(&op);
    return outcome.grant.node;
}

static void acquire_for(uint32_t key, uint32_t owner, uint64_t lease)
{
    struct op op = key_op(OP_ACQUIRE, key, owner);

    op.lease = lease;
    commit(&op);
}

static void wait(uint32_t key, uint32_t owner)
{
    struct op op = key_op(OP_WAIT, key, owner);

    op.block = true;
    commit(&op);
}

static void release(uint32_t node)
{
    const struct node *n = table_node(&bed.t, node);
    struct op op = key_op(OP_RELEASE, gen_key_of(&bed, SHARD, n->res), 1);

    op.fence = n->order;
    op.salt = n->salt;
    commit(&op);
}

static void expire_all(void)
{
    do
        commit(&(struct op){.kind = OP_EXPIRE, .shard = SHARD, .now = now});
    while (outcome.more);
}

static void drop(uint32_t owner, bool release_held, bool kept)
{
    do
        commit(&(struct op){.kind = OP_DROP_OWNER,
                            .shard = SHARD,
                            .now = now,
                            .owner = owner,
                            .release_held = release_held,
                            .kept = kept});
    while (outcome.more);
}

static void make_bed(void)
{
    static const uint32_t len[KEYS] = {5, 64, 200, 9, 65, 4, 6, 256};
    const struct bed_size size = {
        .max_locks = 1000, .owners = OWNERS, .chunks = 5, .res_per_shard = 7, .buckets = 4};

    bed_make(&bed, &size);
    for (uint32_t i = 0; i < KEYS; i++)
        bed_add_key(&bed, i < SEM_1 ? KIND_LOCK : KIND_SEM, len[i], (uint64_t)SHARD << 58 | i * 3);
    bed_add_key(&bed, KIND_LOCK, 12, (uint64_t)NEIGHBOUR << 58);
    for (uint32_t o = 1; o <= OWNERS; o++)
        bed_connect(&bed, o, o % WORKERS);
    bed.words->reserved[0] = bed.words->reserved[1] = bed.words->reserved[2] = 20;
    now = 100 * SECOND;
    /* So that the pool is not empty, and the first chunk is not the shard's. */
    commit(&(struct op){.kind = OP_ACQUIRE,
                        .shard = NEIGHBOUR,
                        .key = KEYS,
                        .owner = OWNERS,
                        .limit = 1,
                        .lease = YEAR,
                        .now = now});
}

/* Shapes ------------------------------------------------------------------------------------- */

static void shape_empty(void)
{
}

static void shape_held(void)
{
    acquire(LOCK_A, 1);
    acquire(LOCK_LONG, 2);
    acquire(SEM_1, 1);
}

static void shape_queued(void)
{
    acquire(LOCK_A, 1);
    acquire(LOCK_A, 2);
    acquire(LOCK_A, 3);
    acquire(LOCK_A, 1); /* not re-entrant */
}

static void shape_queue_of_one(void)
{
    acquire(LOCK_LONG, 1);
    acquire(LOCK_LONG, 2);
}

static void shape_two_phase_granted(void)
{
    enqueue(LOCK_A, 1);
    enqueue(SEM_3, 1);
    enqueue(SEM_3, 2);
}

static void shape_two_phase_queued(void)
{
    acquire(LOCK_A, 1);
    enqueue(LOCK_A, 2);
    enqueue(LOCK_A, 3);
}

static void shape_two_phase_blocked(void)
{
    acquire(LOCK_A, 1);
    enqueue(LOCK_A, 2);
    enqueue(LOCK_A, 3);
    wait(LOCK_A, 2);
    wait(LOCK_A, 3);
}

static void shape_two_phase_promoted(void)
{
    uint32_t first = acquire(LOCK_A, 1);

    enqueue(LOCK_A, 2);
    enqueue(LOCK_A, 3);
    release(first); /* owner 2 has it, was not told and does not ask yet */
}

static void shape_two_phase_to_tell(void)
{
    uint32_t first = acquire(LOCK_A, 1);

    enqueue(LOCK_A, 2);
    enqueue(LOCK_A, 3);
    wait(LOCK_A, 2);
    wait(LOCK_A, 3);
    release(first);
}

static void shape_to_tell(void)
{
    uint32_t a = acquire(LOCK_A, 1), b = acquire(LOCK_B, 1), c = acquire(SEM_1, 1);

    for (uint32_t o = 2; o <= 4; o++) {
        acquire(LOCK_A, o);
        acquire(LOCK_B, o);
        acquire(SEM_1, o);
    }
    acquire(LOCK_B, 5);
    release(a);
    release(b);
    release(c);
}

static void shape_told_too_late(void)
{
    shape_to_tell();
    now += 11 * SECOND;
    expire_all();
}

static void shape_semaphore_part_full(void)
{
    acquire(SEM_3, 1);
    acquire(SEM_3, 2);
}

static void shape_semaphore_full(void)
{
    acquire(SEM_3, 1);
    acquire(SEM_3, 1);
    enqueue(SEM_3, 2);
    acquire(SEM_3, 3);
    enqueue(SEM_3, 4);
    acquire(SEM_3, 5);
}

static void shape_idle(void)
{
    uint32_t n[4] = {acquire(LOCK_A, 1), acquire(LOCK_B, 1), acquire(LOCK_LONG, 1),
                     acquire(SEM_3, 1)};

    for (unsigned i = 0; i < 4; i++) {
        now += SECOND;
        release(n[i]);
    }
    acquire(SEM_1, 1);
}

static void shape_from_free_list(void)
{
    shape_idle();
    for (unsigned i = 0; i < 2; i++)
        commit(&(struct op){.kind = OP_COLLECT, .shard = SHARD, .now = now, .time = now});
}

static void shape_tombstones(void)
{
    enqueue(LOCK_A, 1);
    enqueue(LOCK_B, 1);
    enqueue(SEM_3, 1);
    enqueue(SEM_3, 2);
    enqueue(LOCK_B, 2);
    now += 11 * SECOND;
    expire_all();
    now += 11 * SECOND;
    expire_all();
    acquire(SEM_3, 3);
}

static void shape_wheel(void)
{
    static const uint64_t lease[] = {SECOND / 50, SECOND / 9,     SECOND,
                                     5 * SECOND,  5 * SECOND + 9, MINUTE,
                                     5 * MINUTE,  300 * MINUTE,   YEAR};

    for (unsigned i = 0; i < sizeof(lease) / sizeof(lease[0]); i++)
        acquire_for(SEM_200, 1 + i % OWNERS, lease[i]);
    acquire_for(LOCK_A, 1, 4 * SECOND);
    acquire(LOCK_A, 2);
}

static void shape_wheel_half_drained(void)
{
    shape_wheel();
    now += 5 * SECOND;
    for (unsigned i = 0; i < 9; i++)
        commit(&(struct op){.kind = OP_EXPIRE, .shard = SHARD, .now = now});
}

static void shape_renewed(void)
{
    struct op op = key_op(OP_RENEW, SEM_3, 1);
    uint32_t node = acquire(SEM_3, 1);

    acquire(SEM_3, 2);
    op.fence = table_node(&bed.t, node)->order;
    op.salt = table_node(&bed.t, node)->salt;
    op.lease = 100 * SECOND;
    commit(&op); /* lies too early in the wheel now */
}

static void shape_kept(void)
{
    acquire(LOCK_A, 1);
    enqueue(LOCK_B, 1);
    acquire(SEM_3, 1);
    acquire(SEM_3, 2);
    acquire(LOCK_A, 2);
    drop(1, false, true);
    acquire(LOCK_LONG, 3);
    drop(3, false, false);
}

static void shape_worker_down(void)
{
    acquire(LOCK_A, 1);
    acquire(LOCK_A, 2);
    enqueue(SEM_3, 1);
    enqueue(SEM_3, 4);
    now += 9 * SECOND;
    bed.words->down_since[1] = now;
    now += 2 * SECOND;
    expire_all();
}

static void shape_chunk_full(void)
{
    for (unsigned i = 0; i < CHUNK_NODES; i++)
        acquire(i == 7 ? LOCK_A : SEM_200, 1 + i % OWNERS);
}

static void shape_chunk_to_return(void)
{
    uint32_t node[CHUNK_NODES + 1];

    for (unsigned i = 0; i <= CHUNK_NODES; i++)
        node[i] = acquire(i == 7 ? SEM_3 : SEM_200, 1 + i % OWNERS);
    for (unsigned i = CHUNK_NODES; i > 7; i--)
        release(node[i]);
    for (unsigned i = 0; i < 7; i++)
        release(node[i]);
    /* One chunk is empty and kept, the other has one node left. */
}

/* Three partly used chunks, and the one in the middle of their list is about to be returned.
   Returns its last node. */
static uint32_t use_three_chunks(void)
{
    uint32_t node[3 * CHUNK_NODES];

    for (unsigned i = 0; i < 3 * CHUNK_NODES; i++)
        node[i] = acquire(SEM_200, 1 + i % OWNERS);
    for (unsigned i = 0; i < 3; i++)
        release(node[i * CHUNK_NODES]);
    for (unsigned i = 1; i < CHUNK_NODES - 1; i++) {
        release(node[CHUNK_NODES + i]);
        release(node[2 * CHUNK_NODES + i]);
    }
    return node[2 * CHUNK_NODES - 1];
}

static void shape_chunk_to_return_from_middle(void)
{
    use_three_chunks();
}

/* The next chunk to claim was the shard's own before, and bears the traces. */
static void shape_chunk_to_claim_again(void)
{
    release(use_three_chunks());
    while (table_shard(&bed.t, SHARD)->nfree)
        acquire(SEM_200, 1);
}

/* Free nodes that were blocked waiters, kept holders, tombstones. */
static void shape_nodes_from_free_list(void)
{
    uint32_t first = acquire(LOCK_A, 1);
    uint32_t waiter[3] = {acquire(LOCK_A, 2), acquire(LOCK_A, 3), acquire(LOCK_A, 4)};

    enqueue(SEM_3, 5);
    acquire(LOCK_B, 6);
    drop(6, false, true);
    release(table_resource(&bed.t, SHARD, table_node(&bed.t, first)->res)->holders);
    drop(5, true, false);
    for (unsigned i = 0; i < 3; i++)
        commit(&(struct op){.kind = OP_UNBLOCK, .shard = SHARD, .node = waiter[i], .now = now});
}

static void shape_idle_again(void)
{
    shape_idle();
    acquire(LOCK_B, 1); /* from the middle */
    acquire(LOCK_A, 2); /* from the head */
}

static void shape_no_nodes(void)
{
    for (unsigned i = 0; i < 4 * CHUNK_NODES; i++)
        acquire(i < 200 ? SEM_200 : LOCK_A, 1 + i % OWNERS);
}

static void shape_no_resources(void)
{
    for (uint32_t i = 0; i < 7; i++)
        acquire(i, 1 + i);
}

static void shape_no_fences(void)
{
    acquire(LOCK_A, 1);
    acquire(LOCK_A, 2);
    acquire(SEM_3, 1);
    bed.words->fence_limit = 0;
}

static void shape_fences_again(void)
{
    uint32_t node[5] = {acquire(SEM_3, 1), acquire(SEM_3, 1), acquire(SEM_3, 1), acquire(LOCK_A, 1),
                        acquire(SEM_1, 1)};

    for (uint32_t o = 2; o <= 6; o++)
        acquire(SEM_3, o);
    acquire(LOCK_A, 2);
    acquire(SEM_1, 2);
    bed.words->fence_limit = 0;
    for (unsigned i = 0; i < 5; i++)
        release(node[i]);
    bed.words->fence_limit = UINT64_MAX;
}

static void shape_no_lease(void)
{
    shape_two_phase_to_tell();
    shape_semaphore_part_full();
    enqueue(LOCK_B, 1);
    shape_idle();
    bed.words->promise_until = now;
}

static void shape_cold(void)
{
    bed.words->grants_from = TIME_NEVER - 1;
    acquire(LOCK_B, 1);
}

static void shape_cold_over(void)
{
    bed.words->grants_from = now + SECOND;
    acquire(LOCK_A, 1);
    acquire(SEM_3, 1);
    acquire(SEM_3, 2);
}

static void shape_everything(void)
{
    shape_two_phase_to_tell();
    shape_semaphore_full();
    enqueue(LOCK_B, 1);
    acquire(LOCK_LONG, 6);
    acquire(SEM_1, 7);
    acquire(SEM_1, 8);
}

const struct shape shapes[] = {
    {"empty", shape_empty, false},
    {"held", shape_held, false},
    {"queued", shape_queued, false},
    {"a queue of one", shape_queue_of_one, false},
    {"two-phase: granted", shape_two_phase_granted, false},
    {"two-phase: queued", shape_two_phase_queued, false},
    {"two-phase: blocked", shape_two_phase_blocked, false},
    {"two-phase: promoted", shape_two_phase_promoted, false},
    {"two-phase: to tell", shape_two_phase_to_tell, false},
    {"to tell", shape_to_tell, false},
    {"told too late", shape_told_too_late, true},
    {"semaphore part full", shape_semaphore_part_full, false},
    {"semaphore full", shape_semaphore_full, false},
    {"idle", shape_idle, false},
    {"resources from the free list", shape_from_free_list, false},
    {"tombstones", shape_tombstones, false},
    {"wheel", shape_wheel, true},
    {"wheel, half drained", shape_wheel_half_drained, true},
    {"renewed", shape_renewed, true},
    {"kept", shape_kept, true},
    {"worker down", shape_worker_down, false},
    {"chunk full", shape_chunk_full, false},
    {"chunk to return", shape_chunk_to_return, false},
    {"chunk to return from the middle", shape_chunk_to_return_from_middle, false},
    {"chunk to claim again", shape_chunk_to_claim_again, false},
    {"nodes from the free list", shape_nodes_from_free_list, false},
    {"idle before", shape_idle_again, false},
    {"no nodes left", shape_no_nodes, false},
    {"no resources left", shape_no_resources, false},
    {"no fences left", shape_no_fences, false},
    {"fences again after none", shape_fences_again, false},
    {"no lease may be promised", shape_no_lease, false},
    {"cold start", shape_cold, false},
    {"cold start, over later", shape_cold_over, false},
    {"everything", shape_everything, false},
};

const unsigned nshapes = sizeof(shapes) / sizeof(shapes[0]);

unsigned shape_times(const struct shape *shape)
{
    return shape->far ? 3 : 2;
}

void shape_make(const struct shape *shape, unsigned when)
{
    static const uint64_t later[] = {0, 12 * SECOND, 400 * MINUTE};

    make_bed();
    shape->build();
    now += later[when];
}

/* Every operation ---------------------------------------------------------------------------- */

/* Acquisitions with an answer of their own. */
static void try_refusals(shape_try try, uint32_t key)
{
    struct op op = key_op(OP_ACQUIRE, key, 2);

    op.try_only = true;
    try(op, false);
    op.try_only = false;
    op.patient = true;
    try(op, false);
    op.patient = false;
    op.max_waiters = 1;
    try(op, false);
    op.max_waiters = 0;
    op.two_phase = true;
    op.limit += op.key >= SEM_1; /* a lock has one slot */
    try(op, false);
    op.limit -= op.key >= SEM_1;
    op.worker = WORKERS; /* has no unit for a new key */
    try(op, false);
}

static void try_keys(shape_try try)
{
    for (uint32_t key = 0; key < KEYS; key++) {
        for (uint32_t owner = 1; owner <= 3; owner++) {
            struct op op = key_op(OP_ACQUIRE, key, owner == 3 ? OWNERS : owner);

            try(op, false);
            op.two_phase = true;
            try(op, false);
        }
        try_refusals(try, key);
        try(key_op(OP_EXPIRE_KEY, key, 1), true);
        try(key_op(OP_EVICT, key, 1), false);
        for (uint32_t owner = 1; owner <= OWNERS; owner++) {
            struct op op = key_op(OP_WAIT, key, owner);

            try(op, false);
            op.block = true;
            try(op, false);
        }
    }
}

static void try_holder(shape_try try, uint32_t node)
{
    const struct node *n = table_node(&bed.t, node);
    struct op op = key_op(OP_RELEASE, gen_key_of(&bed, SHARD, n->res), n->owner ? n->owner : 9);
    uint32_t owner = op.owner;

    op.fence = n->order;
    op.salt = n->salt;
    try(op, false);
    op.kind = OP_EVICT;
    try(op, false);
    op.kind = OP_RENEW;
    for (unsigned i = 0; i < 4; i++) {
        op.lease = i % 2 ? SECOND : 100 * SECOND;
        op.owner = i < 2 ? owner : 8;
        try(op, false);
    }
    op.salt++; /* a token of nobody */
    try(op, false);
    op.kind = OP_RELEASE;
    try(op, false);
}

static void try_nodes(shape_try try)
{
    unsigned holders = 0;

    for (uint32_t c = 0; c < bed.geo.nchunks; c++) {
        for (uint32_t i = 0; i < CHUNK_NODES; i++) {
            uint32_t node = c * CHUNK_NODES + i + 1;
            const struct node n = *table_node(&bed.t, node);

            if (bed.t.chunk_owner[c] != SHARD + 1 || n.state == NODE_FREE ||
                n.state == NODE_SPARE)
                continue;
            if (n.state == NODE_HELD && holders++ < 12)
                try_holder(try, node);
            if (n.flags & NODE_BLOCKED && holders++ < 24) {
                struct op op = {.kind = OP_UNBLOCK, .shard = SHARD, .node = node, .now = now};

                try(op, false);
                op.deliver = true;
                try(op, false);
                op.deliver = false;
                op.kind = OP_LOSE_WAIT;
                try(op, false);
            }
        }
    }
}

static void try_owners(shape_try try)
{
    for (uint32_t owner = 1; owner <= OWNERS; owner++) {
        struct op op = {.kind = OP_DROP_OWNER, .shard = SHARD, .owner = owner, .now = now};

        try(op, true);
        op.kept = true;
        try(op, true);
        op.kept = false;
        op.release_held = true;
        try(op, true);
        op.kind = OP_DROP_TOMBSTONE;
        op.time = now;
        try(op, true);
        op.kind = OP_EXTEND;
        op.time = SECOND;
        try(op, true);
    }
}

void shape_each_moving(shape_try try)
{
    for (uint32_t key = 0; key < KEYS; key++)
        try(key_op(OP_ACQUIRE, key, 1), false);
    for (uint32_t owner = 1; owner <= OWNERS; owner++)
        try((struct op){.kind = OP_DROP_OWNER,
                        .shard = SHARD,
                        .owner = owner,
                        .release_held = true,
                        .now = now},
            true);
}

void shape_each_operation(shape_try try)
{
    try_keys(try);
    try_nodes(try);
    try_owners(try);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        struct op op = {.kind = OP_DELIVER, .shard = SHARD, .worker = worker, .now = now};

        op.node = table_shard(&bed.t, SHARD)->pending[worker];
        if (op.node)
            try(op, false);
    }
    try((struct op){.kind = OP_EXPIRE, .shard = SHARD, .now = now}, true);
    try((struct op){.kind = OP_COLLECT, .shard = SHARD, .now = now, .time = now}, true);
}
