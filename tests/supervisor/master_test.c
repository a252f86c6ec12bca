/*
 * tests/supervisor/master_test.c - the master with workers that do what they are told: die in every
 * way, hang, do not listen. Real processes and sockets; no code of worker/ is linked.
 */
#include "supervisor/master.h"

#include "base/clock.h"
#include "base/log.h"
#include "config/load.h"
#include "net/pass.h"
#include "shm/conns.h"
#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 2, MAX_CONNS = 2000, MANY = 1200 };

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define SOON (20 * SECOND)

enum order { GO_ON, EXIT_0, EXIT_3, CRASH, HANG, OBSTINATE };

/* What test and workers tell each other. */
struct board {
    uint32_t order[WORKERS];
    uint32_t deaf;   /* reads nothing from its channel */
    uint32_t keep;   /* leaves connections open */
    uint32_t mute;   /* does not tell the master what it closed */
    uint64_t lives[WORKERS];
    uint64_t born[WORKERS];
    uint64_t obeyed[WORKERS]; /* when the last order was carried out */
    uint64_t down_since[WORKERS]; /* as found at birth */
    uint32_t pid[WORKERS];
    uint64_t served[WORKERS];
    uint64_t adopted[WORKERS];
    uint64_t twice; /* connections that came by inheritance and by the channel */
    uint64_t deaf_turns[WORKERS];
    uint64_t foreign_fds; /* of other slots' connections, found open in a child */
};

struct server {
    struct region *r;
    struct settings settings;
    struct listen_set listeners, http;
    struct fence fence;
    struct master_args args;
    struct sockaddr_in addr;
    pid_t pid;
};

static struct board *board;
static struct server server;
static char name[] = "dflockd", *words[] = {name, NULL};
static const struct config_sources sources = {.argc = 1, .argv = words, .envp = words + 1};

/* ---- the worker ---- */

static void tell_closed(const struct heritage *h, uint32_t slot)
{
    struct channel_message m = {.type = CHANNEL_CLOSED, .n = 1, .slot = {slot}};

    if (!__atomic_load_n(&board->mute, __ATOMIC_SEQ_CST))
        pass_send(h->channel, &m, offsetof(struct channel_message, slot) + sizeof(uint32_t), -1);
}

static void close_conn(const struct heritage *h, uint32_t slot, int fd)
{
    shutdown(fd, SHUT_RDWR);
    close(fd);
    __atomic_store_n(&conns_slot(h->region, slot)->state, CONN_CLOSED, __ATOMIC_RELEASE);
    tell_closed(h, slot);
}

static void obey(const struct heritage *h)
{
    uint32_t order = __atomic_exchange_n(&board->order[h->worker], GO_ON, __ATOMIC_SEQ_CST);

    if (order == GO_ON)
        return;
    board->obeyed[h->worker] = clock_boottime_ns();
    switch (order) {
    case EXIT_0:
        _exit(0);
    case EXIT_3:
        _exit(3);
    case CRASH:
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
        break;
    case OBSTINATE: /* alive, but does not go when it is told to */
        for (;;) {
            __atomic_store_n(&region_worker(h->region, h->worker)->beat, clock_boottime_ns(),
                             __ATOMIC_RELAXED);
            poll(NULL, 0, 50);
        }
    default:
        for (;;)
            pause();
    }
}

static int fake_worker(const struct heritage *h)
{
    static int fds[MAX_CONNS + 1];
    struct worker_slot *me = region_worker(h->region, h->worker);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    board->born[h->worker] = clock_boottime_ns();
    board->down_since[h->worker] = h->region->down_since[h->worker];
    __atomic_store_n(&h->region->down_since[h->worker], 0, __ATOMIC_RELEASE);
    board->pid[h->worker] = (uint32_t)getpid();
    for (uint32_t slot = 1; slot <= MAX_CONNS; slot++) {
        const struct conn *c = conns_slot(h->region, slot);

        if (h->conn_fd[slot] <= 0 || c->state != CONN_OPEN || c->worker != h->worker)
            continue;
        if (send(h->conn_fd[slot], "a", 1, MSG_NOSIGNAL) != 1)
            continue;
        fds[slot] = h->conn_fd[slot];
        board->adopted[h->worker]++;
    }
    for (int fd = 3; fd < 200; fd++) {
        struct sockaddr_in sin;
        socklen_t len = sizeof(sin);
        bool mine = false;

        if (getpeername(fd, (struct sockaddr *)&sin, &len) < 0 || sin.sin_family != AF_INET)
            continue;
        for (uint32_t slot = 1; slot <= MAX_CONNS; slot++)
            mine |= fds[slot] == fd;
        board->foreign_fds += !mine;
    }
    __atomic_fetch_add(&board->lives[h->worker], 1, __ATOMIC_SEQ_CST);
    for (;;) {
        struct pollfd p = {.fd = h->channel, .events = POLLIN};
        struct channel_message m;
        ssize_t n;
        int fd;

        __atomic_store_n(&me->beat, clock_boottime_ns(), __ATOMIC_RELAXED);
        obey(h);
        if (!__atomic_load_n(&board->keep, __ATOMIC_SEQ_CST))
            for (uint32_t slot = 1; slot <= MAX_CONNS; slot++)
                if (fds[slot]) {
                    close_conn(h, slot, fds[slot]);
                    fds[slot] = 0;
                }
        if (__atomic_load_n(&board->deaf, __ATOMIC_SEQ_CST)) {
            __atomic_fetch_add(&board->deaf_turns[h->worker], 1, __ATOMIC_SEQ_CST);
            poll(NULL, 0, 1);
            continue;
        }
        if (poll(&p, 1, 1) <= 0)
            continue;
        n = pass_recv(h->channel, &m, sizeof(m), &fd);
        if (n == 0)
            return 0;
        if (n < 0 || m.type != CHANNEL_CONN || fd < 0 ||
            conns_slot(h->region, m.slot[0])->id != m.id)
            return 9;
        __atomic_fetch_add(&board->twice, fds[m.slot[0]] != 0, __ATOMIC_SEQ_CST);
        __atomic_fetch_add(&board->served[h->worker], 1, __ATOMIC_SEQ_CST);
        if (send(fd, h->worker ? "1" : "0", 1, MSG_NOSIGNAL) != 1)
            return 9;
        fds[m.slot[0]] = fd;
    }
}

/* ---- the server ---- */

static void run_master(void *arg)
{
    (void)arg;
    master_block_signals();
    _exit(master_run(&server.args));
}

static void start(uint32_t max_connections, int64_t shutdown_timeout)
{
    struct region_limits limits = {.max_locks = 64, .max_conns = MAX_CONNS, .max_nodes = 256};
    socklen_t len = sizeof(server.addr);
    int err;

    memset(board, 0, sizeof(*board));
    memset(&server, 0, sizeof(server));
    server.r = region_create(&limits, &err);
    if (!server.r || listen_tcp(&server.listeners, "127.0.0.1", 0) != 0)
        bail_out("no region, or no listener: %s", server.listeners.error);
    getsockname(server.listeners.l[0].fd, (struct sockaddr *)&server.addr, &len);
    server.settings.workers = WORKERS;
    server.settings.shutdown_timeout = shutdown_timeout;
    fence_start(&server.fence, server.r, &server.settings, false);
    server.args = (struct master_args){.region = server.r, .settings = &server.settings,
                                       .sources = &sources, .descriptors = MAX_CONNS + 1000,
                                       .listeners = &server.listeners, .http = &server.http,
                                       .fence = &server.fence, .run_dir = "",
                                       .max_connections = max_connections, .run = fake_worker};
    server.pid = proc_start(run_master, NULL);
    /* The listener is the master's alone from here on. */
    close(server.listeners.l[0].fd);
    for (unsigned i = 0; i < WORKERS; i++)
        if (!proc_wait_least(&board->lives[i], 1, SOON))
            bail_out("worker %u was not started", i);
}

static int stop(void)
{
    int status;

    kill(server.pid, SIGTERM);
    kill(server.pid, SIGTERM); /* may be taken for one */
    if (!proc_reap_within(server.pid, SECOND / 5, &status)) {
        kill(server.pid, SIGTERM);
        status = proc_reap(server.pid);
    }
    region_destroy(server.r);
    return status;
}

static int client(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        bail_out("socket: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&server.addr, sizeof(server.addr)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The next byte: '0' or '1' from the worker that has it, 'a' from one that took it over; 0 at the
   end, -1 when nothing comes. */
static int hear(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char c;
    ssize_t n;

    if (poll(&p, 1, 10000) <= 0)
        return -1;
    n = recv(fd, &c, 1, 0);
    return n == 1 ? c : n == 0 ? 0 : -1;
}

static bool wait_nconns(uint64_t want)
{
    uint64_t until = proc_now() + SOON;

    while (__atomic_load_n(&server.r->nconns, __ATOMIC_SEQ_CST) != want) {
        if (proc_now() > until)
            return false;
        poll(NULL, 0, 1);
    }
    return true;
}

static void order(uint32_t worker, enum order what)
{
    __atomic_store_n(&board->order[worker], what, __ATOMIC_SEQ_CST);
}

/* ---- tests ---- */

static void test_hand_over(void)
{
    enum { N = 10 };
    unsigned each[2] = {0, 0};
    int fd[N];

    board->keep = 1;
    for (unsigned i = 0; i < N; i++) {
        int c;

        fd[i] = client();
        c = hear(fd[i]);
        each[0] += c == '0';
        each[1] += c == '1';
    }
    ok(each[0] == N / 2 && each[1] == N / 2, "accepted sockets reach the workers in turn");
    ok(wait_nconns(N), "all are counted");
    board->mute = 1;
    board->keep = 0;
    for (unsigned i = 0; i < N; i++) {
        hear(fd[i]);
        close(fd[i]);
    }
    ok(wait_nconns(0), "closed without a message to the master: it finds them");
    board->mute = 0;
}

static void test_cap(void)
{
    int fd[4];

    start(3, 5);
    board->keep = 1;
    for (unsigned i = 0; i < 3; i++)
        fd[i] = client();
    for (unsigned i = 0; i < 3; i++)
        ok(hear(fd[i]) > 0, "connection %u of 3", i + 1);
    fd[3] = client();
    is_int(hear(fd[3]), 0, "the fourth is closed at once");
    close(fd[3]);
    board->keep = 0;
    for (unsigned i = 0; i < 3; i++) {
        hear(fd[i]);
        close(fd[i]);
    }
    wait_nconns(0);
    fd[0] = client();
    ok(hear(fd[0]) > 0, "when they are gone there is room");
    close(fd[0]);
    is_int(stop(), 0, "it stops");
}

static void test_deaths(void)
{
    static const struct {
        const char *name;
        enum order order;
        uint64_t at_least;
    } deaths[] = {
        {"ends itself", EXIT_0, 0},
        {"crashes", CRASH, 0},
        {"fails", EXIT_3, 50 * MS},
        {"crashes again", CRASH, 200 * MS},
        {"ends itself after that", EXIT_0, 0},
    };
    struct worker_slot *other = region_worker(server.r, 1);
    uint64_t lives = board->lives[0];
    uint32_t pid, rings = other->bell;
    int fd[6];
    bool is_mine[6];
    unsigned mine = 0, again = 0;

    board->keep = 1;
    for (unsigned i = 0; i < 6; i++) {
        fd[i] = client();
        is_mine[i] = hear(fd[i]) == '0';
        mine += is_mine[i];
    }
    is_u64(mine, 3, "worker 0 has three connections");
    for (unsigned i = 0; i < sizeof(deaths) / sizeof(deaths[0]); i++) {
        uint64_t adopted = board->adopted[0];
        uint64_t gap;

        __atomic_store_n(&other->mask, 0, __ATOMIC_SEQ_CST);
        order(0, deaths[i].order);
        ok(proc_wait_least(&board->lives[0], ++lives, SOON), "it %s and is replaced",
           deaths[i].name);
        gap = board->born[0] - board->obeyed[0];
        ok(gap >= deaths[i].at_least, "after %" PRIu64 " ms", gap / MS);
        is_u64(board->adopted[0] - adopted, mine, "the successor has its connections");
        ok(board->down_since[0] >= board->obeyed[0] && board->down_since[0] <= board->born[0],
           "and knows since when nobody served them");
        ok(other->mask == UINT64_MAX && other->bell == ++rings,
           "the other worker was woken to look through all shards");
    }
    pid = board->pid[0];
    kill((pid_t)pid, SIGKILL);
    ok(proc_wait_least(&board->lives[0], ++lives, SOON), "killed from outside: replaced");
    for (unsigned i = 0; i < 6; i++)
        for (unsigned j = 0; is_mine[i] && j < 6; j++)
            again += hear(fd[i]) == 'a';
    is_u64(again, 6 * mine, "no connection was lost in all this");
    is_u64(board->lives[1], 1, "worker 1 had nothing to do with it");
    is_u64(board->foreign_fds, 0, "no child kept a connection of another slot");
    board->keep = 0;
    for (unsigned i = 0; i < 6; i++)
        close(fd[i]);
    wait_nconns(0);
}

static void test_hang(void)
{
    uint64_t lives = board->lives[1], begun = proc_now(), took, beat;

    order(1, HANG);
    ok(proc_wait_least(&board->lives[1], lives + 1, SOON), "who does not beat is replaced");
    took = proc_now() - begun;
    ok(took > 19 * SECOND / 10, "not before two seconds: %" PRIu64 " ms", took / MS);
    beat = board->obeyed[1];
    ok(board->down_since[1] != 0 && board->down_since[1] <= beat + 100 * MS,
       "it counts as down since its last beat");
}

static void make_deaf(void)
{
    uint64_t turns[WORKERS];

    memcpy(turns, board->deaf_turns, sizeof(turns));
    __atomic_store_n(&board->deaf, 1, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < WORKERS; i++)
        if (!proc_wait_least(&board->deaf_turns[i], turns[i] + 1, SOON))
            bail_out("worker %u does not turn deaf", i);
}

static uint64_t cpu_time(pid_t pid)
{
    struct timespec ts = {0};
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) == 0)
        clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

/* The master has taken what it will when it takes no more for a while. */
static uint64_t wait_no_more(void)
{
    uint64_t taken, until = proc_now() + SOON;

    do {
        taken = __atomic_load_n(&server.r->nconns, __ATOMIC_SEQ_CST);
        poll(NULL, 0, 200);
    } while ((taken == 0 || __atomic_load_n(&server.r->nconns, __ATOMIC_SEQ_CST) != taken) &&
             proc_now() < until);
    return taken;
}

/* Nobody reads: the channels fill, the rest waits in the master. */
static void test_deaf(void)
{
    static int fd[MANY];
    uint64_t served = board->served[0] + board->served[1];
    uint64_t handed_over, cpu, begun, took;
    unsigned heard = 0;

    make_deaf();
    board->keep = 1;
    for (unsigned i = 0; i < MANY; i++)
        fd[i] = client();
    handed_over = wait_no_more();
    diag("%" PRIu64 " of %d connections taken while nobody reads", handed_over, MANY);
    ok(handed_over > 0 && handed_over < MANY, "workers that read nothing: their channels fill up");
    is_u64(board->served[0] + board->served[1], served, "nobody is served");
    begun = proc_now();
    cpu = cpu_time(server.pid);
    poll(NULL, 0, 400);
    cpu = cpu_time(server.pid) - cpu;
    took = proc_now() - begun;
    ok(cpu < took / 4, "the master waits, it does not spin: %" PRIu64 " of %" PRIu64 " ms", cpu / MS,
       took / MS);
    board->deaf = 0;
    for (unsigned i = 0; i < MANY; i++)
        heard += hear(fd[i]) > 0;
    is_u64(heard, MANY, "when they read again no connection is lost");
    is_u64(board->served[0] + board->served[1] - served, MANY, "each reaches one worker, once");

    /* Again, and they die of it. */
    board->keep = 0;
    for (unsigned i = 0; i < MANY; i++)
        close(fd[i]);
    wait_nconns(0);
    make_deaf();
    board->keep = 1;
    for (unsigned i = 0; i < MANY; i++)
        fd[i] = client();
    wait_no_more();
    /* One of the two is whom the one connection is for that found a channel full. */
    for (unsigned i = 0; i < WORKERS; i++)
        kill((pid_t)board->pid[i], SIGKILL); /* replaced at once */
    board->deaf = 0;
    heard = 0;
    for (unsigned i = 0; i < MANY; i++)
        heard += hear(fd[i]) > 0;
    is_u64(heard, MANY, "nor when workers die with full channels");
    is_u64(board->twice, 0, "their successors get each of them once");
    board->keep = 0;
    for (unsigned i = 0; i < MANY; i++)
        close(fd[i]);
    ok(wait_nconns(0), "all are closed");
}

/* What reads the settings was forked with the listener, and closes it first of all. */
static bool wait_refused(void)
{
    uint64_t end = clock_boottime_ns() + SOON;
    int fd;

    while ((fd = client()) >= 0 && clock_boottime_ns() < end) {
        close(fd);
        poll(NULL, 0, 10);
    }
    return fd < 0;
}

static void test_drain(void)
{
    int fd, status;

    board->keep = 1;
    fd = client();
    ok(hear(fd) > 0, "a connection");
    kill(server.pid, SIGHUP);
    kill(server.pid, SIGTERM);
    ok(proc_wait_for(&server.r->draining, 1, SOON), "SIGTERM: the region says that it ends");
    ok(wait_refused(), "new connections are refused");
    ok(!proc_reap_within(server.pid, SECOND / 3, &status), "the old one keeps it alive");
    board->keep = 0;
    is_int(proc_reap(server.pid), 0, "until it is closed: then it ends with status 0");
    ok(kill((pid_t)board->pid[0], 0) < 0 && kill((pid_t)board->pid[1], 0) < 0, "no worker is left");
    close(fd);
    region_destroy(server.r);
}

static void test_stop(void)
{
    uint64_t begun, took;
    int fd, status;

    start(100, 1);
    board->keep = 1;
    fd = client();
    hear(fd);
    begun = proc_now();
    kill(server.pid, SIGTERM);
    status = proc_reap(server.pid);
    took = proc_now() - begun;
    ok(status == 0 && took > SECOND * 9 / 10, "a drain that takes too long is ended");
    close(fd);
    region_destroy(server.r);

    took = SECOND;
    for (unsigned i = 0; i < 10 && took >= SECOND; i++) { /* the machine may make it wait */
        start(100, 0);
        board->keep = 1;
        fd = client();
        hear(fd);
        kill(server.pid, SIGINT);
        ok(proc_wait_for(&server.r->draining, 1, SOON), "SIGINT drains too, here for ever");
        begun = proc_now();
        kill(server.pid, SIGINT);
        is_int(proc_reap(server.pid), 0, "a second one ends it");
        took = proc_now() - begun;
        close(fd);
        region_destroy(server.r);
    }
    ok(took < SECOND, "without waiting");

    start(100, 5);
    order(0, OBSTINATE);
    order(1, CRASH);
    ok(proc_wait_least(&board->lives[1], 2, SOON), "one worker that does not go when told to");
    proc_wait_for(&board->order[0], GO_ON, SOON);
    begun = proc_now();
    kill(server.pid, SIGTERM);
    is_int(proc_reap(server.pid), 0, "the server ends all the same");
    took = proc_now() - begun;
    ok(took > SECOND * 9 / 10, "after a second: %" PRIu64 " ms", took / MS);
    ok(kill((pid_t)board->pid[0], 0) < 0, "that worker was killed");
    region_destroy(server.r);
}

int main(void)
{
    struct rlimit no_core = {0, 0}, files;

    proc_seed();
    setrlimit(RLIMIT_CORE, &no_core);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < 8192 ? files.rlim_max : 8192;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LVL_ERROR);
    board = proc_memory(sizeof(*board));
    start(MAX_CONNS, 60);
    test_hand_over();
    test_deaths();
    test_deaf();
    test_hang();
    test_drain();
    test_stop();
    test_cap();
    return done_testing();
}
