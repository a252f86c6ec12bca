/*
 * tests/shm/shared_test.c - several processes on one table, killed and restarted at random: mutual
 * exclusion, order of the queue, the exact cap, no grant untold, no unit lost.
 */
#include "shm/shared.h"

#include "base/clock.h"
#include "core/check.h"
#include "shm/bell.h"
#include "shm/caps.h"
#include "shm/lock.h"
#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <inttypes.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    WORKERS = 4,
    PER_WORKER = 4,
    OWNERS = WORKERS * PER_WORKER,
    KEYS = 16,
    MAX_LOCKS = 8, /* fewer than keys: idle ones are collected all the time */
    GRANTS = 1 << 17,
    KILLS = 60, /* more on a machine that is quick */
    REPAIRS = 10,
    STEPS = 1000000, /* a worker that has not taken a lock by then never will */
    SECONDS = 4,
};

#define LEASE UINT64_C(3600000000000) /* none ends by itself here */

struct grant_record {
    uint64_t ticket; /* twice; odd: it had waited */
    uint64_t fence;
};

struct board {
    uint8_t inside[KEYS][OWNERS + 1];
    uint64_t moves[KEYS]; /* in and out: who counts must not count two who follow each other */
    uint64_t counted;     /* how often nobody moved meanwhile */
    uint64_t ticket[KEYS][OWNERS + 1]; /* of a request in the queue, 0 = none */
    uint64_t done[WORKERS];            /* actions */
    uint64_t full;                     /* refused: no unit, nothing idle */
    uint64_t waited;
    uint64_t repaired; /* shards, by workers that met a dead one's mutex */
    uint32_t errors;
    char error[160];
    uint32_t stop;
    uint32_t stopped;
    uint64_t ngrants[KEYS];
    struct grant_record grant[KEYS][GRANTS];
};

static struct board *board;
static struct region *r;

static uint32_t limit_of(uint32_t k)
{
    return k % 3 + 1;
}

static struct table_key key_of(const struct shared *sh, uint32_t k)
{
    static char name[KEYS][8];

    name[k][0] = 'k';
    name[k][1] = (char)('a' + k);
    return shared_key(sh, limit_of(k) > 1 ? KIND_SEM : KIND_LOCK, name[k], 2);
}

static struct owner *owner_of(uint32_t o)
{
    return (struct owner *)(region_base(r) + r->geo.owners) + o;
}

static void begin(uint32_t max_locks)
{
    struct region_limits limits = {.max_locks = max_locks, .max_conns = OWNERS,
                                   .max_nodes = 256};
    int err;

    if (r)
        region_destroy(r);
    r = region_create(&limits, &err);
    if (!r)
        bail_out("region_create: %d", err);
    for (uint32_t o = 1; o <= OWNERS; o++) {
        owner_of(o)->id = __atomic_fetch_add(&r->conn_id_next, 1, __ATOMIC_RELAXED);
        owner_of(o)->worker = (o - 1) / PER_WORKER;
    }
}

static void wrong(const char *what, uint32_t k, uint32_t o, uint32_t n)
{
    if (__atomic_fetch_add(&board->errors, 1, __ATOMIC_SEQ_CST) == 0)
        snprintf(board->error, sizeof(board->error), "%s (key %u, owner %u, %u)", what, k, o, n);
}

/* ---- a worker's private side ---- */

struct client {
    uint32_t blocked; /* node */
    uint32_t blocked_key;
    bool enqueued[KEYS];
    bool held[KEYS];
    uint64_t fence[KEYS], salt[KEYS];
};

struct actor {
    struct shared sh;
    uint32_t worker;
    uint64_t now;
    struct client client[OWNERS + 1];
};

static void count_inside(uint32_t k, uint32_t o)
{
    for (unsigned tries = 0; tries < 3; tries++) {
        uint64_t moves = __atomic_load_n(&board->moves[k], __ATOMIC_SEQ_CST);
        uint32_t n = 0;

        for (uint32_t other = 1; other <= OWNERS; other++)
            n += __atomic_load_n(&board->inside[k][other], __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&board->moves[k], __ATOMIC_SEQ_CST) != moves)
            continue;
        if (n > limit_of(k))
            wrong("too many inside", k, o, n);
        __atomic_fetch_add(&board->counted, 1, __ATOMIC_RELAXED);
        return;
    }
}

static void entered(struct actor *a, uint32_t k, uint32_t o, const struct grant *g)
{
    struct client *c = &a->client[o];
    uint64_t ticket = board->ticket[k][o];
    uint64_t i;

    __atomic_store_n(&board->inside[k][o], 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&board->moves[k], 1, __ATOMIC_SEQ_CST);
    count_inside(k, o);
    board->ticket[k][o] = 0;
    if (c->held[k])
        wrong("granted twice", k, o, 0);
    c->held[k] = true;
    c->fence[k] = g->fence;
    c->salt[k] = g->salt;
    if (ticket & 1)
        __atomic_fetch_add(&board->waited, 1, __ATOMIC_RELAXED);
    i = __atomic_fetch_add(&board->ngrants[k], 1, __ATOMIC_SEQ_CST);
    if (i < GRANTS)
        board->grant[k][i] = (struct grant_record){.ticket = ticket, .fence = g->fence};
}

static void leave(struct actor *a, uint32_t k, uint32_t o)
{
    __atomic_store_n(&board->inside[k][o], 0, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&board->moves[k], 1, __ATOMIC_SEQ_CST);
    a->client[o].held[k] = false;
}

static bool lock(struct actor *a, struct tx *tx, uint32_t shard)
{
    if (shared_begin(&a->sh, tx, shard, a->now))
        return true;
    wrong("quarantined", shard, 0, 0);
    return false;
}

static void deliver(struct actor *a, uint64_t mask)
{
    for (; mask; mask &= mask - 1) {
        uint32_t shard = (uint32_t)__builtin_ctzll(mask);
        struct tx tx;
        uint32_t node;

        if (!lock(a, &tx, shard))
            return;
        while ((node = table_pending(&tx, a->worker)) != 0) {
            uint32_t o = table_node(&a->sh.table, node)->owner;
            struct client *c = &a->client[o];
            struct grant g;
            enum verdict v;

            if (c->blocked != node)
                wrong("a grant for a request that does not wait", 0, o, node);
            v = table_deliver(&tx, node, &g);
            shared_step(&tx);
            if (v != VERDICT_OK)
                wrong("delivery failed", c->blocked_key, o, v);
            c->blocked = 0;
            c->enqueued[c->blocked_key] = false;
            entered(a, c->blocked_key, o, &g);
        }
        shared_end(&a->sh, &tx);
    }
}

static void acquire(struct actor *a, uint32_t k, uint32_t o)
{
    struct client *c = &a->client[o];
    struct table_key key = key_of(&a->sh, k);
    struct acquire_args args = {.key = key, .owner = o, .limit = limit_of(k), .lease = LEASE,
                                .try_only = proc_below(4) == 0,
                                .two_phase = proc_below(3) == 0};
    struct grant g;
    struct tx tx;
    enum verdict v;
    uint64_t ticket;

    args.try_only = args.try_only && !args.two_phase;
    if (!lock(a, &tx, table_shard_of(key.hash)))
        return;
    v = table_acquire(&tx, &args, &g);
    if (v == VERDICT_NEED_UNIT) {
        shared_end(&a->sh, &tx);
        if (!shared_make_room(&a->sh, a->now)) {
            __atomic_fetch_add(&board->full, 1, __ATOMIC_RELAXED);
            return;
        }
        if (!lock(a, &tx, table_shard_of(key.hash)))
            return;
        v = table_acquire(&tx, &args, &g);
    }
    /* What is granted at once must not overtake a smaller ticket. */
    ticket = v == VERDICT_QUEUED ? table_node(&a->sh.table, g.node)->order * 2 + 1
                                 : tx.s->ticket_next * 2;
    shared_end(&a->sh, &tx);
    shared_return_units(&a->sh);
    if (v == VERDICT_OK || v == VERDICT_QUEUED)
        board->ticket[k][o] = ticket;
    if (v == VERDICT_OK && !args.two_phase)
        entered(a, k, o, &g);
    else if ((v == VERDICT_OK || v == VERDICT_QUEUED) && args.two_phase)
        c->enqueued[k] = true;
    else if (v == VERDICT_QUEUED) {
        c->blocked = g.node;
        c->blocked_key = k;
    } else if (v != VERDICT_TIMEOUT || !args.try_only)
        wrong("acquire", k, o, v);
}

static void wait_for(struct actor *a, uint32_t k, uint32_t o)
{
    struct client *c = &a->client[o];
    struct table_key key = key_of(&a->sh, k);
    struct grant g;
    struct tx tx;
    enum verdict v;
    bool block = proc_below(4) > 0;

    if (!lock(a, &tx, table_shard_of(key.hash)))
        return;
    v = table_wait(&tx, &key, o, block, &g);
    shared_end(&a->sh, &tx);
    if (v == VERDICT_OK) {
        c->enqueued[k] = false;
        entered(a, k, o, &g);
    } else if (v == VERDICT_QUEUED && block) {
        c->blocked = g.node;
        c->blocked_key = k;
    } else if (v == VERDICT_TIMEOUT && !block) {
        c->enqueued[k] = false;
    } else {
        wrong("wait", k, o, v);
    }
}

static void release(struct actor *a, uint32_t k, uint32_t o)
{
    struct table_key key = key_of(&a->sh, k);
    struct tx tx;
    enum verdict v;

    leave(a, k, o);
    if (!lock(a, &tx, table_shard_of(key.hash)))
        return;
    v = table_release(&tx, &key, a->client[o].fence[k], a->client[o].salt[k]);
    shared_end(&a->sh, &tx);
    if (v != VERDICT_OK)
        wrong("release", k, o, v);
}

static void renew(struct actor *a, uint32_t k, uint32_t o)
{
    struct table_key key = key_of(&a->sh, k);
    struct tx tx;
    enum verdict v;

    if (!lock(a, &tx, table_shard_of(key.hash)))
        return;
    v = table_renew(&tx, &key, o, a->client[o].fence[k], a->client[o].salt[k], LEASE);
    shared_end(&a->sh, &tx);
    if (v != VERDICT_OK)
        wrong("renew", k, o, v);
}

static void unblock(struct actor *a, uint32_t o)
{
    struct client *c = &a->client[o];
    uint32_t k = c->blocked_key;
    struct table_key key = key_of(&a->sh, k);
    struct grant g;
    struct tx tx;
    enum verdict v;

    if (!lock(a, &tx, table_shard_of(key.hash)))
        return;
    v = table_unblock(&tx, c->blocked, true, &g);
    shared_end(&a->sh, &tx);
    c->blocked = 0;
    c->enqueued[k] = false;
    if (v == VERDICT_OK)
        entered(a, k, o, &g);
    else if (v != VERDICT_TIMEOUT)
        wrong("unblock", k, o, v);
}

/* One of the keys for which `what` says yes, KEYS when there is none. */
static uint32_t first_of(const bool what[KEYS])
{
    uint32_t start = proc_below(KEYS);

    for (uint32_t i = 0; i < KEYS; i++)
        if (what[(start + i) % KEYS])
            return (start + i) % KEYS;
    return KEYS;
}

/* Who waits holds nothing, mostly: or all would wait for each other most of the time. */
static void act(struct actor *a)
{
    uint32_t o = a->worker * PER_WORKER + 1 + proc_below(PER_WORKER);
    uint32_t k = proc_below(2) ? proc_below(3) : proc_below(KEYS);
    struct client *c = &a->client[o];
    uint32_t held = first_of(c->held), enqueued = first_of(c->enqueued);

    if (c->blocked) {
        if (proc_below(100) == 0)
            unblock(a, o);
        else
            sched_yield();
    } else if (held < KEYS && proc_below(64)) {
        if (proc_below(4))
            release(a, held, o);
        else
            renew(a, held, o);
    } else if (enqueued < KEYS && proc_below(64)) {
        wait_for(a, enqueued, o);
    } else if (!c->held[k] && !c->enqueued[k]) {
        acquire(a, k, o);
    }
}

/* What a predecessor left: its clients are gone. */
static void inherit(struct actor *a)
{
    shared_recover(&a->sh);
    for (uint32_t i = 1; i <= PER_WORKER; i++) {
        uint32_t o = a->worker * PER_WORKER + i;

        for (uint32_t k = 0; k < KEYS; k++) {
            board->ticket[k][o] = 0;
            leave(a, k, o);
        }
        for (uint32_t shard = 0; shard < SHARD_COUNT; shard++) {
            struct tx tx;

            if (!owner_of(o)->held[shard] || !lock(a, &tx, shard))
                continue;
            while (table_drop_owner(&tx, o, true, false))
                shared_step(&tx);
            shared_end(&a->sh, &tx);
        }
        if (table_owns_any(&a->sh.table, o))
            wrong("a dead client still owns something", 0, o, 0);
        owner_of(o)->id = __atomic_fetch_add(&r->conn_id_next, 1, __ATOMIC_RELAXED);
    }
}

static void live(void *arg)
{
    static struct actor a;

    a.worker = (uint32_t)(uintptr_t)arg;
    shared_attach(&a.sh, r, a.worker);
    a.now = clock_boottime_ns();
    inherit(&a);
    deliver(&a, UINT64_MAX);
    while (!__atomic_load_n(&board->stop, __ATOMIC_SEQ_CST)) {
        a.now = clock_boottime_ns();
        deliver(&a, bell_drain(r, a.worker));
        act(&a);
        if (a.sh.repaired) {
            __atomic_fetch_add(&board->repaired, 1, __ATOMIC_RELAXED);
            a.sh.repaired = 0;
        }
        __atomic_fetch_add(&board->done[a.worker], 1, __ATOMIC_RELAXED);
    }
    /* No new requests; what was granted must still be told, by mask alone. */
    __atomic_fetch_add(&board->stopped, 1, __ATOMIC_SEQ_CST);
    proc_wait_for(&board->stopped, WORKERS, PROC_DEADLINE_NS);
    deliver(&a, bell_drain(r, a.worker));
}

/* As the master does. */
static void bury(uint32_t worker, pid_t pid)
{
    lock_sweep(r, (uint32_t)pid);
    for (uint32_t i = 0; i < WORKERS; i++)
        if (i != worker)
            bell_alarm(r, i);
}

/* ---- the end ---- */

static int by_fence(const void *x, const void *y)
{
    const struct grant_record *a = x, *b = y;

    return a->fence < b->fence ? -1 : a->fence > b->fence;
}

static void check_order(void)
{
    uint64_t bad = 0, same = 0, n_all = 0;

    for (uint32_t k = 0; k < KEYS; k++) {
        uint64_t n = board->ngrants[k] < GRANTS ? board->ngrants[k] : GRANTS;
        const struct grant_record *last = NULL;

        qsort(board->grant[k], n, sizeof(board->grant[k][0]), by_fence);
        for (uint64_t i = 0; i < n; i++) {
            const struct grant_record *g = &board->grant[k][i];

            if (!g->fence || !g->ticket)
                continue; /* its worker was killed before it could write it down */
            n_all++;
            same += last && g->fence == last->fence;
            bad += last && (g->ticket / 2 < last->ticket / 2 ||
                            (g->ticket == last->ticket && (g->ticket & 1)));
            last = g;
        }
    }
    is_u64(bad, 0, "%" PRIu64 " grants, each key's in the order of its tickets", n_all);
    is_u64(same, 0, "no fence twice");
}

static void check_table(struct shared *sh)
{
    uint64_t bad = 0, pending = 0, resources = 0, hands = 0;

    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        const struct shard *s = table_shard(&sh->table, i);
        struct check_report report = {0};

        if (check_shard(&sh->table, i, &report) != 0) {
            diag("shard %u: I%d at %u: %s", i, report.invariant, report.index, report.what);
            bad++;
        }
        resources += s->res_count;
        for (uint32_t w = 0; w < WORKERS; w++)
            pending += s->pending[w] != 0;
    }
    for (uint32_t w = 0; w < WORKER_MAX; w++)
        hands += region_worker(r, w)->units.reserved;
    is_u64(bad, 0, "all shards are valid");
    is_u64(pending, 0, "every grant was told");
    is_u64(resources + hands + caps_free(r), MAX_LOCKS, "no unit was lost or made");
}

static void drop_all(void)
{
    for (uint32_t w = 0; w < WORKERS; w++) {
        static struct actor a;

        memset(&a, 0, sizeof(a));
        a.worker = w;
        shared_attach(&a.sh, r, w);
        a.now = clock_boottime_ns();
        inherit(&a);
    }
}

/* With nothing held, exactly MAX_LOCKS keys can be. */
static void check_cap(struct shared *sh)
{
    unsigned made = 0, refused = 0;

    for (uint32_t k = 0; k < MAX_LOCKS + 3; k++) {
        char name[8] = {'n', (char)('a' + k)};
        struct acquire_args args = {.key = shared_key(sh, KIND_LOCK, name, 2), .owner = 1,
                                    .limit = 1, .lease = LEASE};
        struct grant g;
        struct tx tx;
        enum verdict v;

        if (!shared_make_room(sh, clock_boottime_ns())) {
            refused++;
            continue;
        }
        shared_begin(sh, &tx, table_shard_of(args.key.hash), clock_boottime_ns());
        v = table_acquire(&tx, &args, &g);
        shared_end(sh, &tx);
        made += v == VERDICT_OK;
    }
    is_u64(made, MAX_LOCKS, "idle keys make room: max-locks keys can be held");
    is_u64(refused, 3, "and not one more");
}

static bool holds_lock(pid_t pid)
{
    for (uint32_t i = 0; i < SHARD_COUNT; i++)
        if ((__atomic_load_n(&r->mutex[i].mutex.__data.__lock, __ATOMIC_RELAXED) &
             FUTEX_TID_MASK) == (uint32_t)pid)
            return true;
    return false;
}

/* Leaves it stopped at an instruction while it holds a shard's mutex: at random few would die so. */
static void stop_with_lock(pid_t pid)
{
    proc_seize(pid);
    for (unsigned steps = 0; !holds_lock(pid); steps++)
        if (steps >= STEPS || proc_step(pid) != PROC_STOPPED)
            bail_out("process %d takes no lock", (int)pid);
    for (uint32_t n = proc_below(300); n > 0; n--) {
        proc_step(pid);
        if (!holds_lock(pid))
            return;
    }
}

static bool enough(unsigned kills, uint64_t until)
{
    return board->errors ||
           (kills >= KILLS && proc_now() > until && board->repaired >= REPAIRS);
}

static void test_soak(uint64_t seed)
{
    uint64_t until = proc_now() + SECONDS * UINT64_C(1000000000);
    unsigned kills = 0;
    uint64_t done = 0;
    pid_t pid[WORKERS];
    struct shared sh;

    begin(MAX_LOCKS);
    shared_attach(&sh, r, 0);
    for (uint32_t w = 0; w < WORKERS; w++) {
        proc_reseed(seed + w);
        pid[w] = proc_start(live, (void *)(uintptr_t)w);
    }
    proc_reseed(seed);
    while (!enough(kills, until)) {
        uint32_t w = proc_below(WORKERS);

        if (!proc_wait_least(&board->done[w], board->done[w] + 1 + proc_below(2000),
                             PROC_DEADLINE_NS))
            bail_out("worker %u does nothing: %s", w, board->error);
        if (kills % 2)
            stop_with_lock(pid[w]);
        else
            for (uint32_t n = proc_below(2000); n > 0; n--)
                __asm__ volatile("" ::: "memory");
        proc_kill(pid[w]);
        bury(w, pid[w]);
        kills++;
        proc_reseed(seed + kills * WORKERS + w);
        pid[w] = proc_start(live, (void *)(uintptr_t)w);
        proc_reseed(seed + kills * 977);
    }
    __atomic_store_n(&board->stop, 1, __ATOMIC_SEQ_CST);
    for (uint32_t w = 0; w < WORKERS; w++) {
        is_int(proc_reap(pid[w]), 0, "worker %u ends well", w);
        done += board->done[w];
    }
    diag("%" PRIu64 " actions, %" PRIu64 " grants after a wait, %" PRIu64 " refused by the cap",
         done, board->waited, board->full);
    ok(kills >= KILLS && board->repaired >= REPAIRS, "%u kills, %" PRIu64 " with a lock held",
       kills, board->repaired);
    ok(board->waited > 100 && board->full > 0, "the queues and the cap were used");
    ok(board->counted > board->waited / 2, "%" PRIu64 " times who was inside was counted",
       board->counted);
    is_str(board->error, "", "nothing went wrong");
    check_order();
    check_table(&sh);
    drop_all();
    check_cap(&sh);
    drop_all();
    check_table(&sh);
}

/* ---- a grant whose maker dies before it can tell ---- */

static uint64_t fence, salt;

static void release_it(void *arg)
{
    struct shared *sh = arg;
    struct table_key key = shared_key(sh, KIND_LOCK, "x", 1);
    struct tx tx;

    shared_begin(sh, &tx, table_shard_of(key.hash), 1);
    table_release(&tx, &key, fence, salt);
    shared_end(sh, &tx);
}

static void test_untold_grant(void)
{
    struct shared sh;
    struct table_key key;
    struct acquire_args args;
    struct worker_slot *w1;
    struct shard *s;
    struct grant g;
    struct tx tx;
    uint32_t shard;
    pid_t pid;

    begin(MAX_LOCKS);
    shared_attach(&sh, r, 0);
    key = shared_key(&sh, KIND_LOCK, "x", 1);
    args = (struct acquire_args){.key = key, .owner = 1, .limit = 1, .lease = LEASE};
    shard = table_shard_of(key.hash);
    s = table_shard(&sh.table, shard);
    w1 = region_worker(r, 1);
    ok(shared_make_room(&sh, 1) && shared_begin(&sh, &tx, shard, 1), "worker 0");
    is_int(table_acquire(&tx, &args, &g), VERDICT_OK, "holds a lock");
    fence = g.fence;
    salt = g.salt;
    shared_step(&tx);
    args.owner = PER_WORKER + 1;
    is_int(table_acquire(&tx, &args, &g), VERDICT_QUEUED, "for which a client of worker 1 waits");
    shared_end(&sh, &tx);

    pid = proc_start_traced(release_it, &sh);
    while (r->mutex[shard].mutex.__data.__lock == 0)
        if (proc_step(pid) == PROC_ENDED)
            bail_out("it did not lock");
    while (r->mutex[shard].mutex.__data.__lock != 0)
        if (proc_step(pid) == PROC_ENDED)
            bail_out("it did not unlock");
    proc_kill(pid);
    ok(s->pending[1] != 0 && w1->mask == 0,
       "killed after its commit: the grant is made, nobody was told");
    is_u64(lock_sweep(r, (uint32_t)pid), 0, "no mutex names it");
    is_u64(bell_drain(r, 1), 0, "worker 1 knows of nothing");
    bell_alarm(r, 1);
    ok(bell_drain(r, 1) >> shard & 1, "until the master makes it look everywhere");
    is_u64(s->journal.count, 0, "and nothing was rolled back");
}

/* ---- what an heir puts in order ---- */

static void take_one(void *arg)
{
    (void)arg;
    caps_take(r, 1);
}

static void change_half(void *arg)
{
    struct worker_slot *w = region_worker(r, 1);

    (void)arg;
    JOURNAL_SET(&w->journal, region_base(r), w->counters.requests, 77);
    JOURNAL_SET(&w->journal, region_base(r), w->counters.timeouts, 78);
    raise(SIGKILL);
}

static void test_recover(void)
{
    unsigned deaths = 0, wrong_sums = 0;
    struct worker_slot *w;
    struct shared sh;
    bool more = true;

    begin(MAX_LOCKS);
    shared_attach(&sh, r, 1);
    for (unsigned k = 0; more; k++) {
        pid_t pid = proc_start_traced(take_one, NULL);

        for (unsigned i = 0; more && i < k; i++)
            more = proc_step(pid) == PROC_STOPPED;
        if (more)
            proc_kill(pid);
        shared_recover(&sh);
        wrong_sums += caps_free(r) != MAX_LOCKS || sh.slot->units.reserved != 0;
        deaths++;
    }
    is_u64(wrong_sums, 0, "%u deaths while taking a unit: the heir returns strays", deaths);
    w = region_worker(r, 1);
    w->counters.requests = 5;
    w->counters.timeouts = 6;
    proc_reap(proc_start(change_half, NULL));
    is_u64(w->counters.requests + w->counters.timeouts, 77 + 78, "a change of its slot, half done");
    shared_recover(&sh);
    ok(w->counters.requests == 5 && w->counters.timeouts == 6 && w->journal.count == 0,
       "never happened");
}

/* ---- a shard beyond repair ---- */

static void test_quarantine(void)
{
    struct shared sh;
    struct tx tx;
    unsigned made = 0;
    struct grant g;

    begin(4);
    shared_attach(&sh, r, 0);
    for (unsigned i = 0; i < 4; i++) {
        char name[2] = {'q', (char)('a' + i)};
        struct acquire_args args = {.key = shared_key(&sh, KIND_LOCK, name, 2), .owner = 1,
                                    .limit = 1, .lease = LEASE};

        args.key.hash = args.key.hash << 6 >> 6 | (uint64_t)i << 58;
        if (!shared_make_room(&sh, 100) || !shared_begin(&sh, &tx, i, 100 + i))
            bail_out("no room");
        if (table_acquire(&tx, &args, &g) == VERDICT_OK)
            made += table_release(&tx, &args.key, g.fence, g.salt) == VERDICT_OK;
        shared_end(&sh, &tx);
    }
    is_u64(made, 4, "four idle keys in four shards, all units used");
    table_shard(&sh.table, 0)->state = SHARD_QUARANTINED;
    ok(!shared_begin(&sh, &tx, 0, 200), "the one that is idle longest is beyond repair");
    ok(shared_make_room(&sh, 200), "the next one makes room");
    for (unsigned i = 0; i < 2; i++) {
        caps_take(r, 0);
        sh.slot->units.reserved = 0; /* used */
        ok(shared_make_room(&sh, 200), "and the one after it");
    }
    sh.slot->units.reserved = 0;
    ok(!shared_make_room(&sh, 200), "then there is none left");
}

int main(void)
{
    uint64_t seed = proc_seed();

    board = proc_memory(sizeof(*board));
    test_untold_grant();
    test_quarantine();
    test_recover();
    test_soak(seed);
    return done_testing();
}
