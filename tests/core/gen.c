/*
 * tests/core/gen.c - see gen.h.
 */
#include "tests/core/gen.h"

#include "tests/tap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    return rng_next(r) % n;
}

bool rng_chance(struct rng *r, unsigned per_thousand)
{
    return rng_below(r, 1000) < per_thousand;
}

uint64_t rng_log(struct rng *r, uint64_t lo, uint64_t hi)
{
    uint64_t span = hi - lo;
    unsigned bits = span ? 64 - (unsigned)__builtin_clzll(span) : 0;
    uint64_t mask = bits ? UINT64_MAX >> (64 - (1 + rng_below(r, bits))) : 0;
    uint64_t n = rng_next(r) & mask;

    return lo + (n > span ? span : n);
}

uint64_t gen_seed(void)
{
    const char *text = getenv("DFLOCKD_TEST_SEED");
    struct timespec now;
    uint64_t seed;

    clock_gettime(CLOCK_REALTIME, &now);
    seed = text ? strtoull(text, NULL, 0)
                : (uint64_t)now.tv_sec * UINT64_C(1000000007) ^ (uint64_t)now.tv_nsec;
    diag("DFLOCKD_TEST_SEED=%" PRIu64, seed);
    return seed;
}

uint64_t gen_scaled(uint64_t n)
{
    const char *text = getenv("DFLOCKD_TEST_SCALE");

    return text ? n * strtoull(text, NULL, 10) / 100 : n;
}

uint32_t gen_shard(const struct gen *g, uint32_t i)
{
    return i % g->config->nshards * 21 % SHARD_COUNT; /* 0, 21, 42, 63, 20, … */
}

uint32_t gen_key_of(const struct bed *b, uint32_t shard, uint32_t res)
{
    const struct resource *r = table_resource(&b->t, shard, res);

    for (uint32_t i = 0; i < b->nkeys; i++) {
        const struct table_key *k = &b->key[i].key;

        if (k->hash == r->hash && k->kind == r->kind && k->len == r->key_len &&
            memcmp(k->bytes, table_key_bytes(&b->t, shard, res), k->len) == 0)
            return i;
    }
    bail_out("resource %u of shard %u has a key that nobody gave", res, shard);
}

static void connect_owner(struct gen *g, uint32_t owner)
{
    bed_connect(g->bed, owner, (uint32_t)rng_below(&g->rng, g->config->nworkers));
}

void gen_make(struct gen *g, const struct gen_config *config, struct bed *bed, uint64_t seed)
{
    memset(g, 0, sizeof(*g));
    g->rng.state = seed;
    g->config = config;
    g->bed = bed;
    g->now = config->start;
    bed_make(bed, &config->size);
    if (config->fences)
        bed->words->fence_limit = bed->words->fence_next + config->fences;
    if (config->horizon)
        bed->words->promise_until = config->start + config->horizon;
    bed->words->grants_from = config->cold ? config->start + config->cold : 0;
    for (uint32_t i = 0; i < config->nkeys; i++) {
        enum kind kind = rng_chance(&g->rng, config->sems) ? KIND_SEM : KIND_LOCK;
        uint32_t len = (uint32_t)(rng_chance(&g->rng, config->long_keys)
                                      ? 63 + rng_below(&g->rng, KEY_MAX - 62)
                                      : 2 + rng_below(&g->rng, 40));
        uint64_t hash = (uint64_t)gen_shard(g, i) << 58 | rng_next(&g->rng) >> 6;

        if (i && rng_chance(&g->rng, config->same_hash)) {
            hash = bed->key[i - 1].key.hash;
            len = bed->key[i - 1].key.len;
        }
        bed_add_key(bed, kind, len, hash);
    }
    /* One pair that differs in nothing but its kind. */
    if (config->nkeys >= 4 && config->sems) {
        memcpy(bed->key[3].bytes, bed->key[2].bytes, KEY_MAX);
        bed->key[3].key = bed->key[2].key;
        bed->key[3].key.bytes = bed->key[3].bytes;
        bed->key[2].key.kind = KIND_LOCK;
        bed->key[3].key.kind = KIND_SEM;
    }
    /* And one that differs in nothing but its length. */
    if (config->nkeys >= 6 && config->same_hash) {
        memcpy(bed->key[5].bytes, bed->key[4].bytes, KEY_MAX);
        bed->key[5].key = bed->key[4].key;
        bed->key[5].key.bytes = bed->key[5].bytes;
        bed->key[5].key.len -= 1;
    }
    for (uint32_t o = 1; o <= config->size.owners; o++)
        connect_owner(g, o);
    for (unsigned i = 0; i < OP_KINDS; i++)
        g->weights += config->weight[i];
}

/* Aiming ------------------------------------------------------------------------------------ */

static bool any_held(const struct node *n)
{
    return n->state == NODE_HELD;
}

/* One whose token somebody knows. */
static bool any_told(const struct node *n)
{
    return n->state == NODE_HELD && !(n->flags & NODE_TELL);
}

static bool any_blocked(const struct node *n)
{
    return n->state != NODE_FREE && (n->flags & NODE_BLOCKED);
}

static bool any_waitable(const struct node *n)
{
    return n->state != NODE_FREE && (n->flags & NODE_TWO_PHASE) && !(n->flags & NODE_BLOCKED);
}

/* A node like that, from a random place on; 0 = there is none. */
static uint32_t find_node(struct gen *g, bool (*like)(const struct node *), uint32_t *shard)
{
    const struct table *t = &g->bed->t;
    uint32_t nchunks = t->geo->nchunks;
    uint32_t first = (uint32_t)rng_below(&g->rng, nchunks);
    uint32_t offset = (uint32_t)rng_below(&g->rng, CHUNK_NODES);

    for (uint32_t i = 0; i < nchunks; i++) {
        uint32_t c = (first + i) % nchunks;
        const struct chunk *ch = table_chunk(t, c);

        if (!t->chunk_owner[c])
            continue;
        for (uint32_t k = 0; k < ch->bump; k++) {
            uint32_t n = (offset + k) % ch->bump;

            if (like(&ch->node[n])) {
                *shard = t->chunk_owner[c] - 1;
                return c * CHUNK_NODES + n + 1;
            }
        }
    }
    return 0;
}

static bool worker_down(const struct gen *g, uint32_t worker)
{
    return g->bed->words->down_since[worker] != 0;
}

static uint32_t up_worker(struct gen *g)
{
    uint32_t w = (uint32_t)rng_below(&g->rng, g->config->nworkers);

    while (worker_down(g, w))
        w = (w + 1) % g->config->nworkers;
    return w;
}

/* A connection whose worker answers, 0 = none was found. */
static uint32_t live_owner(struct gen *g)
{
    for (unsigned i = 0; i < 8; i++) {
        uint32_t o = (uint32_t)(1 + rng_below(&g->rng, g->config->size.owners));

        if (!worker_down(g, g->bed->t.owners[o].worker))
            return o;
    }
    return 0;
}

static uint32_t any_key(struct gen *g)
{
    return rng_chance(&g->rng, g->config->hot) ? 0 : (uint32_t)rng_below(&g->rng, g->bed->nkeys);
}

static uint32_t key_shard(const struct gen *g, uint32_t key)
{
    return table_shard_of(g->bed->key[key].key.hash);
}

static uint32_t find_res(const struct gen *g, uint32_t key)
{
    struct tx tx = {.t = &g->bed->t, .shard = key_shard(g, key)};

    return table_find(&tx, &g->bed->key[key].key);
}

static uint64_t any_lease(struct gen *g)
{
    return rng_log(&g->rng, g->config->lease_min, g->config->lease_max);
}

/* A connection answers one request at a time: none comes for a pair that a request waits for. */
static bool pair_blocked(const struct gen *g, uint32_t owner, uint32_t key)
{
    uint32_t shard = key_shard(g, key);
    uint32_t res = find_res(g, key);
    uint32_t i = g->bed->t.owners[owner].held[shard];

    for (; i; i = table_node(&g->bed->t, i)->own_next) {
        const struct node *n = table_node(&g->bed->t, i);

        if (n->res == res && (n->flags & NODE_BLOCKED) && (n->flags & NODE_TWO_PHASE))
            return true;
    }
    return false;
}

/* Running ----------------------------------------------------------------------------------- */

static void run(struct gen *g, struct op *op, struct outcome *out)
{
    struct tx tx;
    bool abort;

    op->now = g->now;
    if (g->config->jitter)
        op->now -= rng_below(&g->rng, g->config->jitter);
    if (g->observer.before)
        g->observer.before(g->observer.arg, op);
    op_run(g->bed, op, &tx, out);
    if (out->logged > g->deepest[op->kind])
        g->deepest[op->kind] = out->logged;
    abort = rng_chance(&g->rng, g->config->aborts);
    if (abort)
        tx_abort(&tx);
    else
        tx_commit(&tx);
    g->ops++;
    if (g->observer.ran)
        g->observer.ran(g->observer.arg, op, out, !abort);
    if (abort) { /* as a worker whose request could not be consumed: once more */
        op_run(g->bed, op, &tx, out);
        tx_commit(&tx);
        if (g->observer.ran)
            g->observer.ran(g->observer.arg, op, out, true);
    }
}

static void expire_key(struct gen *g, const struct op *as)
{
    struct op op = *as;
    struct outcome out;

    op.kind = OP_EXPIRE_KEY;
    do
        run(g, &op, &out);
    while (out.more);
}

/* As the semantics say: the longest idle resource goes when there is no unit left. */
static bool get_unit(struct gen *g, uint32_t worker)
{
    struct words *w = g->bed->words;
    uint64_t oldest = TIME_NEVER;
    struct op op = {.kind = OP_COLLECT, .worker = worker, .time = TIME_NEVER};
    struct outcome out;

    if (w->units) {
        w->units--;
        w->reserved[worker]++;
        return true;
    }
    for (uint32_t i = 0; i < g->config->nshards; i++) {
        const struct shard *s = table_shard(&g->bed->t, gen_shard(g, i));

        if (s->idle_oldest < oldest) {
            oldest = s->idle_oldest;
            op.shard = gen_shard(g, i);
        }
    }
    if (oldest == TIME_NEVER)
        return false;
    run(g, &op, &out);
    return out.more;
}

static void acquire(struct gen *g, struct op *op)
{
    struct outcome out;
    uint32_t res;

    op->owner = live_owner(g);
    op->key = any_key(g);
    op->shard = key_shard(g, op->key);
    if (!op->owner)
        return;
    op->worker = g->bed->t.owners[op->owner].worker;
    op->two_phase = rng_chance(&g->rng, g->config->two_phase) &&
                    !pair_blocked(g, op->owner, op->key);
    op->try_only = !op->two_phase && rng_chance(&g->rng, 200);
    op->patient = !op->two_phase && !op->try_only && rng_chance(&g->rng, 500);
    op->lease = any_lease(g);
    op->max_waiters = g->config->max_waiters;
    res = find_res(g, op->key);
    op->limit = 1;
    if (g->bed->key[op->key].key.kind == KIND_SEM)
        op->limit = res && rng_chance(&g->rng, 970)
                        ? table_resource(&g->bed->t, op->shard, res)->limit
                        : (uint32_t)(1 + rng_below(&g->rng, g->config->limit_max));
    if (rng_chance(&g->rng, 900))
        expire_key(g, op);
    run(g, op, &out);
    if (out.verdict == VERDICT_NEED_UNIT && rng_chance(&g->rng, 900) && get_unit(g, op->worker))
        run(g, op, &out);
}

static void wait(struct gen *g, struct op *op)
{
    uint32_t node = rng_chance(&g->rng, 850) ? find_node(g, any_waitable, &op->shard) : 0;
    struct outcome out;

    op->owner = live_owner(g);
    op->key = any_key(g);
    op->shard = node ? op->shard : key_shard(g, op->key);
    if (node) {
        op->owner = table_node(&g->bed->t, node)->owner;
        op->key = gen_key_of(g->bed, op->shard, table_node(&g->bed->t, node)->res);
    }
    if (!op->owner || worker_down(g, g->bed->t.owners[op->owner].worker) ||
        pair_blocked(g, op->owner, op->key))
        return;
    op->worker = g->bed->t.owners[op->owner].worker;
    op->block = rng_chance(&g->rng, 800);
    run(g, op, &out);
}

/* Release, renew, evict: with a token that exists, or nearly. */
static void by_token(struct gen *g, struct op *op)
{
    uint32_t node = find_node(g, rng_chance(&g->rng, 950) ? any_told : any_held, &op->shard);
    struct outcome out;

    op->key = any_key(g);
    op->owner = live_owner(g);
    if (node) {
        const struct node *n = table_node(&g->bed->t, node);

        op->fence = n->order;
        op->salt = n->salt;
        op->key = gen_key_of(g->bed, op->shard, n->res);
        if (n->owner && rng_chance(&g->rng, 600))
            op->owner = n->owner;
    }
    if (!op->owner || worker_down(g, g->bed->t.owners[op->owner].worker))
        return;
    op->worker = g->bed->t.owners[op->owner].worker;
    op->lease = any_lease(g);
    if (rng_chance(&g->rng, 150)) {
        switch (rng_below(&g->rng, 5)) {
        case 0:
            op->salt ^= UINT64_C(1) << rng_below(&g->rng, 64);
            break;
        case 1:
            op->fence ^= UINT64_C(1) << rng_below(&g->rng, 64);
            break;
        case 2:
            op->fence = op->salt = 0;
            break;
        default:
            op->key = any_key(g);
        }
    }
    if (op->kind == OP_EVICT && rng_chance(&g->rng, 400))
        op->fence = 0;
    op->shard = key_shard(g, op->key);
    run(g, op, &out);
}

static void deliver(struct gen *g, struct op *op)
{
    uint32_t first = (uint32_t)rng_below(&g->rng, g->config->nshards);
    struct outcome out;

    op->worker = up_worker(g);
    for (uint32_t i = 0; i < g->config->nshards; i++) {
        op->shard = gen_shard(g, first + i);
        op->node = table_shard(&g->bed->t, op->shard)->pending[op->worker];
        if (op->node) {
            run(g, op, &out);
            return;
        }
    }
}

static void unblock(struct gen *g, struct op *op)
{
    struct outcome out;

    op->node = find_node(g, any_blocked, &op->shard);
    if (!op->node)
        return;
    op->owner = table_node(&g->bed->t, op->node)->owner;
    op->worker = g->bed->t.owners[op->owner].worker;
    op->deliver = rng_chance(&g->rng, 500);
    if (!worker_down(g, op->worker))
        run(g, op, &out);
}

/* In every shard, all of it; and a new connection gets the slot. */
static void drop_owner(struct gen *g, struct op *op)
{
    struct outcome out;

    if (!op->owner)
        op->owner = (uint32_t)(1 + rng_below(&g->rng, g->config->size.owners));
    op->worker = up_worker(g);
    op->kept = rng_chance(&g->rng, 300);
    op->release_held = !op->kept && rng_chance(&g->rng, 600);
    for (uint32_t i = 0; i < g->config->nshards; i++) {
        op->shard = gen_shard(g, i);
        do
            run(g, op, &out);
        while (out.more);
    }
    bed_disconnect(g->bed, op->owner);
    connect_owner(g, op->owner);
}

static void expire(struct gen *g, struct op *op)
{
    struct outcome out;
    uint64_t steps = rng_chance(&g->rng, 300) ? 1 + rng_below(&g->rng, 4) : UINT64_MAX;
    uint64_t bound = (uint64_t)g->bed->geo.nchunks * CHUNK_NODES * (WHEEL_LEVELS + 2) + 1000;

    op->shard = gen_shard(g, (uint32_t)rng_next(&g->rng));
    op->worker = up_worker(g);
    do {
        run(g, op, &out);
        if (bound-- == 0)
            bail_out("table_expire() does not come to an end");
    } while (out.more && --steps);
}

static void extend_all(struct gen *g, uint32_t owner, uint64_t gap)
{
    for (uint32_t i = 0; i < g->config->nshards; i++) {
        struct op op = {.kind = OP_EXTEND, .owner = owner, .shard = gen_shard(g, i), .time = gap};
        struct outcome out;

        op.worker = up_worker(g);
        do {
            run(g, &op, &out);
            op.node = out.cursor;
        } while (out.more);
    }
}

/* A worker does not answer any more; or one does again, and its connections' leases get the time
   that they could not be renewed in; or its connections are lost. */
static void down_or_up(struct gen *g)
{
    uint32_t w = (uint32_t)rng_below(&g->rng, g->config->nworkers);
    uint64_t since = g->bed->words->down_since[w];
    uint32_t up = 0;

    for (uint32_t i = 0; i < g->config->nworkers; i++)
        up += !worker_down(g, i);
    if (!since) {
        if (up > 1)
            g->bed->words->down_since[w] = g->now;
        return;
    }
    for (uint32_t o = 1; o <= g->config->size.owners; o++) {
        uint64_t gap = g->now - since < 3 * SECOND ? g->now - since : 3 * SECOND;

        if (g->bed->t.owners[o].worker != w)
            continue;
        if (rng_chance(&g->rng, 300))
            drop_owner(g, &(struct op){.kind = OP_DROP_OWNER, .owner = o});
        else
            extend_all(g, o, gap);
    }
    /* Slots that were given to a new connection meanwhile may have named this worker again; to
       them nothing happened. */
    g->bed->words->down_since[w] = 0;
}

static void pass_time(struct gen *g)
{
    const struct gen_config *c = g->config;
    uint64_t step = rng_chance(&g->rng, c->jumps) ? rng_log(&g->rng, 0, c->jump_max)
                                                  : rng_log(&g->rng, 0, c->step_max);

    /* The clock itself is 63 bits wide, so only where a test wants to see saturation it goes
       far, and never to its end. */
    if (g->now < UINT64_MAX - UINT64_MAX / 16 - step)
        g->now += step;
}

void gen_step(struct gen *g)
{
    unsigned at = (unsigned)rng_below(&g->rng, g->weights);
    struct op op = {.kind = 0};
    struct outcome out;
    unsigned kind = 0;

    pass_time(g);
    if (rng_chance(&g->rng, g->config->downs))
        down_or_up(g);
    if (g->config->fences && rng_chance(&g->rng, 10) &&
        g->bed->words->fence_next >= g->bed->words->fence_limit)
        g->bed->words->fence_limit += 1 + rng_below(&g->rng, g->config->fences);
    if (g->config->horizon && rng_chance(&g->rng, 10) &&
        g->bed->words->promise_until < g->now + g->config->horizon)
        g->bed->words->promise_until = g->now + rng_below(&g->rng, g->config->horizon);
    if (g->config->cold && g->now >= g->bed->words->grants_from && rng_chance(&g->rng, 1))
        g->bed->words->grants_from = g->now + rng_below(&g->rng, g->config->cold);
    while (at >= g->config->weight[kind])
        at -= g->config->weight[kind++];
    op.kind = kind;
    switch (op.kind) {
    case OP_ACQUIRE:
        acquire(g, &op);
        break;
    case OP_EXPIRE_KEY:
        op.key = any_key(g);
        op.shard = key_shard(g, op.key);
        op.worker = up_worker(g);
        run(g, &op, &out);
        break;
    case OP_WAIT:
        wait(g, &op);
        break;
    case OP_RELEASE:
    case OP_RENEW:
    case OP_EVICT:
        by_token(g, &op);
        break;
    case OP_DELIVER:
        deliver(g, &op);
        break;
    case OP_UNBLOCK:
    case OP_LOSE_WAIT:
        unblock(g, &op);
        break;
    case OP_DROP_OWNER:
        drop_owner(g, &op);
        break;
    case OP_DROP_TOMBSTONE:
        op.owner = (uint32_t)(1 + rng_below(&g->rng, g->config->size.owners));
        op.shard = gen_shard(g, (uint32_t)rng_next(&g->rng));
        op.worker = up_worker(g);
        op.time = g->now - rng_log(&g->rng, 0, g->now < MINUTE ? g->now : MINUTE);
        run(g, &op, &out);
        break;
    case OP_EXPIRE:
        expire(g, &op);
        break;
    case OP_COLLECT:
        op.shard = gen_shard(g, (uint32_t)rng_next(&g->rng));
        op.worker = up_worker(g);
        op.time = g->now - rng_log(&g->rng, 0, g->now < MINUTE ? g->now : MINUTE);
        if (rng_chance(&g->rng, 300)) /* to the nanosecond */
            op.time = table_shard(&g->bed->t, op.shard)->idle_oldest - rng_below(&g->rng, 2);
        run(g, &op, &out);
        break;
    case OP_EXTEND:
        op.owner = (uint32_t)(1 + rng_below(&g->rng, g->config->size.owners));
        extend_all(g, op.owner, rng_log(&g->rng, 0, 3 * SECOND));
        break;
    default:
        bail_out("gen_step(): operation %u", kind);
    }
}
