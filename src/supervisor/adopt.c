/*
 * supervisor/adopt.c - see adopt.h. Runs in a new master, before its first fork.
 *
 * A worker is believed if it shows the same region as all others; it is known by a pidfd from then
 * on, for it is not a child of this process and cannot be waited for.
 */
#include "supervisor/adopt.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/point.h"
#include "base/process.h"
#include "net/pass.h"
#include "net/rendezvous.h"
#include "supervisor/child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define STARTS_WITHIN (10 * NS_PER_SEC) /* a fork on a slow machine */
#define ADOPT_PATIENCE (2 * NS_PER_SEC) /* as for a worker that hangs */

enum { ADOPT_POLL_MS = 100, CALLS_AGAIN = 3 };

static void close_fd(int fd)
{
    SYS(ADOPT_CLOSE, close(fd));
}

static bool same_file(int a, int b)
{
    struct stat x, y;

    return SYS(ADOPT_STAT, fstat(a, &x)) == 0 && SYS(ADOPT_STAT_TOO, fstat(b, &y)) == 0 &&
           x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int use_region(struct legacy *l, int fd)
{
    int err;

    l->region = region_adopt(fd, &err);
    if (!l->region) {
        snprintf(l->error, sizeof(l->error), "%s", region_error_text(err));
        return err;
    }
    l->conn_fd = calloc((size_t)l->region->max_conns + 1, sizeof(*l->conn_fd));
    if (!l->conn_fd)
        return -ENOMEM;
    l->region_fd = fd;
    return 0;
}

/* Takes what a HELLO brings. */
static int meet(struct legacy *l, unsigned worker, const struct channel_message *m, const int *fds)
{
    struct legacy_worker *w = &l->worker[worker];
    int err = 0;

    if (m->slot[0] != worker || w->alive)
        return -EPROTO;
    w->pid = (pid_t)m->id;
    w->pidfd = SYS(ADOPT_PIDFD, pidfd_open(w->pid, 0));
    if (w->pidfd < 0)
        return -errno;
    /* Last: what is refused is closed by the caller. */
    if (!l->region)
        err = use_region(l, fds[HELLO_REGION]);
    else if (!same_file(l->region_fd, fds[HELLO_REGION]))
        err = -ESTALE;
    if (err)
        return err;
    if (l->region_fd != fds[HELLO_REGION])
        close_fd(fds[HELLO_REGION]);
    w->generation = m->slot[1];
    w->rendezvous = fds[HELLO_RENDEZVOUS];
    memcpy(w->docs, fds + HELLO_DOCS, sizeof(w->docs));
    w->alive = true;
    return 0;
}

static void take_sockets(struct legacy *l, const struct channel_message *m, const int *fds)
{
    for (uint32_t i = 0; i < m->n; i++) {
        uint32_t slot = m->slot[i];

        if (slot >= 1 && slot <= l->region->max_conns && !l->conn_fd[slot])
            l->conn_fd[slot] = fds[i];
        else if (slot == HERITAGE_LISTENER && l->nlisteners < LISTEN_MAX)
            l->listener[l->nlisteners++] = fds[i];
        else
            close_fd(fds[i]);
    }
}

enum hearing { HEARS_MORE, HEARD_ALL, HEARD_NOTHING, HEARD_WRONG };

/* One message of a worker. */
static enum hearing hear(struct legacy *l, unsigned worker, int *err)
{
    struct legacy_worker *w = &l->worker[worker];
    struct channel_message m = {0};
    int fds[PASS_FDS];
    unsigned nfds;
    ssize_t n = pass_recv_fds(w->channel, &m, sizeof(m), fds, &nfds);

    *err = n == 0 ? -ECONNRESET : n < 0 ? (int)n : 0;
    if (*err == -EAGAIN)
        return HEARD_NOTHING;
    if (pass_recv_again(n)) {
        log_error("a worker of the last master cannot be heard, will try again",
                  log_uint("worker", worker), log_err("error", *err));
        return HEARD_NOTHING;
    }
    if (*err)
        return HEARD_WRONG;
    if (m.type == CHANNEL_HELLO && nfds == HELLO_FDS) {
        *err = meet(l, worker, &m, fds);
        if (!*err)
            return HEARS_MORE;
    } else if (m.type == CHANNEL_SOCKETS && w->alive && m.n <= CHANNEL_SLOTS && nfds == m.n) {
        take_sockets(l, &m, fds);
        return HEARS_MORE;
    } else if (m.type == CHANNEL_SAID && w->alive) {
        return HEARD_ALL;
    } else if (m.type == CHANNEL_CLOSED && w->alive) {
        return HEARS_MORE; /* the slots say so themselves */
    } else {
        *err = -EPROTO;
    }
    while (nfds > 0)
        close_fd(fds[--nfds]);
    return HEARD_WRONG;
}

/* Kills it and waits for its end: nobody may serve beside it, or with another table. */
static int end_process(pid_t pid)
{
    int pidfd = SYS(END_PIDFD, pidfd_open(pid, 0));
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    int err = 0;

    if (pidfd < 0)
        return errno == ESRCH ? 0 : -errno;
    if (SYS(END_KILL, pidfd_send_signal(pidfd, SIGKILL, NULL, 0)) < 0 && errno != ESRCH)
        err = -errno;
    if (!err && SYS(END_WAIT, poll(&p, 1, (int)(ADOPT_PATIENCE / NS_PER_MS))) != 1)
        err = -ETIMEDOUT;
    close_fd(pidfd);
    return err;
}

/* Whether this process has the worker's rendezvous. */
static bool attends(const char *run_dir, unsigned worker, pid_t pid)
{
    int fd = run_dir[0] ? rendezvous_call(run_dir, worker) : -ENOENT;
    bool yes = fd >= 0 && rendezvous_attendant(fd) == pid;

    if (fd >= 0)
        close_fd(fd);
    return yes;
}

/* Whether it has the worker's name and age. */
static bool looks_like(const struct worker_slot *slot, unsigned worker)
{
    struct process_stat stat;
    char name[16];
    uint64_t started;

    child_process_name(name, sizeof(name), worker, slot->http);
    if (process_read((pid_t)slot->pid, &stat) != 0 || strcmp(stat.name, name) != 0)
        return false;
    started = process_ticks_ns(stat.started);
    return started + NS_PER_SEC > slot->started && started < slot->started + STARTS_WITHIN;
}

/*
 * Whether the process that the region names is that very worker: numbers come again. The rendezvous says
 * so of all that can be called; /proc of the others, where it shows them: with ProtectProc=invisible it
 * does not.
 */
static bool is_that_worker(const char *run_dir, const struct worker_slot *slot, unsigned worker)
{
    if (slot->generation == 0 || slot->pid <= 1)
        return false;
    return attends(run_dir, worker, (pid_t)slot->pid) || looks_like(slot, worker);
}

/* It cannot be adopted. What it has shown of its connections goes to its heir. */
static int reject(struct legacy *l, unsigned worker, int why)
{
    struct legacy_worker *w = &l->worker[worker];
    int err = w->pid > 1 ? end_process(w->pid) : 0;

    if (why != -ECONNRESET)
        log_error("a worker of the last master cannot be adopted, killing it",
                  log_uint("worker", worker),
                  log_int("pid", w->pid > 1 ? w->pid : rendezvous_attendant(w->channel)),
                  log_err("error", why));
    if (w->pid <= 1)
        l->silent |= UINT64_C(1) << worker; /* who it is may be known later */
    if (w->pidfd > 0)
        close_fd(w->pidfd);
    close_fd(w->channel);
    memset(w, 0, sizeof(*w));
    if (err)
        snprintf(l->error, sizeof(l->error), "worker %u cannot be ended: %s", worker,
                 strerror(-err));
    return err;
}

/*
 * Workers that the region knows of and that have not answered, for whatever reason: two must not
 * serve one slot.
 */
static int end_strangers(struct legacy *l, const char *run_dir)
{
    for (unsigned i = 0; i < WORKER_MAX; i++) {
        const struct worker_slot *slot = region_worker(l->region, i);
        int err;

        if (l->worker[i].alive || !is_that_worker(run_dir, slot, i))
            continue;
        if (!(l->silent & UINT64_C(1) << i))
            log_warn("a worker of the last master has not answered, it is ended if it is not dead",
                     log_uint("worker", i), log_int("pid", slot->pid));
        err = end_process((pid_t)slot->pid);
        if (err) {
            snprintf(l->error, sizeof(l->error), "worker %u, process %u, cannot be ended: %s", i,
                     slot->pid, strerror(-err));
            return err;
        }
    }
    return 0;
}

/* A bit for each worker that is still to be heard out; they may take ADOPT_PATIENCE. A look takes no
   longer than twice as long as it waits: what is more, this process did not run. */
static int listen_to(struct legacy *l, uint64_t *who)
{
    const uint64_t longest = 2 * ADOPT_POLL_MS * NS_PER_MS;
    uint64_t callees = *who, spent = 0;

    while (callees && spent < ADOPT_PATIENCE) {
        struct pollfd p[WORKER_MAX];
        uint64_t began = clock_boottime_ns(), took;
        unsigned n = 0;

        for (uint64_t left = callees; left; left &= left - 1)
            p[n++] = (struct pollfd){.fd = l->worker[__builtin_ctzll(left)].channel,
                                     .events = POLLIN};
        SYS(ADOPT_POLL, poll(p, n, ADOPT_POLL_MS));
        for (uint64_t left = callees; left; left &= left - 1) {
            unsigned worker = (unsigned)__builtin_ctzll(left);
            enum hearing heard;
            int err;

            do
                heard = hear(l, worker, &err);
            while (heard == HEARS_MORE);
            if (heard == HEARD_WRONG && !l->region && l->error[0])
                return err; /* a region of another version */
            err = heard == HEARD_WRONG ? reject(l, worker, err) : 0;
            if (err)
                return err;
            if (heard != HEARD_NOTHING)
                callees &= ~(UINT64_C(1) << worker);
        }
        took = clock_boottime_ns() - began;
        spent += took < longest ? took : longest;
    }
    *who = callees;
    return 0;
}

/* One that is not heard of is ended: a moment without memory or descriptors must not be why. */
static int call(const char *run_dir, unsigned worker)
{
    int fd = rendezvous_call(run_dir, worker);

    for (unsigned again = 0; again < CALLS_AGAIN && err_is_momentary(fd); again++) {
        log_warn("a worker of the last master cannot be called, trying again",
                 log_uint("worker", worker), log_err("error", fd));
        fd = rendezvous_call(run_dir, worker);
    }
    return fd;
}

/* A bit for each worker that has picked up. */
static uint64_t call_all(struct legacy *l, const char *run_dir)
{
    uint64_t callees = 0;

    for (unsigned i = 0; run_dir[0] && i < WORKER_MAX; i++) {
        int fd = call(run_dir, i);

        if (fd >= 0)
            callees |= UINT64_C(1) << i;
        else if (fd != -ENOENT && fd != -ECONNREFUSED)
            l->silent |= UINT64_C(1) << i; /* somebody may be there */
        if (err_is_momentary(fd))
            log_error("it cannot be asked whether the last master left a worker",
                      log_uint("worker", i), log_err("error", fd));
        l->worker[i].channel = fd >= 0 ? fd : 0;
    }
    return callees;
}

/* Those of `who` that have let go of their rendezvous meanwhile: they are dead. */
static uint64_t gone(const char *run_dir, uint64_t who)
{
    uint64_t dead = 0;

    for (; who; who &= who - 1) {
        unsigned worker = (unsigned)__builtin_ctzll(who);
        int fd = call(run_dir, worker);

        if (fd >= 0)
            close_fd(fd);
        if (fd == -ENOENT || fd == -ECONNREFUSED)
            dead |= UINT64_C(1) << worker;
    }
    return dead;
}

int adopt_find(struct legacy *l, const char *run_dir, int region_fd)
{
    uint64_t callees, left;
    int err;

    memset(l, 0, sizeof(*l));
    callees = call_all(l, run_dir);
    l->served = (callees | l->silent) != 0;
    /* What workers serve is the truth; the service manager may have kept an older one. */
    err = listen_to(l, &callees);
    for (; !err && callees; callees &= callees - 1)
        err = reject(l, (unsigned)__builtin_ctzll(callees), -ETIMEDOUT);
    if (!err && !l->region && region_fd >= 0)
        err = use_region(l, region_fd);
    if (!err && l->region)
        err = end_strangers(l, run_dir);
    left = err ? 0 : l->silent & ~gone(run_dir, l->silent);
    if (left) {
        snprintf(l->error, sizeof(l->error),
                 "worker %d does not answer, and which process it is nobody knows: end it",
                 __builtin_ctzll(left));
        err = -ETIMEDOUT;
    }
    return err;
}

/* A worker that is not wanted says who it is. */
static int end_worker(struct legacy_worker *w)
{
    struct pollfd p = {.fd = w->channel, .events = POLLIN};
    struct channel_message m = {0};
    int fds[PASS_FDS];
    unsigned nfds = 0;
    int err = -ETIMEDOUT;

    if (SYS(DISCARD_HEAR, poll(&p, 1, (int)(ADOPT_PATIENCE / NS_PER_MS))) == 1 &&
        pass_recv_fds(w->channel, &m, sizeof(m), fds, &nfds) > 0 && m.type == CHANNEL_HELLO)
        err = end_process((pid_t)m.id);
    while (nfds > 0)
        close_fd(fds[--nfds]);
    close_fd(w->channel);
    w->channel = 0;
    return err;
}

int adopt_discard(struct legacy *l, const char *run_dir)
{
    uint64_t callees;
    int err = 0;

    memset(l, 0, sizeof(*l));
    callees = call_all(l, run_dir);
    for (; callees; callees &= callees - 1) {
        unsigned worker = (unsigned)__builtin_ctzll(callees);
        int this = end_worker(&l->worker[worker]);

        if (this)
            snprintf(l->error, sizeof(l->error),
                     "worker %u of the server before this one does not answer and must be killed",
                     worker);
        err = this ? this : err;
    }
    if (!err && l->silent) {
        snprintf(l->error, sizeof(l->error),
                 "worker %d of the server before this one cannot be called and must be killed",
                 __builtin_ctzll(l->silent));
        err = -ETIMEDOUT;
    }
    return err;
}
