/*
 * tests/shm/lock_test.c - robust mutexes with real processes: what the next owner finds after a
 * death, and that nobody sleeps for ever.
 */
#include "shm/lock.h"

#include "core/check.h"
#include "core/repair.h"
#include "shm/caps.h"
#include "shm/shared.h"
#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHARD = 5, KEYS = 6, OWNERS = 5, KILLS = 300, KILLS_MAX = 6000, TORN_MIN = 30 };

#define SECOND UINT64_C(1000000000)
#define LONG_AGO (1000 * SECOND) /* the tests' clock starts here */

/* What the processes of a test tell each other. */
struct board {
    uint64_t seed;
    uint64_t done; /* operations that were committed */
    uint32_t ready;
    uint32_t got;
    uint32_t repaired;
    uint64_t sum;
    uint32_t result;
};

static struct board *board;
static struct region *r;
static struct shared sh;

static struct region *new_region(void)
{
    struct region_limits limits = {.max_locks = 256, .max_conns = OWNERS, .max_nodes = 512};
    int err;
    struct region *made = region_create(&limits, &err);

    if (!made)
        bail_out("region_create: %d", err);
    for (uint32_t o = 1; o <= OWNERS; o++) {
        struct owner *owner = (struct owner *)(region_base(made) + made->geo.owners) + o;

        owner->id = 1000 + o;
        owner->worker = o % 3;
    }
    return made;
}

static void begin(void)
{
    if (r)
        region_destroy(r);
    r = new_region();
    shared_attach(&sh, r, 0);
    for (unsigned i = 0; i < 64; i++)
        caps_take(r, 0);
    memset(board, 0, sizeof(*board));
}

static enum lock_result take(uint32_t shard)
{
    struct check_report found;

    return lock_shard(r, &sh.table, shard, &found);
}

/* ---- operations, a pure function of their number ---- */

struct salts {
    uint64_t op;
    uint64_t n;
};

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

static uint64_t salt(void *arg)
{
    struct salts *s = arg;

    return mix(s->op, ++s->n);
}

static struct table_key key_of(uint32_t k)
{
    static const char names[KEYS][8] = {"k0", "k1", "k2", "k3", "k4", "k5"};
    struct table_key key = {.hash = (uint64_t)SHARD << 58 | (uint64_t)(k + 1) * 0x9e3779b97f,
                            .bytes = names[k],
                            .len = 2,
                            .kind = k % 2 ? KIND_SEM : KIND_LOCK};

    return key;
}

static void start_tx(struct shared *s, struct tx *tx, struct salts *salts, uint64_t op)
{
    tx_begin(tx, &s->table, SHARD, LONG_AGO + op * 1000000);
    tx->reserved = &s->slot->units.reserved;
    tx->salt = salt;
    tx->salt_arg = salts;
    salts->op = op + 1;
    salts->n = 0;
}

/* The n-th holder of the key, NULL when it has not that many. */
static const struct node *holder(struct tx *tx, const struct table_key *key, uint32_t n)
{
    uint32_t res = table_find(tx, key);
    uint32_t i = res ? table_resource(tx->t, tx->shard, res)->holders : 0;

    while (i && n--)
        i = table_node(tx->t, i)->next;
    return i ? table_node(tx->t, i) : NULL;
}

static void acquire(struct tx *tx, const struct table_key *key, uint64_t h, uint32_t k)
{
    struct acquire_args a = {.key = *key,
                             .owner = 1 + (uint32_t)(h >> 8) % OWNERS,
                             .limit = k % 2 ? 2 : 1,
                             .lease = (h >> 20 & 3) ? SECOND / 20 : 100 * SECOND,
                             .try_only = (h >> 24 & 7) == 0,
                             .two_phase = (h >> 28 & 1) != 0};
    struct grant g;

    table_acquire(tx, &a, &g);
}

/* Runs operation `op` up to, not including, its commit. */
static void run(struct shared *s, struct tx *tx, uint64_t op)
{
    static struct salts salts;
    uint64_t h = mix(board->seed, op + 1);
    uint32_t k = (uint32_t)(h >> 40) % KEYS;
    struct table_key key = key_of(k);
    uint32_t owner = 1 + (uint32_t)(h >> 8) % OWNERS;
    const struct node *n;
    struct grant g;
    uint32_t i, cursor = 0;

    start_tx(s, tx, &salts, op);
    switch (h % 16) {
    default:
        acquire(tx, &key, h, k);
        break;
    case 6:
    case 7:
    case 8:
        n = holder(tx, &key, h >> 50 & 1);
        if (n)
            table_release(tx, &key, n->order, n->salt);
        break;
    case 9:
        n = holder(tx, &key, 0);
        if (n)
            table_renew(tx, &key, owner, n->order, n->salt, SECOND / 10);
        break;
    case 10:
        table_wait(tx, &key, owner, (h >> 50 & 1) != 0, &g);
        break;
    case 11:
        i = table_pending(tx, h >> 50 & 1);
        if (i)
            table_deliver(tx, i, &g);
        break;
    case 12:
        table_expire(tx);
        break;
    case 13:
        table_drop_owner(tx, owner, (h >> 50 & 1) != 0, (h >> 51 & 1) != 0);
        break;
    case 14:
        if (h >> 50 & 1)
            table_evict(tx, &key, 0);
        else
            table_extend(tx, owner, 1000000, &cursor);
        break;
    case 15:
        table_collect(tx, tx->now);
        break;
    }
}

/* ---- the shard's state in one number ---- */

static uint64_t hash_node(uint64_t h, const struct node *n)
{
    h = mix(h, n->conn_id);
    h = mix(h, n->order);
    h = mix(h, n->salt);
    h = mix(h, n->state == NODE_HELD ? n->end : 0);
    h = mix(h, n->lease);
    h = mix(h, n->since);
    return mix(h, (uint64_t)n->owner << 32 | (uint64_t)n->state << 8 | n->flags);
}

static uint64_t state_of(struct shared *s)
{
    struct table *t = &s->table;
    const struct shard *shard = table_shard(t, SHARD);
    uint64_t h = mix(shard->ticket_next, shard->res_count);

    h = mix(h, s->slot->units.reserved);
    h = mix(h, table_next_due(t, SHARD));
    /* All of the shard that is journalled: an operation may do no more than move the wheel on, and
       whether that was done must show. */
    for (const char *at = (const char *)&shard->ticket_next; at < (const char *)(shard + 1);
         at += sizeof(uint64_t)) {
        uint64_t word = 0;
        size_t left = (size_t)((const char *)(shard + 1) - at);

        memcpy(&word, at, left < sizeof(word) ? left : sizeof(word));
        h = mix(h, word);
    }
    for (uint32_t res = 1; res <= shard->res_bump; res++) {
        const struct resource *p = table_resource(t, SHARD, res);

        if (p->state == RES_FREE)
            continue;
        h = mix(mix(h, p->hash), (uint64_t)p->limit << 8 | p->state);
        h = mix(mix(h, p->last_active), (uint64_t)p->nholders << 32 | p->nwaiters);
        for (uint32_t i = p->holders; i; i = table_node(t, i)->next)
            h = hash_node(h, table_node(t, i));
        for (uint32_t i = p->q_head; i; i = table_node(t, i)->next)
            h = hash_node(h, table_node(t, i));
    }
    for (uint32_t o = 1; o <= OWNERS; o++)
        for (uint32_t i = t->owners[o].held[SHARD]; i; i = table_node(t, i)->own_next)
            h = hash_node(mix(h, o), table_node(t, i));
    for (uint32_t w = 0; w < 3; w++)
        if (shard->pending[w])
            h = hash_node(mix(h, w), table_node(t, shard->pending[w]));
    for (uint32_t i = shard->idle_head; i; i = table_resource(t, SHARD, i)->idle_next)
        h = mix(h, i);
    return h;
}

static bool valid(void)
{
    struct check_report report = {0};

    if (check_shard(&sh.table, SHARD, &report) == 0)
        return true;
    diag("I%d at %u: %s", report.invariant, report.index, report.what);
    return false;
}

/* ---- killed at random while it works ---- */

static void work(void *arg)
{
    (void)arg;
    for (uint64_t op = board->done;; op++) {
        struct tx tx;

        take(SHARD);
        run(&sh, &tx, op);
        tx_commit(&tx);
        __atomic_store_n(&board->done, op + 1, __ATOMIC_SEQ_CST);
        lock_release(r, SHARD);
    }
}

static void commit_up_to(struct shared *s, uint64_t *at, uint64_t until)
{
    for (; *at < until; ++*at) {
        struct tx tx;

        run(s, &tx, *at);
        tx_commit(&tx);
    }
}

/* One life and death; false when the shard is not what it was before or after an operation. */
static bool one_kill(struct shared *twin, uint64_t *at, unsigned *repaired, unsigned *torn)
{
    pid_t pid = proc_start(work, NULL);
    bool was_torn, same;

    if (!proc_wait_least(&board->done, *at + 1 + proc_below(4), PROC_DEADLINE_NS))
        bail_out("the worker does nothing");
    for (uint32_t n = proc_below(4000); n > 0; n--)
        __asm__ volatile("" ::: "memory");
    proc_kill(pid);
    was_torn = table_shard(&sh.table, SHARD)->journal.count > 0;
    if (take(SHARD) == LOCK_REPAIRED)
        ++*repaired;
    else if (was_torn)
        return ok(false, "an open transaction, and the lock was not said to be repaired");
    *torn += was_torn;
    if (!valid())
        return ok(false, "after %u repairs: the shard is not valid", *repaired);
    commit_up_to(twin, at, board->done);
    same = state_of(&sh) == state_of(twin);
    if (!same) {
        /* Committed, but its death came before it could say so. */
        commit_up_to(twin, at, board->done + 1);
        board->done = *at;
        same = state_of(&sh) == state_of(twin);
    }
    twin->r->fence_next = r->fence_next; /* one of a rolled back operation is skipped */
    lock_release(r, SHARD);
    return same || ok(false, "operation %" PRIu64 ": neither before nor after", *at);
}

static void test_random_kills(uint64_t seed)
{
    struct shared twin;
    struct region *copy;
    unsigned kills = 0, repaired = 0, torn = 0;
    uint64_t at = 0;
    bool good = true;

    begin();
    board->seed = seed;
    copy = mmap(NULL, r->size, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (copy == MAP_FAILED)
        bail_out("mmap");
    memcpy(copy, r, r->geo.size);
    shared_attach(&twin, copy, 0);
    for (; good && repaired < KILLS && kills < KILLS_MAX; kills++)
        good = one_kill(&twin, &at, &repaired, &torn);
    diag("%u kills, %u of the owner, %u inside a transaction, %" PRIu64 " operations", kills,
         repaired, torn, board->done);
    ok(good && repaired >= KILLS, "killed as the owner %u times: valid, before or after", repaired);
    ok(torn >= TORN_MIN, "%u of them inside a transaction", torn);
    munmap(copy, r->size);
}

/* ---- deaths at chosen places ---- */

/* Takes the lock and dies, or waits, inside a transaction that it never commits. */
static void half_done(void)
{
    struct tx tx;

    board->result = (uint32_t)take(SHARD);
    board->seed = 7;
    run(&sh, &tx, 40);
    acquire(&tx, &(struct table_key){.hash = (uint64_t)SHARD << 58 | 77,
                                     .bytes = "new", .len = 3}, 0x3000000, 0);
}

static void die_half_done(void *arg)
{
    (void)arg;
    half_done();
    raise(SIGKILL);
}

static void wait_half_done(void *arg)
{
    (void)arg;
    half_done();
    __atomic_store_n(&board->ready, 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
}

static void waiter(void *arg)
{
    enum lock_result result;

    (void)arg;
    __atomic_fetch_add(&board->ready, 1, __ATOMIC_SEQ_CST);
    result = take(SHARD);
    if (result == LOCK_REPAIRED)
        board->repaired++;
    board->sum += table_shard(&sh.table, SHARD)->journal.count;
    __atomic_store_n(&board->got, board->got + 1, __ATOMIC_SEQ_CST);
    lock_release(r, SHARD);
}

static pid_t owner_with_waiters(pid_t *waiters, uint32_t n)
{
    pid_t owner = proc_start(wait_half_done, NULL);

    if (!proc_wait_for(&board->ready, 1, PROC_DEADLINE_NS))
        bail_out("no owner");
    for (uint32_t i = 0; i < n; i++) {
        waiters[i] = proc_start(waiter, NULL);
        if (!proc_wait_for(&board->ready, 2 + i, PROC_DEADLINE_NS) ||
            !proc_wait_asleep(waiters[i]))
            bail_out("a waiter does not wait");
    }
    return owner;
}

static void test_waiters(void)
{
    enum { N = 4 };
    pid_t waiters[N];
    uint64_t before;
    pid_t owner;

    begin();
    before = state_of(&sh);
    owner = owner_with_waiters(waiters, N);
    ok(table_shard(&sh.table, SHARD)->journal.count > 0, "the owner is in a transaction");
    is_u64(board->got, 0, "while it lives nobody gets the lock");
    proc_kill(owner);
    ok(proc_wait_for(&board->got, N, PROC_DEADLINE_NS), "owner killed: all waiters get it in turn");
    for (unsigned i = 0; i < N; i++)
        proc_reap(waiters[i]);
    is_u64(board->repaired, 1, "exactly one of them repairs");
    is_u64(board->sum, 0, "none finds a logged change");
    ok(valid() && state_of(&sh) == before, "the transaction never happened");
}

static void lock_raw_and_die(void *arg)
{
    (void)arg;
    board->result = (uint32_t)pthread_mutex_trylock(&r->mutex[SHARD].mutex);
    raise(SIGKILL);
}

static void test_repairer_dies(void)
{
    uint64_t before;

    begin();
    before = state_of(&sh);
    proc_reap(proc_start(die_half_done, NULL));
    for (unsigned i = 0; i < 3; i++) {
        proc_reap(proc_start(lock_raw_and_die, NULL));
        is_u64(board->result, EOWNERDEAD, "an heir learns of the death and dies itself");
    }
    is_int(take(SHARD), LOCK_REPAIRED, "the next heir still has to repair");
    ok(valid() && state_of(&sh) == before, "and the transaction never happened");
    lock_release(r, SHARD);
    is_int(take(SHARD), LOCK_OK, "after it nobody has to");
    lock_release(r, SHARD);
}

static void lock_only(void *arg)
{
    (void)arg;
    take(SHARD);
}

static void test_repair_stepped(void)
{
    /* The rollback is in the first thousand or so, the rest is the validator, which only reads. */
    enum { ROUNDS = 60, STEPS = 1500, DEEP = 20000 };
    uint64_t before;
    unsigned good = 0;

    begin();
    before = state_of(&sh);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint32_t k = proc_below(i ? STEPS : DEEP);
        pid_t pid;

        proc_reap(proc_start(die_half_done, NULL));
        pid = proc_start_traced(lock_only, NULL);
        while (k-- > 0 && proc_step(pid) == PROC_STOPPED)
            ;
        proc_kill(pid);
        good += take(SHARD) == LOCK_REPAIRED && valid() &&
                state_of(&sh) == before;
        lock_release(r, SHARD);
    }
    is_u64(good, ROUNDS, "an heir that dies anywhere in its repair leaves it to the next");
}

/* ---- the wake-up that a kill swallows ---- */

static void plain_lock(void *arg)
{
    (void)arg;
    __atomic_fetch_add(&board->ready, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&r->mutex[SHARD].mutex);
    __atomic_store_n(&board->got, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&r->mutex[SHARD].mutex);
}

static bool enters_futex(pid_t pid)
{
    struct __ptrace_syscall_info info = {0};

    ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info);
    return info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr == SYS_futex;
}

static uint32_t word(void)
{
    return (uint32_t)__atomic_load_n(&r->mutex[SHARD].mutex.__data.__lock, __ATOMIC_SEQ_CST);
}

/*
 * Two wait for us. We unlock, which wakes the first; before it can run we lock again, on the fast
 * path, so that the word says nothing of the second; the first is killed; we unlock. A debugger's
 * stop at the first one's return from the system call makes "before it can run" certain.
 */
static pid_t swallow_a_wake(proc_main second, pid_t *victim)
{
    pthread_mutex_t *m = &r->mutex[SHARD].mutex;
    pid_t first, last;
    int status;

    pthread_mutex_lock(m);
    first = proc_start_traced(plain_lock, NULL);
    do {
        if (proc_to_syscall(first) == PROC_ENDED)
            bail_out("the first waiter ends");
    } while (!enters_futex(first));
    ptrace(PTRACE_SYSCALL, first, NULL, NULL);
    if (!proc_wait_asleep(first))
        bail_out("the first waiter does not sleep");
    last = proc_start(second, NULL);
    if (!proc_wait_for(&board->ready, 2, PROC_DEADLINE_NS) || !proc_wait_asleep(last))
        bail_out("the second waiter does not sleep");
    pthread_mutex_unlock(m);
    if (waitpid(first, &status, 0) != first || !WIFSTOPPED(status))
        bail_out("the first waiter was not woken");
    ok(pthread_mutex_trylock(m) == 0 && word() == (uint32_t)getpid(),
       "we barge in, and the mutex knows of no waiter");
    proc_kill(first);
    pthread_mutex_unlock(m);
    *victim = first;
    return last;
}

static void test_swallowed_wake(void)
{
    pid_t victim, last;

    begin();
    last = swallow_a_wake(plain_lock, &victim);
    ok(!proc_wait_for(&board->got, 1, SECOND / 3) && proc_state(last) == 'S' && word() == 0,
       "a plain lock sleeps on a free mutex");
    is_u64(lock_sweep(r, (uint32_t)victim), 0, "lock_sweep() finds no word of the dead");
    ok(proc_wait_for(&board->got, 1, PROC_DEADLINE_NS), "and wakes who was robbed, by itself");
    is_int(proc_reap(last), 0, "who then has the lock");

    begin();
    last = swallow_a_wake(waiter, &victim);
    ok(proc_wait_for(&board->got, 1, PROC_DEADLINE_NS), "lock_shard() finds the free mutex");
    is_int(proc_reap(last), 0, "without anybody's help");
    is_u64(board->repaired, 0, "nothing was there to repair");
}

/* ---- a robust list that is gone ---- */

static void *const nowhere = (void *)16;

static void lose_robust_list(void *arg)
{
    static struct robust_list_head head = {.list = {.next = &head.list}};

    if (arg)
        head.list.next = arg;
    half_done();
    syscall(SYS_set_robust_list, &head, sizeof(head));
    raise(SIGKILL);
}

static void lose_robust_list_later(void *arg)
{
    static struct robust_list_head head = {.list = {.next = &head.list}};

    (void)arg;
    half_done();
    syscall(SYS_set_robust_list, &head, sizeof(head));
    __atomic_store_n(&board->ready, 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
}

static void test_scribbled_list(void)
{
    pid_t pid, w;
    uint64_t before;

    for (unsigned i = 0; i < 2; i++) {
        begin();
        before = state_of(&sh);
        pid = proc_start(lose_robust_list, i ? nowhere : NULL);
        proc_reap(pid);
        is_int(pthread_mutex_trylock(&r->mutex[SHARD].mutex), EBUSY,
               "%s robust list: the kernel does not free the dead one's mutex",
               i ? "a wild" : "an empty");
        is_u64(lock_sweep(r, (uint32_t)pid + 1), 0, "lock_sweep() leaves others' mutexes alone");
        is_u64(lock_sweep(r, (uint32_t)pid), 1, "lock_sweep() does");
        is_int(take(SHARD), LOCK_REPAIRED, "the next one repairs");
        ok(valid() && state_of(&sh) == before, "and the transaction never happened");
        lock_release(r, SHARD);
        is_u64(lock_sweep(r, (uint32_t)pid), 0, "a second sweep finds nothing");
    }
    begin();
    pid = proc_start(lose_robust_list_later, NULL);
    if (!proc_wait_for(&board->ready, 1, PROC_DEADLINE_NS))
        bail_out("no owner");
    w = proc_start(waiter, NULL);
    if (!proc_wait_for(&board->ready, 2, PROC_DEADLINE_NS) || !proc_wait_asleep(w))
        bail_out("no waiter");
    proc_kill(pid);
    ok(!proc_wait_for(&board->got, 1, SECOND / 4), "who waits for such a one waits on");
    is_u64(lock_sweep(r, (uint32_t)pid), 1, "until the sweep");
    ok(proc_wait_for(&board->got, 1, PROC_DEADLINE_NS), "and gets the lock");
    proc_reap(w);
    is_u64(board->repaired, 1, "as heir");
}

/* ---- what lock_shard() says ---- */

static void test_states(void)
{
    struct shard *s;

    begin();
    s = table_shard(&sh.table, SHARD);
    is_int(take(SHARD), LOCK_OK, "a free shard");
    lock_release(r, SHARD);
    s->state = SHARD_REBUILDING;
    is_int(take(SHARD), LOCK_REBUILT, "a rebuild is finished by the next one");
    is_int(s->state, SHARD_OK, "and then is over");
    lock_release(r, SHARD);
    s->state = SHARD_QUARANTINED;
    is_int(take(SHARD), LOCK_QUARANTINED, "a shard beyond repair");
    is_int(pthread_mutex_trylock(&r->mutex[SHARD].mutex), 0, "is not kept locked");
    pthread_mutex_unlock(&r->mutex[SHARD].mutex);
    is_int(take(SHARD + 1), LOCK_OK, "the others serve on");
    lock_release(r, SHARD + 1);

    begin();
    s = table_shard(&sh.table, SHARD);
    s->state = SHARD_QUARANTINED;
    proc_reap(proc_start(lock_raw_and_die, NULL));
    is_int(take(SHARD), LOCK_QUARANTINED, "its owner's death heals nothing");
    is_int(pthread_mutex_trylock(&r->mutex[SHARD].mutex), 0, "nor leaves its mutex useless");
    pthread_mutex_unlock(&r->mutex[SHARD].mutex);
}

/* A lock that is held, of this shard by the region's own hash; its resource. */
static struct resource *held_key(void)
{
    struct acquire_args args = {.owner = 1, .limit = 1, .lease = SECOND};
    char text[16];
    struct grant g;
    struct tx tx;
    uint32_t res;

    for (unsigned i = 0; i == 0 || table_shard_of(args.key.hash) != SHARD; i++) {
        uint32_t len = (uint32_t)snprintf(text, sizeof(text), "key-%u", i);

        args.key = shared_key(&sh, KIND_LOCK, text, len);
    }
    if (!shared_begin(&sh, &tx, SHARD, SECOND) || table_acquire(&tx, &args, &g) != VERDICT_OK)
        bail_out("no lock");
    res = table_find(&tx, &args.key);
    shared_end(&sh, &tx);
    return table_resource(&sh.table, SHARD, res);
}

/* One bit of a key's hash: a rebuild would put its holders where nobody finds them. */
static void test_key_of_another_hash(void)
{
    struct check_report found;

    begin();
    held_key()->next ^= 1;
    proc_reap(proc_start(lock_raw_and_die, NULL));
    is_int(take(SHARD), LOCK_REBUILT, "a shard that its dead owner has damaged is rebuilt");
    lock_release(r, SHARD);
    begin();
    held_key()->hash ^= 1;
    is_int(check_shard(&sh.table, SHARD, &found), 6, "a key that is not what its hash says is seen");
    proc_reap(proc_start(lock_raw_and_die, NULL));
    is_int(take(SHARD), LOCK_QUARANTINED, "and not believed");
}

int main(void)
{
    uint64_t seed = proc_seed();

    board = proc_memory(sizeof(*board));
    test_states();
    test_key_of_another_hash();
    test_waiters();
    test_repairer_dies();
    test_repair_stepped();
    test_swallowed_wake();
    test_scribbled_list();
    test_random_kills(seed);
    return done_testing();
}
