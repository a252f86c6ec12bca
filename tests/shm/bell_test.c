/*
 * tests/shm/bell_test.c - no wake-up is lost: many rounds with several producers, deaths between
 * every two instructions of a producer.
 */
#include "shm/bell.h"

#include "shm/futex.h"
#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { PRODUCERS = 3, ROUNDS = 100000, THREAD_ROUNDS = 20000, WORKER = 7, LATE = 10 };

#define SECOND UINT64_C(1000000000)

struct board {
    uint64_t sent[PRODUCERS];
    uint64_t heard[PRODUCERS]; /* a producer goes on when its last message was heard */
    uint64_t parks;
    uint64_t lost; /* slept to the end of the deadline though there was something */
    uint64_t rounds;
    uint32_t ready;
    uint32_t woken;
};

static struct board *board;
static struct region *r;
static struct worker_slot *w;

static void begin(void)
{
    struct region_limits limits = {.max_locks = 16, .max_conns = 4, .max_nodes = 64};
    int err;

    if (r)
        region_destroy(r);
    r = region_create(&limits, &err);
    if (!r)
        bail_out("region_create: %d", err);
    w = region_worker(r, WORKER);
    memset(board, 0, sizeof(*board));
}

static void test_alone(void)
{
    begin();
    ok(bell_park(r, WORKER), "nothing is there: it may sleep");
    is_u64(w->parked, 1, "and is seen to");
    bell_tell(r, WORKER, 3);
    ok(w->bell == 1 && w->mask == 8, "told while parked: the bell rings");
    is_u64(w->parked, 1, "only the worker itself ends its parking");
    bell_unpark(r, WORKER);
    bell_tell(r, WORKER, 63);
    is_u64(w->bell, 1, "told while awake: no bell");
    ok(!bell_park(r, WORKER), "something is there: it may not sleep");
    is_u64(w->parked, 0, "and is not parked");
    is_u64(bell_drain(r, WORKER), UINT64_C(1) << 63 | 8, "all of it is drained");
    is_u64(bell_drain(r, WORKER), 0, "once");
    ok(bell_park(r, WORKER), "then it may");
    bell_unpark(r, WORKER);
    bell_ring(r, WORKER);
    ok(w->bell == 2 && w->mask == 0, "a ring rings in any case, and marks nothing");
    bell_alarm(r, WORKER);
    ok(w->bell == 3 && bell_drain(r, WORKER) == UINT64_MAX, "an alarm marks all shards");
    is_u64(region_worker(r, WORKER - 1)->bell + region_worker(r, WORKER + 1)->bell, 0,
           "neighbours hear nothing");
}

/* ---- many rounds ---- */

static void produce(void *arg)
{
    uint32_t me = (uint32_t)(uintptr_t)arg;

    for (uint64_t i = 1; i <= board->rounds; i++) {
        board->sent[me] = i;
        bell_tell(r, WORKER, me);
        if (!proc_wait_least(&board->heard[me], i, PROC_DEADLINE_NS))
            _exit(1);
    }
}

static bool all_heard(void)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < PRODUCERS; i++)
        n += board->heard[i] == board->rounds;
    return n == PRODUCERS;
}

static void hear(void)
{
    uint64_t mask = bell_drain(r, WORKER);

    for (uint32_t i = 0; i < PRODUCERS; i++)
        if (mask >> i & 1)
            __atomic_store_n(&board->heard[i], board->sent[i], __ATOMIC_SEQ_CST);
}

/* In how many looks running, a second apart, there was something and no ring: once or twice it may be
   that nobody ran. */
static unsigned is_told(unsigned before)
{
    return __atomic_load_n(&w->mask, __ATOMIC_SEQ_CST) ? before + 1 : 0;
}

/* As the bell thread does, without the thread. */
static void sleep_on_word(int efd)
{
    uint32_t seen = __atomic_load_n(&w->bell, __ATOMIC_SEQ_CST);
    unsigned told = 0;

    (void)efd;
    if (!bell_park(r, WORKER))
        return;
    board->parks++;
    while (told < LATE && __atomic_load_n(&w->bell, __ATOMIC_SEQ_CST) == seen) {
        futex_wait(&w->bell, seen, SECOND);
        told = is_told(told);
    }
    board->lost += told >= LATE;
    bell_unpark(r, WORKER);
}

static void sleep_on_eventfd(int efd)
{
    struct pollfd p = {.fd = efd, .events = POLLIN};
    unsigned told = 0;
    uint64_t n;

    if (!bell_park(r, WORKER))
        return;
    board->parks++;
    while (told < LATE && poll(&p, 1, 1000) == 0)
        told = is_told(told);
    if (told >= LATE || read(efd, &n, sizeof(n)) < 0)
        board->lost++;
    bell_unpark(r, WORKER);
}

static void consume(void (*doze)(int), int efd)
{
    while (!all_heard() && !board->lost) {
        doze(efd);
        hear();
    }
}

static void consume_word(void *arg)
{
    (void)arg;
    consume(sleep_on_word, -1);
}

static void consume_thread(void *arg)
{
    int efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    (void)arg;
    if (efd < 0 || bell_start_thread(r, WORKER, efd) != 0)
        _exit(1);
    consume(sleep_on_eventfd, efd);
}

static void test_rounds(proc_main consumer, uint64_t rounds, const char *name)
{
    pid_t pid[PRODUCERS], c;
    unsigned failed = 0;

    begin();
    board->rounds = rounds / PRODUCERS + 1;
    c = proc_start(consumer, NULL);
    for (uint32_t i = 0; i < PRODUCERS; i++)
        pid[i] = proc_start(produce, (void *)(uintptr_t)i);
    failed += proc_reap(c) != 0;
    for (uint32_t i = 0; i < PRODUCERS; i++)
        failed += proc_reap(pid[i]) != 0;
    diag("%s: %" PRIu64 " rounds, parked %" PRIu64 " times", name, rounds, board->parks);
    ok(failed == 0 && all_heard(), "%s: every message is heard", name);
    is_u64(board->lost, 0, "and no wake-up is lost");
    ok(board->parks > rounds / 100, "by one that sleeps");
}

/* ---- a producer that dies ---- */

static void tell_once(void *arg)
{
    (void)arg;
    bell_tell(r, WORKER, 5);
}

/* Sleeps as a worker does, parked already, and says when it was woken. */
static void sleeper(void *arg)
{
    int efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct pollfd p = {.fd = efd, .events = POLLIN};

    (void)arg;
    if (efd < 0 || bell_start_thread(r, WORKER, efd) != 0 || !bell_park(r, WORKER))
        _exit(1);
    __atomic_store_n(&board->ready, 1, __ATOMIC_SEQ_CST);
    if (poll(&p, 1, 20000) == 1)
        __atomic_store_n(&board->woken, 1, __ATOMIC_SEQ_CST);
    bell_unpark(r, WORKER);
}

/*
 * After each instruction of bell_tell() it is killed, and the master raises the alarm. Returns
 * whether the producer still lived then.
 */
static bool death_after(unsigned k, unsigned *silent, unsigned *bad)
{
    pid_t producer;
    bool alive = true;

    begin();
    if (!bell_park(r, WORKER))
        bail_out("an empty region has news");
    producer = proc_start_traced(tell_once, NULL);
    for (unsigned i = 0; alive && i < k; i++)
        alive = proc_step(producer) == PROC_STOPPED;
    if (alive)
        proc_kill(producer);
    *silent += w->mask != 0 && w->bell == 0;
    *bad += w->parked != 1; /* it may never end the parking of another */
    bell_alarm(r, WORKER);
    *bad += w->bell == 0 || !(bell_drain(r, WORKER) >> 5 & 1);
    return alive;
}

static void test_deaths(void)
{
    unsigned k = 0, silent = 0, bad = 0;
    pid_t consumer, producer;

    while (death_after(k, &silent, &bad))
        k++;
    ok(silent > 0, "%u deaths, %u of them between mask and bell", k, silent);
    is_u64(bad, 0, "after each the alarm says all that was to be said");

    begin();
    consumer = proc_start(sleeper, NULL);
    if (!proc_wait_for(&board->ready, 1, PROC_DEADLINE_NS) || !proc_wait_asleep(consumer))
        bail_out("no sleeper");
    producer = proc_start_traced(tell_once, NULL);
    while (w->mask == 0)
        if (proc_step(producer) == PROC_ENDED)
            bail_out("nothing was told");
    proc_kill(producer);
    ok(!proc_wait_for(&board->woken, 1, SECOND / 5), "killed before it rings: the sleeper sleeps");
    bell_alarm(r, WORKER);
    ok(proc_wait_for(&board->woken, 1, PROC_DEADLINE_NS), "until the master's alarm");
    is_int(proc_reap(consumer), 0, "and goes on");
}

int main(void)
{
    proc_seed();
    board = proc_memory(sizeof(*board));
    test_alone();
    test_deaths();
    test_rounds(consume_word, ROUNDS, "futex");
    test_rounds(consume_thread, THREAD_ROUNDS, "bell thread");
    return done_testing();
}
