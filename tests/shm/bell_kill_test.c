/*
 * tests/shm/bell_kill_test.c - a grant reaches its connection's worker, once, whoever is killed at
 * whichever instruction: what tests/model/bell.pml says of a model, done to real processes.
 *
 * A worker releases a lock for which a connection of another worker waits; that one has a bell
 * thread, an eventfd and an epoll loop, and sleeps without a deadline. This process is the master
 * and the heir. Nothing is random, and each point is asked for by its number.
 */
#include "shm/bell.h"
#include "shm/lock.h"
#include "shm/shared.h"

#include "core/check.h"
#include "core/journal.h"
#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PRODUCER = 0, CONSUMER = 1, HOLDER = 1, WAITER = 2 }; /* workers; owners */
enum { STEPS = 100000 }; /* no walk is longer */

#define LEASE UINT64_C(3600000000000)

/* Where the consumer is in its turn. */
enum phase { BEFORE, PARKED, NOT_PARKED, WOKEN, UNPARKED, DRAINED, DELIVERED, HEARD, PHASES };

struct board {
    uint32_t mark; /* what follows is walked through */
    uint32_t phase;
    uint32_t stop;
};

static struct board *board;
static struct region *r;
static struct shared sh; /* the producer's, then its heir's */
static struct table_key key;
static struct worker_slot *slot; /* the consumer's */
static struct shard *shard;
static uint32_t nshard;
static uint64_t fence, salt;
static int efd; /* the next consumer's; made here, so that it can be seen to be written */

static struct owner *owner_of(uint32_t o)
{
    return (struct owner *)(region_base(r) + r->geo.owners) + o;
}

static void new_eventfd(void)
{
    if (efd > 0)
        close(efd);
    efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (efd < 0)
        bail_out("no eventfd");
}

/* HOLDER has the lock, WAITER waits for it. */
static void begin(void)
{
    struct region_limits limits = {.max_locks = 4, .max_conns = 4, .max_nodes = 64};
    struct acquire_args args = {.limit = 1, .lease = LEASE};
    struct grant g;
    struct tx tx;
    int err;

    if (r)
        region_destroy(r);
    r = region_create(&limits, &err);
    if (!r)
        bail_out("region_create: %d", err);
    memset(board, 0, sizeof(*board));
    new_eventfd();
    owner_of(HOLDER)->id = 1;
    owner_of(HOLDER)->worker = PRODUCER;
    owner_of(WAITER)->id = 2;
    owner_of(WAITER)->worker = CONSUMER;
    shared_attach(&sh, r, PRODUCER);
    key = shared_key(&sh, KIND_LOCK, "x", 1);
    nshard = table_shard_of(key.hash);
    shard = table_shard(&sh.table, nshard);
    slot = region_worker(r, CONSUMER);
    args.key = key;
    args.owner = HOLDER;
    if (!shared_make_room(&sh, 1) || !shared_begin(&sh, &tx, nshard, 1) ||
        table_acquire(&tx, &args, &g) != VERDICT_OK)
        bail_out("the lock is not free");
    fence = g.fence;
    salt = g.salt;
    shared_step(&tx);
    args.owner = WAITER;
    if (table_acquire(&tx, &args, &g) != VERDICT_QUEUED)
        bail_out("nobody waits");
    shared_end(&sh, &tx);
}

/* The walk begins here: a system call to stop at. */
static void mark(void)
{
    board->mark = 1;
    syscall(SYS_getppid);
}

static void to_mark(pid_t pid)
{
    while (!board->mark)
        if (proc_to_syscall(pid) == PROC_ENDED)
            bail_out("it ended before the mark");
    proc_to_syscall(pid); /* the call's end */
}

/* ---- the producer ---- */

static void release(bool walked)
{
    struct tx tx;

    if (!shared_begin(&sh, &tx, nshard, 1) ||
        table_release(&tx, &key, fence, salt) != VERDICT_OK)
        bail_out("it cannot be released");
    if (walked)
        mark();
    shared_end(&sh, &tx);
}

static void produce(void *arg)
{
    (void)arg;
    release(true);
}

/* ---- the consumer, as worker/loop.c, deliver.c and takeover.c do it ---- */

struct consumer {
    struct shared sh;
    int epfd;
};

static void at(enum phase phase)
{
    *(volatile uint32_t *)&board->phase = phase;
}

static void deliver(struct consumer *c, uint64_t mask)
{
    for (; mask; mask &= mask - 1) {
        uint32_t node;
        struct tx tx;

        if (!shared_begin(&c->sh, &tx, (uint32_t)__builtin_ctzll(mask), 1))
            _exit(2);
        while ((node = table_pending(&tx, CONSUMER)) != 0) {
            struct grant g;

            if (table_deliver(&tx, node, &g) != VERDICT_OK)
                _exit(3);
            /* The reply: in the same transaction, as into a connection's ring. */
            JOURNAL_SET(&tx.s->journal, region_base(r), slot->counters.requests,
                        slot->counters.requests + 1);
            shared_step(&tx);
        }
        shared_end(&c->sh, &tx);
    }
}

static void prepare(struct consumer *c)
{
    struct epoll_event ev = {.events = EPOLLIN};

    shared_attach(&c->sh, r, CONSUMER);
    c->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (c->epfd < 0 || epoll_ctl(c->epfd, EPOLL_CTL_ADD, efd, &ev) < 0 ||
        bell_start_thread(r, CONSUMER, efd) != 0)
        _exit(4);
}

static void turn(struct consumer *c)
{
    struct epoll_event ev;
    bool parked = bell_park(r, CONSUMER);
    uint64_t rings;
    int n;

    at(parked ? PARKED : NOT_PARKED);
    n = epoll_wait(c->epfd, &ev, 1, parked ? -1 : 0);
    at(WOKEN);
    if (parked)
        bell_unpark(r, CONSUMER);
    at(UNPARKED);
    rings = bell_drain(r, CONSUMER);
    at(DRAINED);
    deliver(c, rings);
    at(DELIVERED);
    if (n > 0 && read(efd, &rings, sizeof(rings)) < 0)
        _exit(5);
    at(HEARD);
    deliver(c, bell_drain(r, CONSUMER));
}

static void consume(void *arg)
{
    static struct consumer c;

    (void)arg;
    prepare(&c);
    shared_recover(&c.sh);
    bell_unpark(r, CONSUMER);
    deliver(&c, UINT64_MAX);
    while (!__atomic_load_n(&board->stop, __ATOMIC_SEQ_CST))
        turn(&c);
}

static void consume_walked(void *arg)
{
    static struct consumer c;

    (void)arg;
    prepare(&c);
    mark();
    while (!__atomic_load_n(&board->stop, __ATOMIC_SEQ_CST))
        turn(&c);
}

/* In epoll, parked. */
static pid_t sleeping_consumer(void)
{
    pid_t pid = proc_start(consume, NULL);

    if (!proc_wait_for(&slot->parked, 1, PROC_DEADLINE_NS) || !proc_wait_asleep(pid))
        bail_out("the consumer does not sleep");
    return pid;
}

/* ---- the end of a round ---- */

static pid_t heir(void)
{
    new_eventfd();
    return proc_start(consume, NULL);
}

/* What the master does after a death. */
static void bury(uint32_t worker, pid_t pid)
{
    lock_sweep(r, (uint32_t)pid);
    for (uint32_t i = 0; i < 2; i++)
        if (i != worker)
            bell_alarm(r, i);
}

/* Whether the grant was delivered, once, by a consumer that is well. */
static bool delivered(pid_t consumer)
{
    struct check_report report = {0};
    const char *wrong = NULL;

    if (!proc_wait_least(&slot->counters.requests, 1, PROC_DEADLINE_NS))
        wrong = "nothing is delivered";
    __atomic_store_n(&board->stop, 1, __ATOMIC_SEQ_CST);
    bell_ring(r, CONSUMER);
    if (wrong)
        proc_kill(consumer);
    else if (proc_reap(consumer) != 0)
        wrong = "the consumer fails";
    else if (slot->counters.requests != 1)
        wrong = "delivered more than once";
    else if (shard->pending[CONSUMER] != 0 || check_shard(&sh.table, nshard, &report) != 0)
        wrong = "the shard is not valid";
    if (wrong)
        diag("%s: mask %s, parked %u, bell %u", wrong, slot->mask ? "set" : "empty", slot->parked,
             slot->bell);
    return !wrong;
}

/* ---- the producer dies ---- */

enum made { OPEN, COMMITTED, UNLOCKED, MARKED, RANG, MADE };

static enum made how_far(uint32_t bell)
{
    /* First: whom it woke may have the mutex now, and be in a transaction of its own. */
    if (__atomic_load_n(&slot->bell, __ATOMIC_SEQ_CST) != bell)
        return RANG;
    if (shard->journal.count > 0)
        return OPEN;
    if (__atomic_load_n(&r->mutex[nshard].mutex.__data.__lock, __ATOMIC_SEQ_CST) != 0)
        return COMMITTED;
    return __atomic_load_n(&slot->mask, __ATOMIC_SEQ_CST) ? MARKED : UNLOCKED;
}

/* Killed after `k` instructions of shared_end(). False when it had ended before. */
static bool producer_dies(unsigned k, unsigned *deaths, bool *good)
{
    pid_t consumer, producer;
    bool alive = true;
    enum made made;
    uint32_t bell;

    begin();
    consumer = sleeping_consumer();
    bell = slot->bell;
    producer = proc_start_traced(produce, NULL);
    to_mark(producer);
    for (unsigned i = 0; alive && i < k; i++)
        alive = proc_step(producer) == PROC_STOPPED;
    made = how_far(bell);
    if (alive) {
        proc_kill(producer);
        deaths[made]++;
        bury(PRODUCER, producer);
        if (made == OPEN) {
            /* The request is still there, and the heir serves it. */
            shared_recover(&sh);
            release(false);
        }
    }
    *good = delivered(consumer);
    return alive;
}

static void test_producer(void)
{
    static const char *const text[MADE] = {
        [OPEN] = "in the transaction", [COMMITTED] = "with the mutex, after the commit",
        [UNLOCKED] = "between mutex and mask", [MARKED] = "between mask and bell",
        [RANG] = "after the bell's word has changed"};
    unsigned deaths[MADE] = {0};
    unsigned k = 0;
    bool good = true;

    while (producer_dies(k, deaths, &good) && good && k < STEPS)
        k++;
    ok(good, "a producer killed at each of %u instructions: the sleeper delivers, once", k);
    for (unsigned i = 0; i < MADE; i++)
        ok(deaths[i] > 0, "%u of the deaths were %s", deaths[i], text[i]);
}

/* ---- the consumer is about to sleep ---- */

/* The grant is told after `k` instructions of its turn; nobody dies, and no alarm helps. */
static bool told_at(unsigned k, unsigned *phases, bool *good)
{
    pid_t consumer;

    begin();
    consumer = proc_start_traced(consume_walked, NULL);
    to_mark(consumer);
    for (unsigned i = 0; i < k; i++)
        if (proc_step(consumer) == PROC_ENDED)
            bail_out("the consumer ended");
    phases[board->phase]++;
    release(false);
    proc_let_go(consumer);
    *good = delivered(consumer);
    return phases[PARKED] == 0;
}

static void test_told(void)
{
    unsigned phases[PHASES] = {0};
    unsigned k = 0;
    bool good = true;

    while (told_at(k, phases, &good) && good && k < STEPS)
        k++;
    ok(good, "told at each of %u instructions on its way to sleep: it delivers", k);
    ok(phases[BEFORE] > 1 && phases[PARKED] == 1, "from before it parks to when it is parked");
}

/* ---- the consumer dies ---- */

/* What a change of makes a point: all that others can see of the consumer, and its phase, which
   changes before and after each system call. */
struct view {
    struct board board;
    uint64_t mask;
    uint32_t parked;
    int lock;
    uint64_t delivered;
    uint32_t pending;
    struct journal journal;
};

static void look(struct view *v)
{
    memset(v, 0, sizeof(*v));
    v->board = *board;
    v->mask = slot->mask;
    v->parked = slot->parked;
    v->lock = r->mutex[nshard].mutex.__data.__lock != 0;
    v->delivered = slot->counters.requests;
    v->pending = shard->pending[CONSUMER];
    v->journal = shard->journal;
}

/* Walks on to its next point. */
static bool next_point(pid_t pid)
{
    struct view before, now;

    look(&before);
    for (unsigned steps = 0; steps < STEPS; steps++) {
        if (proc_step(pid) == PROC_ENDED)
            return false;
        look(&now);
        if (memcmp(&before, &now, sizeof(now)) != 0)
            return true;
    }
    bail_out("it goes nowhere, in phase %u", board->phase);
}

/* The grant is told when the consumer is at point `told`, and it dies at point `dies`. False when
   its turn was over before. */
static bool consumer_dies(unsigned told, unsigned dies, unsigned *phases, bool *good)
{
    pid_t consumer;
    bool more = true;

    begin();
    consumer = proc_start_traced(consume_walked, NULL);
    to_mark(consumer);
    for (unsigned point = 0; more && point < dies; point++) {
        if (point == told && told == 1 && (!slot->parked || board->phase != BEFORE))
            bail_out("point 1 is not where it parks");
        if (point == told)
            release(false);
        if (point > told && board->phase == HEARD)
            more = false;
        else if (!next_point(consumer))
            bail_out("the consumer ended");
    }
    phases[board->phase]++;
    proc_kill(consumer);
    bury(CONSUMER, consumer);
    if (dies <= told)
        release(false); /* to one that is dead, parked perhaps */
    *good = delivered(heir());
    return more;
}

static void test_consumer(const char *when, unsigned told)
{
    static const char *const name[PHASES] = {"before", "parked", "not parked", "woken", "unparked",
                                             "drained", "delivered", "heard"};
    unsigned phases[PHASES] = {0};
    unsigned dies = 0, visited = 0;
    bool good = true;

    while (consumer_dies(told, dies, phases, &good) && good && dies < STEPS)
        dies++;
    ok(good, "told %s, killed at each of %u points: the heir delivers, once", when, dies);
    for (unsigned i = 0; i < PHASES; i++) {
        diag("%u deaths when %s", phases[i], name[i]);
        visited += phases[i] > 0;
    }
    is_u64(visited, PHASES - 1, "in every phase of a turn that %s",
           phases[PARKED] ? "sleeps" : "does not sleep");
}

/* The points of bell_park() that finds nothing: parked is 1, the phase is PARKED. */
static void test_consumers(void)
{
    test_consumer("before it parks", 0);
    test_consumer("after it is seen to be parked, before it looks", 1);
    test_consumer("before it sleeps", 2);
}

/* ---- the bell thread ---- */

static pid_t thread_of(pid_t pid)
{
    char path[64];
    struct dirent *e;
    pid_t tid = 0;
    DIR *d;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    d = opendir(path);
    while (d && (e = readdir(d)))
        if (atoi(e->d_name) > 0 && atoi(e->d_name) != pid)
            tid = atoi(e->d_name);
    if (!tid)
        bail_out("there is no bell thread");
    closedir(d);
    return tid;
}

/* The consumer hears it, delivers, and then reads the eventfd. */
static bool written(void)
{
    struct pollfd p = {.fd = efd, .events = POLLIN};

    return poll(&p, 1, 0) == 1 ||
           __atomic_load_n(&slot->counters.requests, __ATOMIC_SEQ_CST) > 0;
}

/* The bell rings, the thread goes `k` instructions, and is killed with its worker. False when it
   had written the eventfd. */
static bool thread_dies(unsigned k, bool *good)
{
    pid_t consumer, thread;
    bool heard;

    begin();
    consumer = sleeping_consumer();
    thread = thread_of(consumer);
    if (!proc_wait_asleep(thread))
        bail_out("the bell thread does not sleep");
    proc_seize(thread);
    release(false);
    for (unsigned i = 0; i < k; i++)
        if (proc_step(thread) == PROC_ENDED)
            bail_out("the bell thread ended");
    heard = written();
    proc_kill(thread); /* and its whole process, of which it is reaped first */
    proc_reap(consumer);
    bury(CONSUMER, consumer);
    *good = delivered(heir());
    return !heard;
}

static void test_thread(void)
{
    bool good = true;
    unsigned k = 0;

    while (thread_dies(k, &good) && good && k < STEPS)
        k++;
    ok(good, "a bell thread killed at each of %u instructions from ring to eventfd: the heir "
             "delivers, once", k);
    ok(k > 2, "the last had written it");
}

int main(void)
{
    proc_seed();
    board = proc_memory(sizeof(*board));
    test_producer();
    test_told();
    test_consumers();
    test_thread();
    return done_testing();
}
