/*
 * tests/shm/caps_test.c - units of max-locks: the cap is exact at every moment, and a death at any
 * instruction of a transfer neither loses a unit nor makes one.
 */
#include "shm/caps.h"

#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX = 5, WORKERS = 4, ROUNDS = 100000, KILLS = 300, HANDS = MAX };

struct board {
    uint64_t in_hand; /* never more than MAX */
    uint64_t most;
    uint64_t exceeded;
    uint64_t taken;
    uint64_t transfers[WORKERS];
    uint32_t go;
};

static struct board *board;
static struct region *r;

static void begin(void)
{
    struct region_limits limits = {.max_locks = MAX, .max_conns = 4, .max_nodes = 64};
    int err;

    if (r)
        region_destroy(r);
    r = region_create(&limits, &err);
    if (!r)
        bail_out("region_create: %d", err);
    memset(board, 0, sizeof(*board));
}

static uint32_t hand(uint32_t worker)
{
    return region_worker(r, worker)->units.reserved;
}

static uint32_t total(void)
{
    uint32_t sum = caps_free(r);

    for (uint32_t w = 0; w < WORKER_MAX; w++)
        sum += hand(w);
    return sum;
}

/* ---- alone ---- */

static void test_alone(void)
{
    unsigned n = 0;

    begin();
    is_u64(caps_free(r), MAX, "a new region: all units are free");
    while (n <= MAX && caps_take(r, 0))
        n++;
    is_u64(n, MAX, "as many can be taken as there are");
    is_u64(hand(0), MAX, "they are in the hand");
    is_u64(caps_free(r), 0, "none is free");
    ok(!caps_take(r, 1), "another worker gets none");
    is_u64(hand(1), 0, "and has none");
    caps_give(r, 0);
    ok(caps_take(r, 1), "one is given back, the other gets it");
    while (hand(0))
        caps_give(r, 0);
    caps_give(r, 1);
    is_u64(caps_free(r), MAX, "all given back");
    for (uint32_t w = 0; w < WORKER_MAX; w++)
        caps_recover(r, w);
    is_u64(caps_free(r), MAX, "nothing to recover: nothing changes");
    is_u64(total(), MAX, "for anybody");
}

/* The sequence number has 31 bits. */
/* --max-locks is lowered and raised while units are out. */
static void test_limit(void)
{
    begin();
    caps_take(r, 0);
    caps_take(r, 0);
    caps_limit(r, 3);
    is_u64(caps_free(r), 1, "a lower cap leaves what is above it");
    ok(caps_take(r, 1) && !caps_take(r, 1) && !caps_take(r, 0), "and is exact");
    caps_limit(r, 1);
    ok(caps_exceeded(r) && caps_free(r) == 0, "what is out may be more");
    caps_give(r, 0);
    ok(caps_exceeded(r) && !caps_take(r, 1), "one less is still too much");
    caps_give(r, 0);
    ok(!caps_exceeded(r) && !caps_take(r, 1), "as much as there may be");
    caps_give(r, 1);
    ok(caps_take(r, 1), "one");
    caps_limit(r, MAX + 10);
    is_u64(caps_free(r), MAX - 1, "raised, at most to what there is");
}

static void test_wrap(void)
{
    struct worker_slot *w;
    unsigned good = 0;

    begin();
    w = region_worker(r, 1);
    w->unit_seq = w->units.done_seq = w->unit_seen = 0x7ffffffd;
    for (unsigned i = 0; i < 8; i++) {
        good += caps_take(r, 1) && caps_take(r, 2);
        caps_recover(r, 1);
        caps_give(r, 1);
        caps_give(r, 2);
        caps_recover(r, 2);
        good += total() == MAX && caps_free(r) == MAX;
    }
    is_u64(good, 16, "the sequence number wraps");
}

/* ---- several at once ---- */

static void in_hand(int64_t by)
{
    uint64_t now = __atomic_add_fetch(&board->in_hand, (uint64_t)by, __ATOMIC_SEQ_CST);
    uint64_t most = __atomic_load_n(&board->most, __ATOMIC_RELAXED);

    if (now > MAX)
        __atomic_fetch_add(&board->exceeded, 1, __ATOMIC_RELAXED);
    while (by > 0 && now > most &&
           !__atomic_compare_exchange_n(&board->most, &most, now, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
        ;
}

static void take_and_give(void *arg)
{
    uint32_t w = (uint32_t)(uintptr_t)arg;

    proc_wait_for(&board->go, 1, PROC_DEADLINE_NS);
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (hand(w) < HANDS && (hand(w) == 0 || proc_below(2))) {
            if (caps_take(r, w)) {
                in_hand(1);
                __atomic_fetch_add(&board->taken, 1, __ATOMIC_RELAXED);
            }
        } else {
            in_hand(-1);
            caps_give(r, w);
        }
    }
    while (hand(w)) {
        in_hand(-1);
        caps_give(r, w);
    }
}

static void test_exact(uint64_t seed)
{
    pid_t pid[WORKERS];
    unsigned failed = 0;

    begin();
    for (uint32_t w = 0; w < WORKERS; w++) {
        proc_reseed(seed + w);
        pid[w] = proc_start(take_and_give, (void *)(uintptr_t)w);
    }
    __atomic_store_n(&board->go, 1, __ATOMIC_SEQ_CST);
    for (uint32_t w = 0; w < WORKERS; w++)
        failed += proc_reap(pid[w]) != 0;
    diag("%" PRIu64 " units taken, at most %" PRIu64 " at once", board->taken, board->most);
    is_u64(failed, 0, "%d workers, %d transfers each", WORKERS, ROUNDS);
    is_u64(board->exceeded, 0, "never more in hand than there are");
    is_u64(board->most, MAX, "and sometimes all of them");
    is_u64(caps_free(r), MAX, "all are free again");
}

/* ---- killed at random ---- */

static void for_ever(void *arg)
{
    uint32_t w = (uint32_t)(uintptr_t)arg;

    caps_recover(r, w);
    for (;;) {
        if (hand(w) < HANDS && proc_below(2))
            caps_take(r, w);
        else if (hand(w))
            caps_give(r, w);
        __atomic_fetch_add(&board->transfers[w], 1, __ATOMIC_RELAXED);
    }
}

static bool unfinished(uint32_t w)
{
    const struct worker_slot *s = region_worker(r, w);

    return s->units.done_seq != s->unit_seq;
}

/* Leaves it stopped within a transfer: at random few would die so. */
static void stop_inside(uint32_t w, pid_t pid)
{
    proc_seize(pid);
    for (unsigned steps = 0; !unfinished(w); steps++)
        if (steps > 100000 || proc_step(pid) != PROC_STOPPED)
            bail_out("worker %u transfers nothing", w);
    for (uint32_t n = proc_below(40); n > 0 && unfinished(w); n--)
        proc_step(pid);
}

static void test_random_kills(uint64_t seed)
{
    pid_t pid[WORKERS];
    unsigned kills = 0, inside = 0, wrong = 0;

    begin();
    for (uint32_t w = 0; w < WORKERS; w++)
        pid[w] = proc_start(for_ever, (void *)(uintptr_t)w);
    while (kills < KILLS || inside < KILLS / 10) {
        uint32_t w = proc_below(WORKERS);

        if (kills > 20 * KILLS)
            break;
        if (!proc_wait_least(&board->transfers[w], board->transfers[w] + 1 + proc_below(50),
                             PROC_DEADLINE_NS))
            bail_out("worker %u does nothing", w);
        if (kills % 2)
            stop_inside(w, pid[w]);
        else
            for (uint32_t n = proc_below(2000); n > 0; n--)
                __asm__ volatile("" ::: "memory");
        proc_kill(pid[w]);
        inside += unfinished(w);
        if (++kills % 20 == 0) {
            /* All of them, so that the sum can be looked at. */
            for (uint32_t i = 0; i < WORKERS; i++)
                if (i != w)
                    proc_kill(pid[i]);
            for (uint32_t i = 0; i < WORKERS; i++) {
                inside += i != w && unfinished(i);
                caps_recover(r, i);
            }
            kills += WORKERS - 1;
            wrong += total() != MAX;
            for (uint32_t i = 0; i < WORKERS; i++) {
                proc_reseed(seed + kills * WORKERS + i);
                pid[i] = proc_start(for_ever, (void *)(uintptr_t)i);
            }
        } else {
            pid[w] = proc_start(for_ever, (void *)(uintptr_t)w);
        }
    }
    for (uint32_t w = 0; w < WORKERS; w++) {
        proc_kill(pid[w]);
        caps_recover(r, w);
    }
    ok(kills >= KILLS, "%u kills, %u inside a transfer", kills, inside);
    ok(inside >= KILLS / 10, "enough of them inside");
    is_u64(wrong, 0, "all dead and recovered: the sum was right each time");
    is_u64(total(), MAX, "and at the end");
}

/* ---- killed at every instruction ---- */

static void one_take(void *arg)
{
    (void)arg;
    caps_take(r, 1);
}

static void one_give(void *arg)
{
    (void)arg;
    caps_give(r, 1);
}

static void one_recovery(void *arg)
{
    (void)arg;
    caps_recover(r, 1);
}

static bool run_to(pid_t pid, unsigned k)
{
    while (k-- > 0)
        if (proc_step(pid) == PROC_ENDED)
            return false;
    return true;
}

struct scene {
    const char *name;
    proc_main transfer;
    bool empty;   /* no unit is free */
    bool before;  /* another worker's transfer comes in between, before the kill */
    bool after;   /* and after it, before the recovery */
    unsigned between; /* the instruction after which it does */
};

static void other_moves(void)
{
    if (hand(2))
        caps_give(r, 2);
    else if (!caps_take(r, 2))
        bail_out("the other has nothing to move");
}

/* A transfer of worker 1 that is killed after k instructions; false when it is over before. */
static bool one_death(const struct scene *s, unsigned k, unsigned *wrong, unsigned *inside)
{
    pid_t pid;
    uint32_t was, sum;
    bool alive;

    begin();
    caps_take(r, 1);
    caps_take(r, 2);
    while (s->empty && caps_take(r, 3))
        ;
    was = hand(1);
    pid = proc_start_traced(s->transfer, NULL);
    if (s->before) {
        alive = run_to(pid, s->between < k ? s->between : k);
        other_moves();
        if (alive && k > s->between)
            alive = run_to(pid, k - s->between);
    } else {
        alive = run_to(pid, k);
    }
    if (!alive)
        return false;
    proc_kill(pid);
    if (s->after)
        other_moves();
    *inside += unfinished(1);
    caps_recover(r, 1);
    sum = total();
    caps_recover(r, 1);
    *wrong += sum != MAX || total() != MAX || unfinished(1) || hand(1) > was + 1 ||
              hand(1) + 1 < was;
    return true;
}

static void test_scene(const struct scene *s)
{
    unsigned k = 0, wrong = 0, inside = 0;

    while (one_death(s, k, &wrong, &inside))
        k++;
    ok(inside > 5, "%s: %u instructions, %u of them within the transfer", s->name, k, inside);
    is_u64(wrong, 0, "the sum is right after each of them");
}

/* The recovery itself is killed, at every instruction, after a death at every fourth. */
static void test_recovery_killed(proc_main transfer, const char *name)
{
    unsigned deaths = 0, wrong = 0;
    bool more = true;

    for (unsigned k = 0; more; k += 4) {
        bool again = true;

        for (unsigned j = 0; more && again; j += 3) {
            pid_t pid;

            begin();
            caps_take(r, 1);
            pid = proc_start_traced(transfer, NULL);
            more = run_to(pid, k);
            if (!more)
                break;
            proc_kill(pid);
            if (!unfinished(1))
                break;
            if (k % 8 == 0)
                caps_take(r, 2);
            pid = proc_start_traced(one_recovery, NULL);
            again = run_to(pid, j);
            if (again)
                proc_kill(pid);
            caps_recover(r, 1);
            wrong += total() != MAX || unfinished(1);
            deaths++;
        }
    }
    ok(deaths > 50, "%s: %u deaths within the recovery", name, deaths);
    is_u64(wrong, 0, "the next recovery is right after each of them");
}

int main(void)
{
    static const struct scene scenes[] = {
        {.name = "take", .transfer = one_take},
        {.name = "give", .transfer = one_give},
        {.name = "take when none is free", .transfer = one_take, .empty = true},
        {.name = "give when none is free", .transfer = one_give, .empty = true},
        {.name = "take, then another's", .transfer = one_take, .after = true},
        {.name = "give, then another's", .transfer = one_give, .after = true},
    };
    uint64_t seed = proc_seed();

    board = proc_memory(sizeof(*board));
    test_alone();
    test_limit();
    test_wrap();
    test_exact(seed);
    for (unsigned i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++)
        test_scene(&scenes[i]);
    /* Another's transfer between any two instructions, so that the exchange fails and is tried
       again. The start of the process is passed over quickly. */
    for (unsigned i = 0; i < 2; i++) {
        struct scene s = {.transfer = i ? one_give : one_take, .before = true};
        unsigned wrong = 0, inside = 0, deaths = 0;
        bool more = true;

        for (s.between = 0; more; s.between += 5) {
            unsigned k = s.between;

            more = one_death(&s, k, &wrong, &inside);
            for (bool alive = more; alive; k += 7) {
                alive = one_death(&s, k, &wrong, &inside);
                deaths += alive;
            }
        }
        ok(deaths > 100 && inside > 50, "%s with another's within it: %u deaths, %u inside",
           i ? "give" : "take", deaths, inside);
        is_u64(wrong, 0, "the sum is right after each of them");
    }
    test_recovery_killed(one_take, "take");
    test_recovery_killed(one_give, "give");
    test_random_kills(seed);
    return done_testing();
}
