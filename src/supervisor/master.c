/*
 * supervisor/master.c - the master's loop. See master.h.
 */
#include "supervisor/master.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/point.h"
#include "config/exitcode.h"
#include "net/pass.h"
#include "net/tickets.h"
#include "shm/bell.h"
#include "shm/caps.h"
#include "supervisor/apply.h"
#include "supervisor/legacy.h"
#include "supervisor/master_state.h"
#include "supervisor/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { EVENTS = 64, MESSAGES_A_TURN = 256, RELOAD_POLL_MS = 5 };

#define TICK_NS (250 * NS_PER_MS)
#define FORK_AGAIN_NS (100 * NS_PER_MS)
#define REPLACE_NS (2 * NS_PER_MS) /* how often an upgrade looks whether an heir has settled */
#define DISMISS_NS NS_PER_SEC /* workers that were told to go are killed after this */
#define REVIVE_NS NS_PER_SEC /* until all are run again when the machine was starved */

static void signals_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGCHLD);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR1);
    sigaddset(set, SIGUSR2);
}

void master_block_signals(void)
{
    sigset_t set;

    signals_set(&set);
    SYS(MASTER_SIGMASK, sigprocmask(SIG_BLOCK, &set, NULL));
    SYS(MASTER_SIGPIPE, signal(SIGPIPE, SIG_IGN));
}

static bool watch(const struct master *m, int fd, void *source)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = source};

    return SYS(MASTER_WATCH, epoll_ctl(m->epfd, EPOLL_CTL_ADD, fd, &ev)) == 0 || errno == EEXIST;
}

void master_watch(struct master *m, struct child *c)
{
    c->unwatched = (c->channel >= 0 && !watch(m, c->channel, c)) ||
                   (c->pidfd && !watch(m, c->pidfd, &c->pidfd));
    if (c->unwatched)
        log_error("a worker cannot be watched, will try again", log_uint("worker", c->slot),
                  log_err("error", -errno));
}

static void start_child(struct master *m, struct child *c)
{
    int err;

    c->told = m->reload.generation;
    __atomic_store_n(&region_worker(m->r, c->slot)->configured, c->told, __ATOMIC_RELEASE);
    c->old = false;
    err = child_spawn(c, &m->birth, m->keeper.fd);
    if (err) {
        log_error("worker cannot be started, will try again", log_uint("worker", c->slot),
                  log_err("error", err));
        c->state = CHILD_WAITING;
        c->due = m->now + FORK_AGAIN_NS;
        return;
    }
    master_watch(m, c);
    log_debug("worker started", log_uint("worker", c->slot), log_int("pid", c->pid),
              log_uint("generation", c->generation));
}

static void dismiss(struct master *m, struct child *c)
{
    /* A worker whose channel ends ends itself. */
    if (c->channel >= 0)
        SYS(MASTER_DISMISS, close(c->channel));
    c->channel = -1;
    c->state = CHILD_DISMISSED;
    m->deadline = m->now + DISMISS_NS;
}

/* It ends of its own accord, between two requests; one that does not read this is silent soon. */
static void ask_to_leave(struct master *m, struct child *c)
{
    struct channel_message msg = {.type = CHANNEL_LEAVE};
    int err = pass_send(c->channel, &msg, offsetof(struct channel_message, slot), -1);

    if (err && err != -EPIPE && err != -ECONNRESET) /* else it is dead */
        log_error("a worker cannot be asked to leave, killing it", log_uint("worker", c->slot),
                  log_err("error", err));
    if (err)
        child_kill(c);
    c->state = CHILD_LEAVING;
    c->asked = m->now;
}

static void child_happens(struct master *m, struct child *c, enum child_event event)
{
    switch (child_action(c->state, event)) {
    case ACT_START:
        start_child(m, c);
        break;
    case ACT_KILL:
        child_kill(c);
        if (c->state == CHILD_SERVING || c->state == CHILD_LEAVING)
            c->state = CHILD_DYING;
        break;
    case ACT_LEAVE:
        ask_to_leave(m, c);
        break;
    case ACT_DISMISS:
        dismiss(m, c);
        break;
    case ACT_FORGET:
        c->state = CHILD_NONE;
        break;
    default:
        break; /* deaths are bury.c's */
    }
}

void master_start_worker(struct master *m, uint32_t slot)
{
    child_happens(m, &m->child[slot], CHILD_DUE);
}

void master_kill(struct master *m, uint32_t slot)
{
    child_happens(m, &m->child[slot], CHILD_SILENT);
}

void master_replace(struct master *m, uint32_t worker)
{
    child_happens(m, &m->child[worker], CHILD_REPLACE);
}

static void read_channel(struct master *m, struct child *c)
{
    for (unsigned i = 0; i < MESSAGES_A_TURN && c->channel >= 0; i++) {
        struct channel_message msg;
        int fd;
        ssize_t n = pass_recv(c->channel, &msg, sizeof(msg), &fd);

        if (fd >= 0)
            SYS(MASTER_STRAY, close(fd));
        if (n == 0) {
            /* It closed its end: it is dying, and SIGCHLD says the rest. */
            SYS(MASTER_UNWATCH, epoll_ctl(m->epfd, EPOLL_CTL_DEL, c->channel, NULL));
            return;
        }
        if (pass_recv_again(n))
            log_error("a worker cannot be heard, will try again", log_uint("worker", c->slot),
                      log_err("error", (int)n));
        if (n < (ssize_t)offsetof(struct channel_message, slot))
            return;
        if (msg.type != CHANNEL_CLOSED || msg.n > CHANNEL_SLOTS)
            continue;
        for (uint32_t k = 0; k < msg.n; k++) {
            keeper_reap(&m->keeper, msg.slot[k]);
            accept_returned(m, msg.slot[k]);
        }
        accept_room(m);
    }
}

static void begin_drain(struct master *m, const char *signal_name)
{
    uint64_t timeout = seconds_to_ns(m->settings->shutdown_timeout);

    upgrade_cancel(m);
    m->stage = STAGE_DRAINING;
    reload_stop(m);
    m->replacing = false;
    accept_stop(m);
    listen_close(m->args->listeners);
    m->deadline = timeout ? m->now + timeout : TIME_NEVER;
    __atomic_store_n(&m->r->draining, 1, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        if (m->child[i].state != CHILD_NONE)
            bell_ring(m->r, i);
    tell_drain(m);
    /* Last: who reads this finds it to be so. */
    log_info("draining: no new connections, no new locks; a second signal ends it at once",
             log_str("signal", signal_name), log_uint("connections", m->keeper.open),
             log_int("timeout_s", m->settings->shutdown_timeout));
}

static void say_stopping(struct master *m, enum stopping stopping)
{
    m->stopping = stopping;
    __atomic_store_n(&m->r->stopping, stopping, __ATOMIC_SEQ_CST);
}

static void stop_workers(struct master *m)
{
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        child_happens(m, &m->child[i], CHILD_STOP);
}

static void begin_stop(struct master *m, enum stopping stopping, const char *why)
{
    upgrade_cancel(m);
    if (m->stage == STAGE_SERVING) {
        tell_stop(m);
        accept_stop(m);
        listen_close(m->args->listeners);
    }
    listen_close(m->args->http);
    m->stage = STAGE_STOPPING;
    say_stopping(m, stopping);
    log_info("stopping", log_str("why", why), log_uint("connections", m->keeper.open));
    stop_workers(m);
}

void master_quiesce(struct master *m)
{
    m->stage = STAGE_QUIET;
    accept_stop(m);
    say_stopping(m, STOPPING_RESTART);
    stop_workers(m);
}

static bool all_gone(const struct master *m)
{
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        if (m->child[i].state != CHILD_NONE)
            return false;
    return true;
}

bool master_is_quiet(const struct master *m)
{
    return m->stage == STAGE_QUIET && all_gone(m);
}

static const char restart_text[] = "restart: locks and fences are kept for the next one";

static void begin_drain(struct master *m, const char *signal_name);

void master_serve_again(struct master *m)
{
    m->stage = STAGE_SERVING;
    say_stopping(m, STOPPING_NOT);
    resize_start(m);
    accept_start(m);
    if (m->quit == SIGUSR1)
        begin_stop(m, STOPPING_RESTART, restart_text);
    else if (m->quit)
        begin_drain(m, "TERM");
    m->quit = 0;
}

static void read_signals(struct master *m)
{
    struct signalfd_siginfo si;

    while (SYS(MASTER_SIGNAL, read(m->sigfd, &si, sizeof(si))) == (ssize_t)sizeof(si)) {
        switch (si.ssi_signo) {
        case SIGCHLD:
            bury_dead(m);
            break;
        case SIGHUP:
            reload_request(m);
            break;
        case SIGUSR1:
            if (m->stage == STAGE_SERVING || m->stage == STAGE_DRAINING)
                begin_stop(m, STOPPING_RESTART, restart_text);
            else if (m->stage == STAGE_QUIET)
                m->quit = SIGUSR1;
            break;
        case SIGUSR2:
            upgrade_begin(m);
            break;
        default:
            if (m->stage == STAGE_SERVING)
                begin_drain(m, si.ssi_signo == SIGINT ? "INT" : "TERM");
            else if (m->stage == STAGE_DRAINING)
                begin_stop(m, STOPPING_END, "second signal");
            else if (m->stage == STAGE_QUIET)
                m->quit = SIGTERM; /* when it serves again, or the next program does */
            break;
        }
    }
}

/* Before the first worker, and then now and again. */
static void turn_tickets(struct master *m)
{
    int err = tickets_turn((struct tickets *)m->r->tickets, m->now);

    _Static_assert(sizeof(struct tickets) <= sizeof(m->r->tickets), "the region has no room");
    if (err)
        log_error("no new key for TLS tickets, the old ones stay", log_err("error", err));
}

static void tick(struct master *m)
{
    uint64_t late = m->now - m->next_tick;

    if (m->next_tick && policy_starved(late))
        m->starved = m->now;
    if (m->now - m->starved >= REVIVE_NS)
        watchdog(m, m->next_tick ? late : 0);
    turn_tickets(m);
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        if (m->child[i].unwatched && m->child[i].state != CHILD_NONE)
            master_watch(m, &m->child[i]);
    keeper_reap_all(&m->keeper);
    for (uint32_t slot = 1; slot <= m->r->max_conns; slot++)
        accept_returned(m, slot);
    fence_tick(m->args->fence, m->now, m->next_tick ? late : 0);
    tell_tick(m);
    m->next_tick = m->now + TICK_NS;
}

/* After an upgrade: one worker after another leaves, the next when its heir has settled. */
static void replace_old(struct master *m)
{
    struct child *old = NULL;

    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        struct child *c = &m->child[i];

        if (c->state == CHILD_NONE)
            continue; /* a surplus one has left */
        if (c->state != CHILD_SERVING)
            return;
        if (c->old)
            old = old ? old : c;
        else if (__atomic_load_n(&region_worker(m->r, i)->settled, __ATOMIC_ACQUIRE) !=
                 c->generation)
            return;
    }
    if (old)
        child_happens(m, old, CHILD_REPLACE);
    else if (m->args->legacy->upgraded)
        log_audit("upgraded: all workers run this program", log_str("version", PACKAGE_VERSION));
    m->replacing = old != NULL;
}

/* No client is left to wait for. HTTP's are its sessions: its worker ends those that hold nothing. */
static bool drained(const struct master *m)
{
    return m->keeper.open == 0 && __atomic_load_n(&m->r->nsessions, __ATOMIC_RELAXED) == 0;
}

static void turn(struct master *m)
{
    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        struct child *c = &m->child[i];

        if (c->state == CHILD_WAITING && m->now >= c->due && m->stage != STAGE_STOPPING &&
            m->stage != STAGE_QUIET)
            child_happens(m, c, CHILD_DUE);
    }
    reload_turn(m);
    if (m->stage == STAGE_SERVING || m->stage == STAGE_DRAINING) {
        resize_turn(m);
        httpworker_turn(m);
    }
    accept_turn(m);
    if (m->now >= m->next_tick)
        tick(m);
    upgrade_turn(m);
    if (m->replacing && m->stage == STAGE_SERVING)
        replace_old(m);
    if (m->stage == STAGE_DRAINING && drained(m))
        begin_stop(m, STOPPING_END, "drained");
    else if (m->stage == STAGE_DRAINING && m->now >= m->deadline)
        begin_stop(m, STOPPING_END, "the drain took too long");
    else if ((m->stage == STAGE_STOPPING || m->stage == STAGE_QUIET) && m->now >= m->deadline)
        stop_workers(m);
}

static int sleep_ms(const struct master *m)
{
    uint64_t next = m->next_tick;

    for (uint32_t i = 0; i < WORKER_MAX; i++)
        if (m->child[i].state == CHILD_WAITING && m->child[i].due < next)
            next = m->child[i].due;
    if (m->accept_again && m->accept_again < next)
        next = m->accept_again;
    if (m->unsent_n)
        return 1;
    if (reload_busy(m))
        return RELOAD_POLL_MS;
    if (m->replacing && next > m->now + REPLACE_NS)
        next = m->now + REPLACE_NS;
    return next > m->now ? (int)((next - m->now + NS_PER_MS - 1) / NS_PER_MS) : 0;
}

/* The worker whose pidfd is readable, if that is what the source is. */
static struct child *adopted(struct master *m, const void *source)
{
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        if (source == &m->child[i].pidfd && m->child[i].pidfd)
            return &m->child[i];
    return NULL;
}

static void handle(struct master *m, void *source)
{
    struct child *dead = adopted(m, source);
    struct child *c = source;

    if (source == &m->sigfd)
        read_signals(m);
    else if (dead)
        bury_adopted(m, dead);
    else if (c >= m->child && c < m->child + WORKER_MAX)
        read_channel(m, c);
    else if (m->stage == STAGE_SERVING)
        accept_ready(m, source);
}

/* What happened while it served: who reads only the end of the log sees it. */
static void summary(const struct master *m)
{
    uint64_t repairs = 0, rebuilt = 0, quarantined = 0, poisoned = 0;

    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        const struct counters *n = &region_worker(m->r, i)->counters;

        repairs += n->repairs;
        rebuilt += n->rebuilt;
        quarantined += n->quarantined;
        poisoned += n->poisoned;
    }
    log_info("stopped", log_uint("workers_killed", m->deaths[DEATH_KILLED]),
             log_uint("workers_crashed", m->deaths[DEATH_CRASH]),
             log_uint("workers_failed", m->deaths[DEATH_FAIL]), log_uint("repairs", repairs),
             log_uint("rebuilt", rebuilt), log_uint("quarantined", quarantined),
             log_uint("poisoned", poisoned));
}

static int loop(struct master *m)
{
    struct epoll_event ev[EVENTS];

    while (m->stage != STAGE_STOPPING || !all_gone(m) ||
           !fence_end(m->args->fence, m->now)) {
        int n = SYS(MASTER_WAIT, epoll_wait(m->epfd, ev, EVENTS, sleep_ms(m)));

        m->now = clock_boottime_ns();
        for (int i = 0; i < n; i++)
            handle(m, ev[i].data.ptr);
        turn(m);
    }
    if (m->stopping == STOPPING_RESTART)
        upgrade_save(m);
    summary(m);
    return m->status;
}

static int prepare(struct master *m)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &m->sigfd};
    sigset_t set;
    int err = keeper_init(&m->keeper, m->r, m->args->max_connections,
                          (uint32_t)m->settings->max_connections_per_ip);

    if (err)
        return err;
    err = strangers_init(&m->strangers, m->r);
    if (err)
        return err;
    m->unsent = malloc(((size_t)m->r->max_conns + 1) * sizeof(*m->unsent));
    if (!m->unsent)
        return -ENOMEM;
    signals_set(&set);
    m->sigfd = SYS(MASTER_SIGNALFD, signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    m->epfd = SYS(MASTER_EPOLL, epoll_create1(EPOLL_CLOEXEC));
    m->spare = SYS(MASTER_SPARE, open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (m->sigfd < 0 || m->epfd < 0 || m->spare < 0 ||
        SYS(MASTER_WATCH_SIGNALS, epoll_ctl(m->epfd, EPOLL_CTL_ADD, m->sigfd, &ev)) < 0)
        return -errno;
    return 0;
}

int master_run(const struct master_args *args)
{
    static struct master state;
    struct master *m = &state;
    int err;

    m->args = args;
    m->settings = args->settings;
    m->r = args->region;
    m->birth = (struct birth){.region = args->region, .region_fd = args->region_fd,
                              .settings = args->settings, .tls_files = args->tls_files,
                              .run_dir = args->run_dir, .run = args->run,
                              .run_http = args->run_http, .http = args->http};
    m->now = clock_boottime_ns();
    m->next_tick = m->now + TICK_NS;
    m->status = EXITCODE_OK;
    m->upgrade.dump_fd = -1;
    err = prepare(m);
    if (err) {
        log_error("cannot start", log_err("error", err));
        return EXITCODE_FAIL;
    }
    __atomic_store_n(&m->r->served_since, m->now, __ATOMIC_RELAXED);
    turn_tickets(m);
    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        m->child[i].slot = i;
        m->child[i].channel = -1;
    }
    caps_limit(m->r, apply_max_locks(m));
    m->nworkers = (uint32_t)args->settings->workers;
    m->nslots = m->nworkers;
    m->replacing = args->legacy && args->legacy->upgraded;
    if (args->legacy) {
        inherit(m, args->legacy);
        reload_inherit(m);
    }
    resize_start(m);
    httpworker_turn(m);
    accept_start(m);
    tell_ready(m);
    return loop(m);
}
