/*
 * tests/bench/core.c - does a step of the table cost more when much is in it? The table alone, on a
 * real region; connections are simulated, nobody else is there, and time is what this program says.
 *
 *   core [ROUNDS [WAITERS [LOCKS]]]        15 rounds, 100,000 waiters, 1,000,000 locks
 *
 * One key with WAITERS waiters against one with 100, and against as many waiters in queues of 100:
 *   grant    the holder releases, the next one is granted and told
 *   timeout  a request somewhere in the queue has waited long enough
 *   cancel   the connection of a request somewhere in the queue is gone
 *   join     a request goes to the end of the queue
 * LOCKS locks held, all over the table, against 1,000, in tables of the same size:
 *   again    acquire and release of keys that were used before
 *   new      acquire, release and collection of a key that nobody used before
 *   lease    the end of a lease
 * The table's sizes take turns in each round. Printed is a line of JSON for each step and size, ns
 * a step (the median of the rounds), and one of ratios.
 */
#include "base/clock.h"
#include "serving/holdings.h"
#include "serving/op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FEW_WAITERS = 100,
    FEW_LOCKS = 1000,
    HOLDERS = 1000,      /* connections that have the locks */
    PROBERS = 100,       /* and those that have none */
    BATCH = 50,          /* steps that are timed together: a queue of 100 shrinks to half of that */
    BATCHES = 60,        /* in a round */
    KEYS = 640,          /* that are acquired in a round */
    LEASES_A_HOLD = 128, /* as worker/expire.c does it */
    ROUNDS_MAX = 1000,
};

#define HOUR (UINT64_C(3600) * NS_PER_SEC)

enum step { GRANT, TIMEOUT, CANCEL, JOIN, AGAIN, NEW, LEASE, STEPS };

static const char *const step_name[STEPS] = {"grant", "timeout", "cancel", "join",
                                             "again", "new",     "lease"};

/* Its times in each round, and what it has so much of. */
struct series {
    const char *of;
    uint32_t n;
    const char *in;
    double ns[STEPS][ROUNDS_MAX];
};

/* A key, its holder, and the owners that wait for it. */
struct line {
    char text[32];
    struct table_key key;
    uint32_t first, n; /* owners */
    uint32_t holder;
    struct grant held;
};

struct queues {
    struct series s;
    struct line *line;
    uint32_t n, at;
};

/* Who leaves a queue, and by which node it waited. */
struct left {
    struct line *line;
    uint32_t owner, node;
};

struct table_of_locks {
    struct series s;
    struct shared sh;
    uint64_t made; /* keys that were new */
};

static uint32_t *node_of; /* by owner: what it waits by, 0 = it does not */
static uint64_t now = HOUR, seed = 1;

static void give_up(const char *what)
{
    fprintf(stderr, "core: %s\n", what);
    exit(1);
}

static void must(bool so, const char *what)
{
    if (!so)
        give_up(what);
}

static uint32_t any(uint32_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)((seed >> 32) * below >> 32);
}

/* All of its memory is there from the start: a page that is touched for the first time costs more
   than any step. */
static void make_region(struct shared *sh, uint32_t locks, uint32_t owners, uint64_t nodes)
{
    struct region_limits limits = {.max_locks = locks, .max_conns = owners, .max_nodes = nodes};
    struct region *r;
    int err;

    r = region_create(&limits, &err);
    must(r != NULL, "no memory for the table");
    for (uint64_t at = r->geo.from; at < r->geo.size; at += 4096) {
        volatile char *page = region_base(r) + at;

        *page = *page;
    }
    shared_attach(sh, r, 0);
    for (uint32_t i = 1; i <= owners; i++)
        sh->table.owners[i].id = i;
}

static void begin(struct shared *sh, struct tx *tx, uint64_t hash)
{
    must(shared_begin(sh, tx, table_shard_of(hash), now), "a shard cannot be locked");
}

static enum verdict acquire(struct shared *sh, const struct table_key *key, uint32_t owner,
                            uint64_t lease, struct grant *g)
{
    struct acquire_args args = {.key = *key, .owner = owner, .limit = 1, .lease = lease};
    struct tx tx;
    enum verdict v;
    bool locked;

    begin(sh, &tx, key->hash);
    op_end_overdue(sh, &tx, key);
    v = op_acquire(sh, &tx, &args, g, &locked, &now);
    if (locked)
        shared_end(sh, &tx);
    shared_return_units(sh);
    return v;
}

static void release(struct shared *sh, const struct table_key *key, const struct grant *g)
{
    struct tx tx;

    begin(sh, &tx, key->hash);
    must(table_release(&tx, key, g->fence, g->salt) == VERDICT_OK, "a release is refused");
    shared_end(sh, &tx);
}

/* ---- queues ---- */

static void join(struct shared *sh, struct line *q, uint32_t owner)
{
    struct grant g;

    must(acquire(sh, &q->key, owner, HOUR, &g) == VERDICT_QUEUED, "a request does not wait");
    node_of[owner] = g.node;
}

/* The next one gets it; out of the queue is who had it, for the end of the queue. */
static void grant(struct shared *sh, struct left *l)
{
    struct line *q = l->line;
    uint32_t node;
    struct tx tx;

    l->owner = q->holder;
    release(sh, &q->key, &q->held);
    begin(sh, &tx, q->key.hash);
    node = table_pending(&tx, 0);
    must(node != 0, "nobody is granted");
    q->holder = table_node(&sh->table, node)->owner;
    must(table_deliver(&tx, node, &q->held) == VERDICT_OK, "a grant cannot be delivered");
    shared_end(sh, &tx);
    node_of[q->holder] = 0;
}

static void time_out(struct shared *sh, struct left *l)
{
    struct grant g;
    struct tx tx;

    begin(sh, &tx, l->line->key.hash);
    must(table_unblock(&tx, l->node, true, &g) == VERDICT_TIMEOUT, "no timeout");
    shared_end(sh, &tx);
}

static void cancel(struct shared *sh, struct left *l)
{
    must(holdings_drop(sh, l->owner, true, false, now), "an owner cannot be dropped");
}

/* Somebody who waits, wherever in the queue. */
static void choose(struct left *l)
{
    do
        l->owner = l->line->first + any(l->line->n);
    while (!node_of[l->owner]);
    l->node = node_of[l->owner];
    node_of[l->owner] = 0;
}

/* A batch of one step, and of the requests that fill the queues again; ns. */
static void batch(struct shared *sh, struct queues *set, enum step step, double *took,
                  double *joined)
{
    void (*const run[])(struct shared *, struct left *) = {grant, time_out, cancel};
    struct left left[BATCH];
    uint64_t t0, t1;

    for (unsigned i = 0; i < BATCH; i++) {
        left[i].line = &set->line[set->at++ % set->n];
        if (step != GRANT)
            choose(&left[i]);
    }
    t0 = clock_monotonic_ns();
    for (unsigned i = 0; i < BATCH; i++)
        run[step](sh, &left[i]);
    t1 = clock_monotonic_ns();
    for (unsigned i = 0; i < BATCH; i++)
        join(sh, left[i].line, left[i].owner);
    *took += (double)(t1 - t0);
    *joined += (double)(clock_monotonic_ns() - t1);
}

static void queues_round(struct shared *sh, struct queues *set, unsigned round)
{
    double joined = 0;

    for (enum step step = GRANT; step <= CANCEL; step++) {
        double took = 0;

        for (unsigned i = 0; i < BATCHES; i++) {
            now += NS_PER_MS;
            batch(sh, set, step, &took, &joined);
        }
        set->s.ns[step][round] = took / (BATCHES * BATCH);
    }
    set->s.ns[JOIN][round] = joined / (3.0 * BATCHES * BATCH);
}

static uint32_t make_queues(struct shared *sh, struct queues *set, uint32_t first)
{
    set->line = calloc(set->n, sizeof(*set->line));
    must(set->line != NULL, "no memory");
    for (uint32_t i = 0; i < set->n; i++) {
        struct line *q = &set->line[i];
        int len = snprintf(q->text, sizeof(q->text), "queue-%u-%u", first, i);

        q->key = shared_key(sh, KIND_LOCK, q->text, (uint32_t)len);
        q->first = q->holder = first;
        q->n = set->s.n / set->n + 1;
        must(acquire(sh, &q->key, first, HOUR, &q->held) == VERDICT_OK, "a key is not free");
        first += q->n;
    }
    /* In turn, as they would come: the requests of one queue do not lie side by side. */
    for (uint32_t w = 1; w <= set->s.n / set->n; w++)
        for (uint32_t i = 0; i < set->n; i++)
            join(sh, &set->line[i], set->line[i].first + w);
    return first;
}

/* ---- locks held ---- */

static struct table_key lock_key(struct shared *sh, char *text, const char *what, uint64_t i)
{
    int len =
        snprintf(text, KEY_INLINE, "locks-of-the-benchmark-%s-%llu", what, (unsigned long long)i);

    return shared_key(sh, KIND_LOCK, text, (uint32_t)len);
}

/* By one of the connections that hold nothing but this. */
static void lock(struct shared *sh, const struct table_key *key, uint64_t lease, struct grant *g)
{
    must(acquire(sh, key, HOLDERS + 1 + any(PROBERS), lease, g) == VERDICT_OK,
         "a lock is not free");
}

static double again_round(struct shared *sh)
{
    static char text[KEYS][KEY_INLINE];
    struct table_key key[KEYS];
    struct grant g;
    uint64_t began;

    for (unsigned i = 0; i < KEYS; i++)
        key[i] = lock_key(sh, text[i], "again", i);
    began = clock_monotonic_ns();
    for (unsigned n = 0; n < 5; n++) {
        for (unsigned i = 0; i < KEYS; i++) {
            lock(sh, &key[i], HOUR, &g);
            release(sh, &key[i], &g);
        }
    }
    return (double)(clock_monotonic_ns() - began) / (5.0 * KEYS);
}

static double new_round(struct table_of_locks *t)
{
    uint64_t began = clock_monotonic_ns();

    for (unsigned i = 0; i < KEYS; i++) {
        char text[KEY_INLINE];
        struct table_key key = lock_key(&t->sh, text, "new", t->made++);
        struct grant g;
        struct tx tx;

        lock(&t->sh, &key, HOUR, &g);
        release(&t->sh, &key, &g);
        begin(&t->sh, &tx, key.hash);
        must(table_collect(&tx, now), "nothing to collect");
        shared_end(&t->sh, &tx);
        shared_return_units(&t->sh);
    }
    return (double)(clock_monotonic_ns() - began) / KEYS;
}

/* Ends what is due, ns; every shard has some. */
static uint64_t end_leases(struct shared *sh)
{
    uint64_t began = clock_monotonic_ns();
    uint32_t ended = 0;

    for (uint32_t shard = 0; shard < SHARD_COUNT; shard++) {
        bool more = true;

        while (more) {
            struct tx tx;

            must(shared_begin(sh, &tx, shard, now), "a shard cannot be locked");
            for (unsigned i = 0; more && i < LEASES_A_HOLD; i++) {
                more = table_expire(&tx);
                shared_step(&tx);
            }
            ended += tx.expired;
            shared_end(sh, &tx);
        }
    }
    must(ended == KEYS, "other leases have ended than should");
    return clock_monotonic_ns() - began;
}

static double lease_round(struct shared *sh)
{
    uint64_t took = 0;

    for (unsigned n = 0; n < 5; n++) {
        for (unsigned i = 0; i < KEYS; i++) {
            char text[KEY_INLINE];
            struct table_key key = lock_key(sh, text, "lease", i);
            struct grant g;

            lock(sh, &key, NS_PER_SEC + any((uint32_t)NS_PER_SEC), &g);
        }
        now += 3 * NS_PER_SEC;
        took += end_leases(sh);
    }
    return (double)took / (5.0 * KEYS);
}

static void locks_round(struct table_of_locks *t, unsigned round)
{
    t->s.ns[NEW][round] = new_round(t); /* before anything else is idle that could be collected */
    t->s.ns[AGAIN][round] = again_round(&t->sh);
    t->s.ns[LEASE][round] = lease_round(&t->sh);
    for (uint32_t shard = 0; shard < SHARD_COUNT; shard++) {
        struct tx tx;

        must(shared_begin(&t->sh, &tx, shard, now), "a shard cannot be locked");
        while (table_collect(&tx, now))
            shared_step(&tx);
        shared_end(&t->sh, &tx);
        shared_return_units(&t->sh);
    }
}

static void make_locks(struct table_of_locks *t, uint32_t room)
{
    make_region(&t->sh, room, HOLDERS + PROBERS, room + 65536);
    for (uint32_t i = 0; i < t->s.n; i++) {
        char text[KEY_INLINE];
        struct table_key key = lock_key(&t->sh, text, "held", i);
        struct grant g;

        /* Longer than this runs, in its own time; they lie all over the wheel. */
        must(acquire(&t->sh, &key, 1 + i % HOLDERS, 10 * HOUR + any(100000) * (HOUR / 1000), &g) ==
                 VERDICT_OK,
             "a lock is not free");
    }
}

/* ---- what came of it ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void print(struct series *s, enum step from, enum step to, unsigned rounds)
{
    for (enum step i = from; i <= to; i++) {
        qsort(s->ns[i], rounds, sizeof(double), by_value);
        printf("{\"step\": \"%s\", \"%s\": %u, \"in\": \"%s\", \"ns\": %.1f}\n", step_name[i],
               s->of, s->n, s->in, s->ns[i][rounds / 2]);
    }
}

static void print_ratios(const char *name, const struct series *much, const struct series *few,
                         enum step from, enum step to, unsigned rounds)
{
    printf("\"%s\": {", name);
    for (enum step i = from; i <= to; i++)
        printf("\"%s\": %.3f%s", step_name[i], much->ns[i][rounds / 2] / few->ns[i][rounds / 2],
               i == to ? "}" : ", ");
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 15;
    uint32_t waiters = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 100000;
    uint32_t locks = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 1000000;
    static struct queues q[3];
    static struct table_of_locks t[2];
    static struct shared sh;
    uint32_t owner = 1;

    if (rounds < 1 || rounds > ROUNDS_MAX || waiters < FEW_WAITERS || waiters > 1000000 ||
        waiters % FEW_WAITERS || locks < FEW_LOCKS || locks > 10000000) {
        fprintf(stderr,
                "usage: core [ROUNDS [WAITERS [LOCKS]]]\n"
                "ROUNDS 1 … %d; WAITERS a multiple of %d, at most 1000000; LOCKS %d … "
                "10000000\n",
                ROUNDS_MAX, FEW_WAITERS, FEW_LOCKS);
        return 2;
    }
    q[0] = (struct queues){.s = {"waiters", FEW_WAITERS, "one queue", {{0}}}, .n = 1};
    q[1] = (struct queues){.s = {"waiters", waiters, "one queue", {{0}}}, .n = 1};
    q[2] = (struct queues){.s = {"waiters", waiters, "queues of 100", {{0}}},
                           .n = waiters / FEW_WAITERS};
    node_of = calloc(3 * (size_t)waiters + FEW_WAITERS, sizeof(*node_of));
    must(node_of != NULL, "no memory");
    make_region(&sh, FEW_LOCKS + waiters / FEW_WAITERS, 3 * waiters + FEW_WAITERS,
                2 * waiters + 65536);
    for (unsigned i = 0; i < 3; i++)
        owner = make_queues(&sh, &q[i], owner);
    t[0].s = (struct series){"locks", FEW_LOCKS, "the table", {{0}}};
    t[1].s = (struct series){"locks", locks, "the table", {{0}}};
    for (unsigned i = 0; i < 2; i++)
        make_locks(&t[i], locks + FEW_LOCKS + 3 * KEYS);
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < 3; i++)
            queues_round(&sh, &q[round % 2 ? 2 - i : i], round);
        for (unsigned i = 0; i < 2; i++)
            locks_round(&t[round % 2 ? 1 - i : i], round);
    }
    for (unsigned i = 0; i < 3; i++)
        print(&q[i].s, GRANT, JOIN, rounds);
    for (unsigned i = 0; i < 2; i++)
        print(&t[i].s, AGAIN, LEASE, rounds);
    printf("{\"ratios\": {");
    print_ratios("many waiters in one queue", &q[1].s, &q[0].s, GRANT, JOIN, rounds);
    printf(", ");
    print_ratios("one queue instead of many", &q[1].s, &q[2].s, GRANT, JOIN, rounds);
    printf(", ");
    print_ratios("many locks", &t[1].s, &t[0].s, AGAIN, LEASE, rounds);
    printf("}}\n");
    return 0;
}
