/*
 * tests/threads/workers.c - a server whose workers are threads of one process, for the thread
 * sanitizer: it sees every access of one worker that no mutex, atomic word or message orders after
 * another's. Built by ./configure --enable-thread-workers, never installed.
 *
 *   workers SEED
 *
 * Prints "port N", serves on 127.0.0.1 until its standard input ends, then waits for all clients to
 * go, ends the workers, checks the table, and prints one line of "ok" or "not ok" for each check.
 *
 * The workers are worker_run() as it is installed, on one region, each with its channel; the master
 * here is short, with the real keeper of connections. Now and then a worker dies (its thread ends)
 * at one of the numbered places of base/points.def, half of the times in the middle of a
 * transaction, and an heir takes over; or the number of workers changes, and connections change
 * hands.
 *
 * What processes have and threads lack is made up for here, by functions that stand before those of
 * the libraries:
 *   - no sandbox: it would be the whole process's
 *   - a bell thread keeps the common table of descriptors
 *   - a dead worker's descriptors are closed by who buries it
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/point.h"
#include "config/settings.h"
#include "core/check.h"
#include "net/pass.h"
#include "serving/sandbox.h"
#include "shm/bell.h"
#include "shm/caps.h"
#include "shm/conns.h"
#include "shm/counters.h"
#include "shm/futex.h"
#include "shm/heritage.h"
#include "shm/lock.h"
#include "supervisor/keeper.h"
#include "worker/worker.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <sanitizer/tsan_interface.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    WORKERS = 4,
    FEWEST = 2, /* when there are fewer for a while */
    CONNS = 1000,
    LOCKS = 1 << 16,
    PLACES_MAX = 4000, /* that a worker may pass before it dies */
    DEATH_MS = 350,
    DEATH_REQUESTS = 150, /* between two: on a slow machine there are fewer, or nothing gets done */
    RESIZE_MS = 1500,
    LEAVE_S = 60,
};

struct mate {
    pthread_t thread;
    struct heritage heritage;
    int *conn_fd;
    int channel; /* the master's end */
    /* Atomic. */
    uint32_t places;   /* until its death; 0 = it lives on */
    uint32_t in_a_transaction;
    uint32_t ended;
    /* Its own, then the master's when it is gone. */
    int epfd, efd, status;
    uint32_t tid;
};

static struct region *region;
static struct keeper keeper;
static struct settings settings = {
    .default_lease_ttl = 33,
    .lease_sweep_interval = 1,
    .gc_interval = 1,
    .gc_max_idle = 1,
    .auto_release_on_disconnect = true,
    .read_timeout = 600,
    .write_timeout = 60,
};
static struct mate mates[WORKERS];
static unsigned deaths, crashes, handed_over, failures;
static int nowhere; /* a descriptor that cannot be written to */
static uint64_t chance_state;

static _Thread_local struct mate *me; /* NULL: the master, or a bell thread */

/* ---- what stands before the libraries' functions ---- */

int sandbox_start(void)
{
    return 0;
}

int sandbox_seal(int landlock, const struct confine_call *calls, size_t n)
{
    (void)landlock, (void)calls, (void)n;
    return 0;
}

int unshare(int flags)
{
    (void)flags;
    errno = EPERM;
    return -1;
}

int epoll_create1(int flags)
{
    int fd = (int)syscall(SYS_epoll_create1, flags);

    if (me)
        me->epfd = fd;
    return fd;
}

int eventfd(unsigned int count, int flags)
{
    int fd = (int)syscall(SYS_eventfd2, count, flags);

    if (me)
        me->efd = fd;
    return fd;
}

/* The sanitizer of gcc 12 and clang 14 does not know this call, nor that timedlock can say
   EOWNERDEAD. */
int pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t clock, const struct timespec *until)
{
    struct timespec now, wall;
    int64_t ns;
    int err;

    clock_gettime(clock, &now);
    clock_gettime(CLOCK_REALTIME, &wall);
    ns = (until->tv_sec - now.tv_sec) * INT64_C(1000000000) + until->tv_nsec - now.tv_nsec +
         wall.tv_nsec;
    if (ns < 0)
        ns = 0;
    wall.tv_sec += ns / 1000000000;
    wall.tv_nsec = ns % 1000000000;
    err = pthread_mutex_timedlock(m, &wall);
    if (err == EOWNERDEAD) {
        __tsan_mutex_pre_lock(m, __tsan_mutex_try_lock);
        __tsan_mutex_post_lock(m, __tsan_mutex_try_lock, 0);
    }
    return err;
}

/* ---- deaths ---- */

/*
 * The kernel takes the mutexes of a thread that ends, and orders what it has stored before what
 * their next owners do. The sanitizer must be told.
 */
static void die(void)
{
    uint32_t tid = (uint32_t)syscall(SYS_gettid);

    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        pthread_mutex_t *m = &region->mutex[i].mutex;

        if (((uint32_t)__atomic_load_n(&m->__data.__lock, __ATOMIC_RELAXED) & FUTEX_TID_MASK) ==
            tid) {
            __tsan_mutex_pre_unlock(m, 0);
            __tsan_mutex_post_unlock(m, 0);
        }
    }
    me->status = -1;
    __atomic_store_n(&me->ended, 1, __ATOMIC_RELEASE);
    me = NULL;
    pthread_exit(NULL);
}

int point_pass(unsigned place)
{
    uint32_t left = me ? __atomic_load_n(&me->places, __ATOMIC_RELAXED) : 0;

    if (!left)
        return 0;
    if (left > 1)
        __atomic_store_n(&me->places, left - 1, __ATOMIC_RELAXED);
    else if (place == 2 * POINT_SHARED_COMMIT ||
             !__atomic_load_n(&me->in_a_transaction, __ATOMIC_RELAXED))
        die();
    return 0;
}

void point_key(const char *key, uint32_t len)
{
    (void)key, (void)len;
}

enum point_denied point_denied(void)
{
    return POINT_DENIED_NEVER;
}

/* ---- a worker's life, as the master sees it ---- */

static unsigned chance(unsigned n)
{
    chance_state = chance_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(chance_state >> 33) % n;
}

static void fail(const char *what, int err)
{
    fprintf(stderr, "workers: %s: %s\n", what, strerror(err < 0 ? -err : err));
    exit(2);
}

static void *live(void *arg)
{
    me = arg;
    me->tid = (uint32_t)syscall(SYS_gettid);
    region_worker(region, me->heritage.worker)->pid = me->tid;
    me->status = worker_run(&me->heritage);
    __atomic_store_n(&me->ended, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void start(uint32_t i)
{
    struct mate *m = &mates[i];
    struct worker_slot *slot = region_worker(region, i);
    int pair[2], err = pass_pair(pair);

    if (err)
        fail("channel", err);
    memset(m->conn_fd, 0, (CONNS + 1) * sizeof(*m->conn_fd));
    for (uint32_t s = 1; s <= CONNS; s++) {
        const struct conn *c = conns_slot(region, s);

        if (keeper.fd[s] && keeper.kept[s].worker == i &&
            __atomic_load_n(&c->state, __ATOMIC_ACQUIRE) == CONN_OPEN)
            m->conn_fd[s] = fcntl(keeper.fd[s], F_DUPFD_CLOEXEC, 0);
    }
    slot->generation++;
    slot->started = clock_boottime_ns();
    __atomic_store_n(&slot->beat, slot->started, __ATOMIC_RELAXED);
    m->heritage.region = region;
    m->heritage.settings = &settings;
    m->heritage.worker = i;
    m->heritage.channel = pair[1];
    m->heritage.conn_fd = m->conn_fd;
    m->channel = pair[0];
    m->places = m->ended = 0;
    m->epfd = m->efd = 0;
    err = pthread_create(&m->thread, NULL, live, m);
    if (err)
        fail("thread", err);
}

/* Past the sanitizer, which would see a use of descriptors that others are about to close. */
static int look(int fd, struct stat *st)
{
    return (int)syscall(SYS_fstat, fd, st);
}

/* A dead process's descriptors are gone: whatever is another one of a connection that it served. */
static void close_what_it_had(uint32_t i)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *e;
    struct stat st;
    ino_t served[CONNS + 1];

    for (uint32_t s = 1; s <= CONNS; s++)
        served[s] = keeper.fd[s] && keeper.kept[s].worker == i && look(keeper.fd[s], &st) == 0
                        ? st.st_ino
                        : 0;
    while (dir && (e = readdir(dir))) {
        int fd = atoi(e->d_name);

        if (fd == dirfd(dir) || look(fd, &st) != 0 || !S_ISSOCK(st.st_mode))
            continue;
        for (uint32_t s = 1; s <= CONNS; s++)
            if (served[s] == st.st_ino && keeper.fd[s] != fd)
                close(fd);
    }
    if (dir)
        closedir(dir);
    if (mates[i].epfd)
        close(mates[i].epfd);
    close(mates[i].heritage.channel);
    close(mates[i].channel);
}

/* The bell thread of a process ends with it; this one when it cannot write any more. */
static void end_its_bell(uint32_t i)
{
    struct worker_slot *slot = region_worker(region, i);

    if (mates[i].efd)
        syscall(SYS_dup3, nowhere, mates[i].efd, O_CLOEXEC);
    __atomic_fetch_add(&slot->bell, 1, __ATOMIC_SEQ_CST);
    futex_wake(&slot->bell, INT_MAX);
}

/* As bury.c does it. */
static void bury(uint32_t i)
{
    struct mate *m = &mates[i];
    struct worker_slot *slot = region_worker(region, i);
    uint64_t up = 0;
    bool crash = chance(3) == 0;

    pthread_join(m->thread, NULL);
    __atomic_compare_exchange_n(&region->down_since[i], &up, clock_boottime_ns(), false,
                                __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    if (slot->counted == slot->generation)
        slot->died = DIED_KILLED;
    if (crash) {
        crashes++;
        slot->suspect = 1;
        __atomic_fetch_add(&region->crashes, 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&region->suspect, UINT64_MAX, __ATOMIC_SEQ_CST);
    }
    lock_sweep(region, m->tid);
    for (uint32_t k = 0; k < WORKERS; k++)
        if (k != i)
            bell_alarm(region, k);
    end_its_bell(i);
    close_what_it_had(i);
    deaths++;
    keeper_reap_all(&keeper);
}

static void send_conn(uint32_t slot)
{
    struct channel_message msg = {.type = CHANNEL_CONN, .n = 1,
                                  .id = conns_slot(region, slot)->id, .slot = {slot}};
    struct mate *m = &mates[keeper.kept[slot].worker];

    while (pass_send(m->channel, &msg,
                     offsetof(struct channel_message, slot) + sizeof(uint32_t),
                     keeper.fd[slot]) == -EAGAIN &&
           !__atomic_load_n(&m->ended, __ATOMIC_ACQUIRE))
        sched_yield();
}

static uint32_t least_loaded(void)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < region->nworkers; i++)
        if (keeper.load[i] < keeper.load[best])
            best = i;
    return best;
}

static void accept_some(int listener)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(ss);
    struct address from;
    int fd;

    while ((fd = accept4(listener, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC)) >=
           0) {
        address_from(&ss, &from);
        if (keeper_admits(&keeper, &from) != KEEPER_OK)
            close(fd);
        else
            send_conn(keeper_add(&keeper, fd, &from, least_loaded(), clock_boottime_ns()));
        len = sizeof(ss);
    }
}

static void hear(uint32_t i)
{
    struct channel_message m = {0};
    int fd;

    while (pass_recv(mates[i].channel, &m, sizeof(m), &fd) > 0) {
        for (uint32_t k = 0; k < m.n && k < CHANNEL_SLOTS; k++) {
            uint32_t slot = m.slot[k];

            keeper_reap(&keeper, slot);
            if (keeper_is_returned(&keeper, slot)) {
                uint32_t worker = keeper.kept[slot].worker;

                keeper_reopen(&keeper, slot, worker < region->nworkers ? worker : least_loaded());
                send_conn(slot);
                handed_over++;
            }
        }
    }
}

static void resize(uint32_t n)
{
    __atomic_store_n(&region->nworkers, n, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < WORKERS; i++)
        bell_ring(region, i);
}

static void doom_one(void)
{
    static uint64_t served;
    struct mate *m = &mates[chance(WORKERS)];
    struct counters n;

    counters_sum(region, &n);
    if (__atomic_load_n(&m->places, __ATOMIC_RELAXED) || n.requests < served + DEATH_REQUESTS)
        return;
    served = n.requests;
    __atomic_store_n(&m->in_a_transaction, chance(2), __ATOMIC_RELAXED);
    __atomic_store_n(&m->places, 1 + chance(PLACES_MAX), __ATOMIC_RELAXED);
}

/* One turn. False when the standard input has ended. */
static bool turn(int listener, bool disturb)
{
    static uint64_t next_death, next_resize, next_reap;
    struct pollfd p[2 + WORKERS] = {{.fd = listener, .events = POLLIN},
                                    {.fd = STDIN_FILENO, .events = POLLIN}};
    uint64_t now = clock_boottime_ns();

    for (uint32_t i = 0; i < WORKERS; i++)
        p[2 + i] = (struct pollfd){.fd = mates[i].channel, .events = POLLIN};
    poll(p, 2 + WORKERS, 5);
    for (uint32_t i = 0; i < WORKERS; i++) {
        hear(i);
        if (__atomic_load_n(&mates[i].ended, __ATOMIC_ACQUIRE)) {
            if (mates[i].status >= 0)
                fail("a worker has ended by itself", EINVAL);
            bury(i);
            start(i);
        }
    }
    accept_some(listener);
    if (now >= next_reap) {
        keeper_reap_all(&keeper);
        next_reap = now + NS_PER_SEC;
    }
    if (disturb && now >= next_death) {
        next_death = now + chance(2 * DEATH_MS) * NS_PER_MS;
        doom_one();
    }
    if (disturb && now >= next_resize) {
        next_resize = now + RESIZE_MS * NS_PER_MS;
        resize(region->nworkers == WORKERS ? FEWEST : WORKERS);
    }
    return !(p[1].revents & (POLLIN | POLLHUP));
}

static void leave(void)
{
    struct channel_message m = {.type = CHANNEL_LEAVE};

    for (uint32_t i = 0; i < WORKERS; i++) {
        __atomic_store_n(&mates[i].places, 0, __ATOMIC_RELAXED);
        pass_send(mates[i].channel, &m, offsetof(struct channel_message, slot), -1);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        if (pthread_join(mates[i].thread, NULL) == 0)
            end_its_bell(i);
    }
}

/* ---- what must be true in the end ---- */

static void check(bool good, const char *what)
{
    failures += !good;
    printf("%s %s\n", good ? "ok" : "not ok", what);
}

static void check_table(void)
{
    uint64_t holders = 0, waiters = 0, units = caps_free(region);
    struct check_report found;
    struct table t = {0};
    bool valid = true, alone = true, empty = true;

    table_attach(&t, region, &region->geo);
    t.fence_next = &region->fence_next;
    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        const struct shard *s = table_shard(&t, i);

        if (check_shard(&t, i, &found) != 0 || s->state != SHARD_OK) {
            printf("# shard %u: invariant %d at %u: %s\n", i, found.invariant, found.index,
                   found.what ? found.what : "");
            valid = false;
        }
        for (unsigned k = 0; k < SHARD_KINDS; k++) {
            holders += s->nheld[k];
            waiters += s->nwaiting[k];
        }
        units += s->res_count;
        alone = alone && lock_shard(region, &t, i, &found) == LOCK_OK;
        lock_release(region, i);
    }
    for (uint32_t i = 0; i < WORKERS; i++)
        units += region_worker(region, i)->units.reserved;
    for (uint32_t slot = 1; slot <= CONNS; slot++)
        empty = empty && conns_slot(region, slot)->state == CONN_FREE;
    printf("# %u deaths, %u of them crashes, %u connections handed over, %" PRIu64 " holders, "
           "%" PRIu64 " waiters left\n", deaths, crashes, handed_over, holders, waiters);
    check(valid, "every shard obeys its invariants");
    check(alone, "every mutex is free and no shard waits for a repair");
    check(holders == 0 && waiters == 0, "nothing is held or waited for");
    check(units == LOCKS, "no unit of max-locks is lost or made");
    check(empty, "every connection slot is free");
}

static void check_counters(void)
{
    struct counters n;

    counters_sum(region, &n);
    printf("# %" PRIu64 " requests, %" PRIu64 " shards rolled back\n", n.requests, n.repairs);
    check(deaths > 0 && n.repairs > 0 && n.rebuilt == 0 && n.quarantined == 0,
          "workers died in transactions, which were rolled back, and nothing was damaged");
    check(handed_over > 0, "connections changed hands");
}

static int listen_somewhere(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, 1000) < 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
        fail("listen", errno);
    printf("port %u\n", ntohs(addr.sin_port));
    fflush(stdout);
    return fd;
}

static void prepare(void)
{
    struct region_limits limits = {.max_locks = LOCKS, .max_conns = CONNS};
    int err;

    signal(SIGPIPE, SIG_IGN);
    nowhere = open("/dev/null", O_RDONLY | O_CLOEXEC);
    region = region_create(&limits, &err);
    if (!region)
        fail("region", err);
    if (keeper_init(&keeper, region, CONNS, 0) != 0)
        fail("keeper", ENOMEM);
    __atomic_store_n(&region->nslots, WORKERS, __ATOMIC_RELAXED);
    __atomic_store_n(&region->nworkers, WORKERS, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < WORKERS; i++) {
        mates[i].conn_fd = calloc(CONNS + 1, sizeof(int));
        if (!mates[i].conn_fd)
            fail("memory", ENOMEM);
        for (unsigned k = 0; k < HERITAGE_DOCS; k++)
            mates[i].heritage.docs[k] = memfd_create("document", MFD_CLOEXEC);
        start(i);
    }
}

int main(int argc, char **argv)
{
    uint64_t until;
    int listener;

    if (argc != 2)
        return 2;
    chance_state = strtoull(argv[1], NULL, 10);
    log_init(LOG_FORMAT_TEXT, LVL_INFO);
    listener = listen_somewhere();
    prepare();
    while (turn(listener, true))
        ;
    resize(WORKERS);
    until = clock_boottime_ns() + LEAVE_S * NS_PER_SEC;
    while (keeper.open > 0 && clock_boottime_ns() < until)
        turn(listener, false);
    leave();
    keeper_reap_all(&keeper);
    check_table();
    check_counters();
    return failures > 0;
}
