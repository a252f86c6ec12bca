/*
 * tests/core/repair_test.c - a rebuild from the ground truth, and what it makes of scribbles.
 *
 * Linked with the core compiled with JOURNAL_HOOK, so that a rebuild can be stopped.
 */
#include "core/journal.h"
#include "core/repair.h"
#include "tests/core/model.h"
#include "tests/tap.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TABLES = 400,      /* rebuilt while they are in use */
    BETWEEN = 60,      /* operations */
    SCRIBBLES = 20000,
    STEPS_MAX = 100000, /* of anything that must come to an end */
};

static struct bed bed;
static struct gen gen;
static struct model model;

static struct {
    bool armed;
    uint64_t count, stop_at;
    jmp_buf out;
} hook;

void journal_hook(void)
{
    if (hook.armed && ++hook.count == hook.stop_at) {
        hook.armed = false;
        longjmp(hook.out, 1);
    }
}

/* Rebuilds, but dies at the n-th place where it can. True when it did. */
static bool rebuild_stopped(uint32_t shard, uint64_t n)
{
    struct check_report report;

    hook.count = 0;
    hook.stop_at = n;
    hook.armed = true;
    if (setjmp(hook.out))
        return true;
    repair_rebuild(&bed.t, shard, &report);
    hook.armed = false;
    return false;
}

static bool rebuild(uint32_t shard)
{
    struct check_report report;

    if (repair_rebuild(&bed.t, shard, &report) == 0)
        return true;
    diag("shard %u: I%d at %u: %s", shard, report.invariant, report.index, report.what);
    return false;
}

/* Destroying derived data -------------------------------------------------------------------- */

static bool zero; /* else random */

static uint32_t rubbish(void)
{
    return zero ? 0 : (uint32_t)rng_next(&gen.rng);
}

static void fill(uint32_t *at, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        at[i] = rubbish();
}

static void destroy_node(struct node *n)
{
    n->prev = rubbish();
    n->next = rubbish();
    n->own_prev = rubbish();
    n->own_next = rubbish();
    n->pend_prev = rubbish();
    n->pend_next = rubbish();
    n->tok_next = rubbish();
    n->pair_next = rubbish();
    n->tw_prev = rubbish();
    n->tw_next = rubbish();
    n->tw_slot = (uint16_t)rubbish();
}

static void destroy_resource(struct resource *r)
{
    r->nholders = rubbish();
    r->nwaiters = rubbish();
    r->ntombs = rubbish();
    r->holders = rubbish();
    r->q_head = rubbish();
    r->q_tail = rubbish();
    r->next = rubbish();
    r->idle_prev = rubbish();
    r->idle_next = rubbish();
}

static void destroy_derived(uint32_t shard)
{
    struct table *t = &bed.t;
    const struct geometry *g = t->geo;
    struct shard *s = table_shard(t, shard);
    uint64_t tokens = (uint64_t)g->node_mask + 1, keys = (uint64_t)g->res_mask + 1;

    for (uint32_t c = 0; c < g->nchunks; c++) {
        struct chunk *ch = table_chunk(t, c);

        if (t->chunk_owner[c] != shard + 1)
            continue;
        ch->free_head = rubbish();
        ch->nfree = rubbish();
        ch->linked = rubbish();
        ch->prev = rubbish();
        ch->next = rubbish();
        for (uint32_t i = 0; i < CHUNK_NODES; i++)
            destroy_node(&ch->node[i]);
    }
    for (uint32_t i = 1; i <= g->res_per_shard; i++)
        destroy_resource(table_resource(t, shard, i));
    for (uint32_t o = 1; o <= g->nowners; o++) {
        t->owners[o].held[shard] = rubbish();
        t->owners[o].tombs[shard] = rubbish();
    }
    fill((uint32_t *)(t->base + g->buckets) + shard * keys, keys);
    fill((uint32_t *)(t->base + g->tok_buckets) + shard * tokens, tokens);
    fill((uint32_t *)(t->base + g->pair_buckets) + shard * tokens, tokens);
    fill(s->pending, WORKER_MAX);
    fill((uint32_t *)&s->wheel, sizeof(s->wheel) / sizeof(uint32_t));
    s->idle_oldest = rubbish();
    t->next_due[shard] = rubbish();
    s->res_free = rubbish();
    s->res_count = rubbish();
    s->idle_head = rubbish();
    s->idle_tail = rubbish();
    s->partial = rubbish(); /* not nchunks: it witnesses that no chunk was lost */
    s->nfree = rubbish();
}

/* Tests -------------------------------------------------------------------------------------- */

static const struct gen_config config = {
    .name = "rebuilt while in use",
    .size = {.max_locks = 64, .owners = 40},
    .nkeys = 24, .nshards = 3, .nworkers = 4, .sems = 500, .limit_max = 8, .hot = 200,
    .same_hash = 100, .long_keys = 200,
    .lease_min = SECOND, .lease_max = MINUTE, .start = MINUTE,
    .step_max = SECOND / 2, .jumps = 2, .jump_max = 2 * MINUTE,
    .two_phase = 500,
    .weight = {[OP_ACQUIRE] = 40, [OP_EXPIRE_KEY] = 1, [OP_WAIT] = 12, [OP_RELEASE] = 14,
               [OP_RENEW] = 6, [OP_EVICT] = 1, [OP_DELIVER] = 8, [OP_UNBLOCK] = 4,
               [OP_LOSE_WAIT] = 1,
               [OP_DROP_OWNER] = 2, [OP_DROP_TOMBSTONE] = 1, [OP_EXPIRE] = 4, [OP_COLLECT] = 1,
               [OP_EXTEND] = 1},
};

/* The model goes on as if nothing had happened; whatever a rebuild loses, it misses. */
static void test_rebuild_in_use(uint64_t seed)
{
    uint64_t rebuilt = 0, stops = 0, refused = 0, records = 0;

    gen_make(&gen, &config, &bed, seed);
    model_make(&model, &gen);
    for (uint64_t i = 0; i < gen_scaled(TABLES); i++) {
        uint64_t until = gen.ops + BETWEEN;

        while (gen.ops < until)
            gen_step(&gen);
        model.op = NULL;
        zero = i % 2;
        records += model.nrecords;
        for (uint32_t k = 0; k < config.nshards; k++) {
            uint32_t shard = gen_shard(&gen, k);
            uint64_t n = 0;

            /* Dies at each place in turn; what it leaves, the next one starts with. */
            destroy_derived(shard);
            if (i % 4 < 2)
                while (rebuild_stopped(shard, ++n)) {
                    stops++;
                    if (table_shard(&bed.t, shard)->state != SHARD_REBUILDING)
                        model.wrong++;
                }
            else
                refused += !rebuild(shard);
            if (table_shard(&bed.t, shard)->state != SHARD_OK)
                refused++;
            rebuilt++;
        }
        model_adopt_orders(&model);
        for (uint32_t shard = 0; shard < SHARD_COUNT; shard++)
            model_compare(&model, shard);
    }
    is_u64(refused, 0, "no shard is refused");
    is_u64(model.wrong, 0, "nothing but derived data was changed");
    ok(rebuilt >= 100 && stops >= 100 && records / gen_scaled(TABLES) >= 10,
       "%" PRIu64 " shards rebuilt, %" PRIu64 " times stopped on the way, %" PRIu64
       " records each time",
       rebuilt, stops, records / gen_scaled(TABLES));
    bed_free(&bed);
}

/* What can be mended ------------------------------------------------------------------------- */

enum { SHARD = 11, OWNERS = 9 };
enum { KEY_QUEUE, KEY_TELL, KEY_PAIR, KEY_SEM, KEYS };

/* Nodes of the table that is damaged below. */
static struct {
    uint32_t holder, waiter[3], told, pair, sem[2];
} at;

static struct outcome out;

static void commit(const struct op *op)
{
    struct tx tx;

    op_run(&bed, op, &tx, &out);
    tx_commit(&tx);
}

static uint32_t take(uint32_t key, uint32_t owner, bool two_phase)
{
    commit(&(struct op){.kind = OP_ACQUIRE,
                        .shard = SHARD,
                        .key = key,
                        .owner = owner,
                        .limit = key == KEY_SEM ? 5 : 1,
                        .two_phase = two_phase,
                        .lease = MINUTE,
                        .now = SECOND});
    return out.grant.node;
}

static struct node *node(uint32_t i)
{
    return table_node(&bed.t, i);
}

static struct shard *the_shard(void)
{
    return table_shard(&bed.t, SHARD);
}

static void build(void)
{
    uint32_t first;

    bed_make(&bed, &(struct bed_size){.max_locks = 64, .owners = OWNERS});
    for (uint32_t i = 0; i < KEYS; i++)
        bed_add_key(&bed, i == KEY_SEM ? KIND_SEM : KIND_LOCK, 5, (uint64_t)SHARD << 58 | i);
    for (uint32_t o = 1; o <= OWNERS; o++)
        bed_connect(&bed, o, o);
    bed.words->reserved[0] = 10;
    at.holder = take(KEY_QUEUE, 1, false);
    for (uint32_t i = 0; i < 3; i++)
        at.waiter[i] = take(KEY_QUEUE, 2 + i, false);
    first = take(KEY_TELL, 5, false);
    at.told = take(KEY_TELL, 6, false);
    commit(&(struct op){.kind = OP_EVICT, .shard = SHARD, .key = KEY_TELL, .now = SECOND});
    if (node(first)->state != NODE_FREE || !(node(at.told)->flags & NODE_TELL))
        bail_out("no grant to tell");
    at.pair = take(KEY_PAIR, 7, true);
    at.sem[0] = take(KEY_SEM, 8, false);
    at.sem[1] = take(KEY_SEM, 9, false);
}

static bool queue_is(uint32_t a, uint32_t b)
{
    const struct resource *r = table_resource(&bed.t, SHARD, node(at.holder)->res);

    return r->q_head == a && node(a)->next == b;
}

static bool all_still_there(void)
{
    return node(at.holder)->state == NODE_HELD && queue_is(at.waiter[0], at.waiter[1]) &&
           node(at.told)->state == NODE_HELD && node(at.pair)->state == NODE_HELD &&
           node(at.sem[0])->state == NODE_HELD && node(at.sem[1])->state == NODE_HELD;
}

static void kept_but_owned(void)
{
    node(at.holder)->flags |= NODE_KEPT;
}

static bool owned_again(void)
{
    return all_still_there() && node(at.holder)->flags == 0 && node(at.holder)->owner == 1;
}

static void owner_is_another(void)
{
    bed.t.owners[8].id += 1000;
}

static void owner_of_no_worker(void)
{
    bed.t.owners[8].worker = WORKER_MAX;
}

static void owner_out_of_range(void)
{
    node(at.sem[0])->owner = OWNERS + 1;
}

static bool kept_for_anybody(void)
{
    return all_still_there() && node(at.sem[0])->owner == 0 &&
           node(at.sem[0])->flags == NODE_KEPT;
}

static void holder_lost(void)
{
    node(at.holder)->state = NODE_FREE;
}

static void next_ticket_lost(void)
{
    the_shard()->ticket_next = 0;
}

static bool tickets_go_on(void)
{
    return all_still_there() && the_shard()->ticket_next > node(at.waiter[2])->order;
}

static void tell_lost(void)
{
    node(at.told)->flags &= (uint8_t)~NODE_TELL;
}

static bool told_again(void)
{
    return all_still_there() && the_shard()->pending[6] == at.told;
}

static void tell_a_waiter(void)
{
    node(at.waiter[0])->flags |= NODE_TELL | NODE_UNTOLD;
}

static bool waiter_is_plain(void)
{
    return all_still_there() && node(at.waiter[0])->flags == NODE_BLOCKED;
}

static void waiter_of_nobody(void)
{
    node(at.waiter[0])->owner = 0;
}

static bool waiter_dropped(void)
{
    return node(at.waiter[0])->state == NODE_FREE && queue_is(at.waiter[1], at.waiter[2]);
}

static void resource_impossible(void)
{
    table_resource(&bed.t, SHARD, node(at.pair)->res)->kind = 9;
}

static void holder_unknown(void)
{
    node(at.sem[0])->state = NODE_LAPSED + 1;
}

static void holder_of_nothing(void)
{
    node(at.holder)->res = the_shard()->res_bump + 1;
}

static void chunk_taken_away(void)
{
    bed.t.chunk_owner[(at.holder - 1) / CHUNK_NODES] = 0;
}

static void chunk_given(void)
{
    bed.t.chunk_owner[(at.holder - 1) / CHUNK_NODES] = (SHARD + 1) % SHARD_COUNT + 1;
}

static void holder_waits(void)
{
    node(at.holder)->state = NODE_WAITING;
}

static void holder_lapsed(void)
{
    node(at.sem[0])->state = NODE_LAPSED;
}

static void lock_of_two(void)
{
    table_resource(&bed.t, SHARD, node(at.holder)->res)->limit = 2;
}

static void one_key_twice(void)
{
    struct resource *a = table_resource(&bed.t, SHARD, node(at.holder)->res);
    struct resource *b = table_resource(&bed.t, SHARD, node(at.pair)->res);

    b->hash = a->hash;
    b->kind = a->kind;
    b->limit = a->limit;
    b->key_len = a->key_len;
    memcpy(b->key, a->key, sizeof(a->key));
}

static void holder_of_another_key(void)
{
    node(at.holder)->res = node(at.sem[0])->res;
}

static void waiter_of_another_key(void)
{
    node(at.waiter[1])->res = node(at.pair)->res;
}

/* What is left of a released holder is whole, but for its state. */
static void free_record_holds(void)
{
    commit(&(struct op){.kind = OP_RELEASE,
                        .shard = SHARD,
                        .key = KEY_SEM,
                        .fence = node(at.sem[1])->order,
                        .salt = node(at.sem[1])->salt,
                        .now = SECOND});
    node(at.sem[1])->state = NODE_HELD;
}

static void begun_by_a_stray_store(void)
{
    the_shard()->state = 1; /* what REBUILDING would be if states were counted */
    holder_lost();
}

static void too_many_holders(void)
{
    table_resource(&bed.t, SHARD, node(at.sem[0])->res)->limit = 1;
}

static void unused_resources_used(void)
{
    the_shard()->res_bump = UINT32_MAX;
}

static void unused_nodes_used(void)
{
    table_chunk(&bed.t, (at.holder - 1) / CHUNK_NODES)->bump = UINT32_MAX;
}

static void chunk_half_moved(void)
{
    the_shard()->moving = UINT32_MAX;
    table_chunk(&bed.t, (at.holder - 1) / CHUNK_NODES)->linked = 0;
}

static void test_mended(void)
{
    static const struct {
        const char *name;
        void (*damage)(void);
        bool (*mended)(void);
    } rows[] = {
        {"a holder both kept and owned is owned", kept_but_owned, owned_again},
        {"a holder whose owner is another keeps its slot", owner_is_another, kept_for_anybody},
        {"and one whose worker cannot be", owner_of_no_worker, kept_for_anybody},
        {"and one whose owner cannot be", owner_out_of_range, kept_for_anybody},
        {"tickets go on behind the queue", next_ticket_lost, tickets_go_on},
        {"a grant that nobody would tell is told", tell_lost, told_again},
        {"a waiter has no grant to tell", tell_a_waiter, waiter_is_plain},
        {"a waiter of nobody leaves the queue", waiter_of_nobody, waiter_dropped},
        {"resource slots are bounded", unused_resources_used, all_still_there},
        {"nodes are bounded", unused_nodes_used, all_still_there},
        {"a chunk has one place", chunk_half_moved, all_still_there},
    };
    struct check_report report;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        build();
        rows[i].damage();
        ok(rebuild(SHARD) && check_shard(&bed.t, SHARD, &report) == 0 && rows[i].mended(),
           "%s", rows[i].name);
        /* Any transaction settles what was left of moving chunks. */
        commit(&(struct op){.kind = OP_EXPIRE, .shard = SHARD, .now = SECOND});
        if (check_shard(&bed.t, SHARD, &report) != 0 || the_shard()->moving != 0)
            ok(false, "I%d at %u: %s", report.invariant, report.index, report.what);
        bed_free(&bed);
    }
}

/* Where a holder may have been lost nobody is granted its slot: two would believe they hold it. */
static void test_quarantined(void)
{
    static const struct {
        const char *name;
        void (*damage)(void);
        int invariant;
    } rows[] = {
        {"more holders than the limit", too_many_holders, 1},
        {"a holder that was wiped", holder_lost, 4},
        {"a holder of an unknown state", holder_unknown, 4},
        {"a holder that became a waiter", holder_waits, 4},
        {"a holder that became lapsed", holder_lapsed, 4},
        {"a holder of no resource", holder_of_nothing, 4},
        {"a lock that two may hold", lock_of_two, 4},
        {"a holder that became another key's", holder_of_another_key, 4},
        {"a waiter that became another key's", waiter_of_another_key, 4},
        {"a free record that became a holder", free_record_holds, 4},
        {"a wiped holder in a shard with a stray state", begun_by_a_stray_store, 4},
        {"one key in two resources", one_key_twice, 6},
        {"a holder of an impossible resource", resource_impossible, 4},
        {"a chunk that went back to the pool", chunk_taken_away, 15},
        {"a chunk that another shard has", chunk_given, 15},
    };
    struct check_report report;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        build();
        if (!table_owns_any(&bed.t, 8))
            ok(false, "a holder owns something");
        rows[i].damage();
        ok(check_shard(&bed.t, SHARD, &report) != 0, "%s: seen by the validator", rows[i].name);
        is_int(repair_rebuild(&bed.t, SHARD, &report), rows[i].invariant, "beyond repair");
        is_u64(the_shard()->state, SHARD_QUARANTINED, "the shard is put into quarantine");
        ok(!table_owns_any(&bed.t, 8), "what lies there is nobody's any more");
        bed_free(&bed);
    }
}

/* Scribbles ---------------------------------------------------------------------------------- */

static uint64_t scribble_seed;
static const char *doing;

static void died(int sig)
{
    static char text[200];
    int len = snprintf(text, sizeof(text), "# signal %d while %s, scribble seed %" PRIu64 "\n", sig,
                       doing, scribble_seed);

    if (write(STDOUT_FILENO, text, (size_t)len) < 0)
        _exit(2);
    signal(sig, SIG_DFL);
    raise(sig);
}

/* A random place in what belongs to the shard. */
static char *random_byte(struct rng *r, uint32_t shard)
{
    const struct geometry *g = &bed.geo;
    struct table *t = &bed.t;
    uint64_t tokens = (uint64_t)g->node_mask + 1, keys = (uint64_t)g->res_mask + 1;
    uint32_t c, i;

    switch (rng_below(r, 12)) {
    case 0:
        return (char *)table_shard(t, shard) + rng_below(r, sizeof(struct shard));
    case 1: /* what lies behind the journal */
        return (char *)&table_shard(t, shard)->state +
               rng_below(r, sizeof(struct shard) - offsetof(struct shard, state));
    case 2:
        return (char *)&t->chunk_owner[rng_below(r, g->nchunks)] + rng_below(r, 4);
    case 3:
        return (char *)&t->owners[1 + rng_below(r, g->nowners)] +
               rng_below(r, sizeof(struct owner));
    case 4:
        i = (uint32_t)(1 + rng_below(r, g->nowners));
        return rng_below(r, 2) ? (char *)&t->owners[i] + rng_below(r, 16)
                               : (char *)&t->owners[i].held[shard] + rng_below(r, 4);
    case 5:
        return t->base + g->buckets + (shard * keys + rng_below(r, keys)) * 4 + rng_below(r, 4);
    case 6:
        return t->base + (rng_below(r, 2) ? g->tok_buckets : g->pair_buckets) +
               (shard * tokens + rng_below(r, tokens)) * 4 + rng_below(r, 4);
    case 7:
    case 8:
        i = (uint32_t)(1 + rng_below(r, table_shard(t, shard)->res_bump % g->res_per_shard + 1));
        return (char *)table_resource(t, shard, i) + rng_below(r, sizeof(struct resource));
    default:
        for (c = 0; c + 1 < g->nchunks && t->chunk_owner[c] != shard + 1; c++)
            ;
        i = (uint32_t)rng_below(r, 1 + table_chunk(t, c)->bump % CHUNK_NODES);
        return rng_below(r, 8) ? (char *)&table_chunk(t, c)->node[i] +
                                     rng_below(r, sizeof(struct node))
                               : (char *)table_chunk(t, c) + rng_below(r, 24);
    }
}

static void scribble(struct rng *r, uint32_t shard)
{
    uint64_t n = rng_log(r, 1, 40);

    while (n--) {
        char *byte = random_byte(r, shard);

        switch (rng_below(r, 4)) {
        case 0:
            *byte = 0;
            break;
        case 1:
            *byte = (char)rng_next(r);
            break;
        case 2:
            *byte = (char)(*byte + 1); /* a neighbour's index is the nastiest: it is valid */
            break;
        default:
            *byte ^= (char)(1 << rng_below(r, 8));
        }
    }
}

/* Uses a shard that was found to be whole: nothing may trap, crash or go on for ever. */
static bool use(struct rng *r, uint32_t shard)
{
    struct check_report report;
    struct tx tx;
    uint64_t steps = 0;
    struct op op = {.kind = OP_EXPIRE, .shard = shard, .now = gen.now + rng_log(r, 0, YEAR)};

    /* Units are counted anew after a repair, by whoever owns the count. */
    bed.words->reserved[0] = 1;
    do {
        op_run(&bed, &op, &tx, &out);
        tx_commit(&tx);
    } while (out.more && ++steps < STEPS_MAX);
    for (unsigned i = 0; i < 10; i++) {
        op.kind = rng_below(r, 3) ? OP_ACQUIRE : OP_WAIT;
        op.key = (uint32_t)rng_below(r, bed.nkeys);
        if (table_shard_of(bed.key[op.key].key.hash) != shard)
            continue;
        op.owner = (uint32_t)(1 + rng_below(r, bed.geo.nowners));
        if (bed.t.owners[op.owner].worker >= WORKER_MAX)
            continue; /* the slot itself is damaged: it is the supervisor's to see */
        op.limit = 1;
        op.lease = SECOND;
        op.two_phase = rng_below(r, 2);
        op_run(&bed, &op, &tx, &out);
        tx_commit(&tx);
    }
    for (op.owner = 1; op.owner <= bed.geo.nowners; op.owner++) {
        op.kind = OP_DROP_OWNER;
        op.release_held = true;
        do {
            op_run(&bed, &op, &tx, &out);
            tx_commit(&tx);
        } while (out.more && ++steps < STEPS_MAX);
    }
    op.kind = OP_COLLECT;
    op.time = TIME_NEVER;
    do {
        op_run(&bed, &op, &tx, &out);
        tx_commit(&tx);
    } while (out.more && ++steps < STEPS_MAX);
    if (steps >= STEPS_MAX || check_shard(&bed.t, shard, &report) != 0) {
        diag("scribble seed %" PRIu64 ": %" PRIu64 " steps, I%d at %u: %s", scribble_seed, steps,
             report.invariant, report.index, report.what);
        return false;
    }
    return true;
}

static void test_scribbles(uint64_t seed)
{
    static const int signals[] = {SIGALRM, SIGSEGV, SIGBUS, SIGILL, SIGTRAP};
    uint64_t unnoticed = 0, rebuilt = 0, quarantined = 0, wrong = 0;
    struct check_report report;
    char *saved;
    uint32_t shard;

    gen_make(&gen, &config, &bed, seed);
    while (gen.ops < 3000)
        gen_step(&gen);
    saved = malloc(bed.size);
    memcpy(saved, bed.block, bed.size);
    for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        signal(signals[i], died);
    for (uint64_t i = 0; i < gen_scaled(SCRIBBLES); i++) {
        struct rng r = {.state = seed + i};

        scribble_seed = seed + i;
        memcpy(bed.block, saved, bed.size);
        shard = gen_shard(&gen, (uint32_t)rng_below(&r, config.nshards));
        scribble(&r, shard);
        alarm(20);
        doing = "checking";
        check_shard(&bed.t, shard, &report);
        doing = "rolling back";
        repair_rollback(&bed.t, shard);
        doing = "checking after the rollback";
        if (check_shard(&bed.t, shard, &report) == 0) {
            unnoticed++;
            doing = "using what the validator passed";
            if (rng_below(&r, 2)) {
                wrong += !use(&r, shard);
                continue;
            }
        }
        doing = "rebuilding";
        if (repair_rebuild(&bed.t, shard, &report) != 0) {
            quarantined++;
            wrong += table_shard(&bed.t, shard)->state != SHARD_QUARANTINED;
            continue;
        }
        rebuilt++;
        wrong += table_shard(&bed.t, shard)->state != SHARD_OK;
        doing = "checking after the rebuild";
        wrong += check_shard(&bed.t, shard, &report) != 0;
        doing = "using what was rebuilt";
        wrong += !use(&r, shard);
    }
    alarm(0);
    is_u64(wrong, 0, "a scribbled shard is rebuilt or quarantined");
    ok(rebuilt > gen_scaled(SCRIBBLES) / 2 && quarantined > 0,
       "%" PRIu64 " rebuilt, %" PRIu64 " quarantined, %" PRIu64
       " scribbles that broke no invariant",
       rebuilt, quarantined, unnoticed);
    free(saved);
    bed_free(&bed);
}

int main(void)
{
    uint64_t seed = gen_seed();

    test_mended();
    test_quarantined();
    test_rebuild_in_use(seed);
    test_scribbles(seed);
    return done_testing();
}
