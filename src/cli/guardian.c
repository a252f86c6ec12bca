/*
 * cli/guardian.c - see guardian.h. One loop, no thread: whatever happens is noted, then judge()
 * says whether that, or the time, leads to the next phase.
 *
 *     WAITING → RUNNING → (ENDING → KILLING) → RESTING → RELEASING → DONE
 *
 * In each phase but the first and the last two there may be processes to guard; whether there are
 * is what waitpid() says: this process is a subreaper, so ECHILD means that no descendant is left.
 */
#include "cli/guardian.h"

#include "base/clock.h"
#include "cli/command.h"
#include "cli/exitcode.h"
#include "cli/lease.h"
#include "cli/link.h"
#include "cli/say.h"
#include "cli/tree.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* How soon it is tried again to kill what has just been killed and is not dead yet; twice as long
   each time, but not more than that. */
enum { KILL_AGAIN_MS = 20, KILL_RARELY_MS = 1000 };

enum phase {
    WAITING,   /* for the lock */
    RUNNING,   /* the command, or what it left behind when it ended */
    ENDING,    /* TERM has been sent */
    KILLING,   /* KILL has been sent, and will be until nobody is left */
    RESTING,   /* nobody is left; the lock is kept for --min-hold */
    RELEASING, /* the server is being told */
    DONE,
};

struct guardian {
    const struct options *o;
    const struct signals *signals;
    const struct terminal *terminal;
    int link; /* -1: the front is gone, or has been told to leave */
    dflock *lock;
    enum phase phase;
    int code; /* what to exit with */
    struct command command;
    bool started, ended;       /* the command */
    bool empty;                /* there is no descendant */
    bool asked;                /* the command wants the terminal */
    bool front_stops;          /* it was told to, and has not said that it goes on */
    bool lost;                 /* the lock: it is not to be kept, nor given back */
    int forwarded;             /* the last signal that the front passed on */
    ino_t socket;              /* the one that the front has a copy of */
    uint64_t lease, sure;      /* seconds: as granted, and lease_sure() */
    double margin, kill_after; /* seconds */
    /* clock_boottime_ns() */
    uint64_t granted;   /* when the lock was got */
    uint64_t lease_end; /* when what is sure ends, as far as is known */
    uint64_t term_sent;
    uint64_t kill_again;
    unsigned pause_ms; /* before that */
};

static void tell_front(struct guardian *g, enum link_kind kind, int value, int passed)
{
    if (g->link >= 0)
        link_send(g->link, kind, value, passed);
}

/* ---- The lock -------------------------------------------------------------------------------- */

static void finish(struct guardian *g, int code)
{
    g->code = code;
    g->phase = DONE;
}

/*
 * The front holds a copy of the connection: the server releases the lock when the last one is
 * closed, so it is not given away by the death of this process, before the front has seen to the
 * command.
 */
static void share_connection(struct guardian *g)
{
    struct stat now;
    int fd = dflock_fd(g->lock);

    if (fd < 0 || fstat(fd, &now) != 0 || !S_ISSOCK(now.st_mode) || now.st_ino == g->socket)
        return;
    g->socket = now.st_ino;
    tell_front(g, LINK_SOCKET, 0, fd);
}

static void start_release(struct guardian *g)
{
    /* If it was lost meanwhile: nobody is left whom that could hurt. */
    g->phase = dflock_is_held(g->lock) && dflock_start_release(g->lock) == 0 ? RELEASING : DONE;
}

/* By the lease as it was granted, or renewed: without --ttl the server's default may change. */
static void divide_lease(struct guardian *g)
{
    bool network = strncmp(dflock_server(g->lock), "unix:", 5) != 0;

    g->lease = dflock_lease(g->lock);
    g->sure = lease_sure(g->lease, network);
    g->margin = lease_margin(g->sure);
    g->kill_after = g->o->kill_after < 0 ? lease_kill_after(g->sure) : g->o->kill_after;
}

static void granted(struct guardian *g, uint64_t now)
{
    const struct command_grant grant = {.key = g->o->key,
                                        .token = dflock_token(g->lock),
                                        .fence = dflock_fence(g->lock),
                                        .lease = dflock_lease(g->lock)};
    int err;

    g->granted = now;
    divide_lease(g);
    say_event("acquired", SAY_NUMBER("fence", grant.fence), SAY_NUMBER("lease", grant.lease),
              "acquired, fence %llu, lease %llu s", (unsigned long long)grant.fence,
              (unsigned long long)grant.lease);
    if (g->kill_after > lease_kill_after_max(g->sure)) {
        g->code = EXITCODE_USAGE;
        say_error(g->code,
                  "--kill-after: %g leaves no time for renewals; at most %g with a lease of %llu s "
                  "(--ttl)",
                  g->kill_after, lease_kill_after_max(g->sure), (unsigned long long)g->lease);
        start_release(g);
        return;
    }
    share_connection(g);
    err = command_start(&g->command, g->o->command, &grant, g->signals, g->terminal);
    if (err != 0) {
        g->code = EXITCODE_INTERNAL;
        say_error(g->code, "no process for the command: %s", strerror(-err));
        start_release(g);
        return;
    }
    g->started = true;
    g->asked = g->terminal->at_once;
    g->phase = RUNNING;
    say_event("started", SAY_NUMBER("pid", g->command.pid), SAY_NONE, "started process %d",
              (int)g->command.pid);
    /* Nobody who reads or writes the other end shall wait for this process. */
    command_leave_pipes();
}

static void not_granted(struct guardian *g, int result)
{
    const char *hint = "";

    if (result == DFLOCK_TIMED_OUT) {
        say_event("not_acquired", SAY_NUMBER("exit", g->o->not_got), SAY_NONE, "not acquired%s",
                  g->o->wait > 0 ? " in time" : ", another has it");
        finish(g, g->o->not_got);
        return;
    }
    finish(g, exitcode_of(result));
    if (result == DFLOCK_ERR_AUTH)
        hint = " (--auth-token-file)";
    else if (result == DFLOCK_ERR_CONNECT)
        hint = " (is dflockd running there? -s or DFLOCK_SERVERS says where it is)";
    else if (result == DFLOCK_ERR_LIMIT_MISMATCH)
        hint = " (-N; \"dflockctl show\" says which)";
    else if (result == DFLOCK_ERR_SERVER && g->o->lease > 0)
        hint = ": it is about to stop, or --ttl is more than its --max-lease-ttl";
    else if (result == DFLOCK_ERR_SERVER)
        hint = ": it is about to stop";
    say_error(g->code, "%s%s", where_reason(), hint);
}

static void end_tree(struct guardian *g, uint64_t now)
{
    int n = tree_signal(NULL, SIGTERM);

    /* Without memory, or descriptors, to look for the others. */
    if (n < 0 && !g->ended)
        kill(-g->command.pid, SIGTERM);
    /* What is stopped hears nothing before it goes on. */
    tree_signal(NULL, SIGCONT);
    g->term_sent = now;
    g->phase = ENDING;
    say_event("terminating", SAY_NUMBER("processes", n), SAY_NONE,
              "TERM to %d process%s, KILL in %g s", n, n == 1 ? "" : "es", g->kill_after);
}

static void lost(struct guardian *g, uint64_t now, const char *why)
{
    if (g->phase == RUNNING || g->phase == RESTING) {
        g->code = EXITCODE_INTERNAL;
        say_error(g->code, "lock lost: %s", why);
    }
    g->lost = true;
    if (g->phase == RUNNING)
        end_tree(g, now);
    else if (g->phase == RESTING)
        g->phase = DONE;
}

static void drive_lock(struct guardian *g, uint64_t now)
{
    int result;

    if (g->phase == DONE)
        return;
    result = dflock_process(g->lock);
    if (g->phase == WAITING && result != DFLOCK_PENDING) {
        if (result == DFLOCK_HELD)
            granted(g, now);
        else
            not_granted(g, result);
    } else if (g->phase == RELEASING && result != DFLOCK_PENDING) {
        if (result < 0)
            say_event("release_failed", SAY_NONE, SAY_NONE, "release: %s", where_reason());
        else
            say_event("released", SAY_NONE, SAY_NONE, "released");
        g->phase = DONE;
    } else if (result < 0) {
        lost(g, now, where_reason());
    }
    if (g->phase != DONE && dflock_is_held(g->lock)) {
        double left = dflock_lease_left(g->lock);
        uint64_t end;

        if (dflock_lease(g->lock) != g->lease) {
            divide_lease(g);
            if (g->kill_after > lease_kill_after_max(g->sure))
                g->kill_after = lease_kill_after_max(g->sure);
        }
        end = lease_minus(lease_plus(clock_boottime_ns(), left), (double)(g->lease - g->sure));

        /* It was renewed, perhaps on another connection. A change that is smaller is the fraction
           that got lost. */
        if (end > lease_plus(g->lease_end, 0.001) && g->phase != RELEASING)
            share_connection(g);
        g->lease_end = end;
    }
}

/* ---- The processes --------------------------------------------------------------------------- */

static void stop_front(struct guardian *g, int signum)
{
    g->front_stops = true;
    tell_front(g, LINK_STOPPED, signum, -1);
}

static void command_stopped(struct guardian *g, int signum)
{
    if (g->phase != RUNNING)
        return;
    /* It asked for the terminal, and our job has it: nobody needs to hear of this. */
    if ((signum == SIGTTIN || signum == SIGTTOU) && terminal_is_ours(g->terminal)) {
        g->asked = true;
        terminal_give(g->terminal, g->command.pid);
        kill(-g->command.pid, SIGCONT);
        return;
    }
    if (signum == SIGTTIN || signum == SIGTTOU)
        g->asked = true;
    say_event("stopped", SAY_NUMBER("signal", signum), SAY_NONE, "the command was stopped by %s",
              signals_name(signum));
    stop_front(g, signum);
}

static void command_ended(struct guardian *g, int status)
{
    int err = command_failure(&g->command);
    bool had_terminal = terminal_take(g->terminal, g->command.pid);
    int signum = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    int code = signum != 0 ? EXITCODE_SIGNAL + signum : WEXITSTATUS(status);

    g->ended = true;
    if (err != 0) {
        code = err == -ENOENT ? EXITCODE_NOT_FOUND : EXITCODE_CANNOT_RUN;
        say_error(code, "cannot run '%s': %s", g->o->command[0], strerror(-err));
    } else if (signum != 0) {
        say_event("ended", SAY_NUMBER("signal", signum), SAY_NONE, "the command was ended by %s",
                  signals_name(signum));
    } else {
        say_event("ended", SAY_NUMBER("exit", code), SAY_NONE, "the command ended with %d", code);
    }
    if (g->phase != RUNNING)
        return;
    g->code = code;
    /* Typed at the terminal, it was meant for the whole job, of which the command was no part. */
    if (had_terminal && (signum == SIGINT || signum == SIGQUIT) && g->forwarded != signum)
        tell_front(g, LINK_TERMINAL, signum, -1);
}

static bool reap(void *arg)
{
    struct guardian *g = arg;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
        if (pid != g->command.pid || g->ended)
            continue;
        if (WIFSTOPPED(status)) {
            command_stopped(g, WSTOPSIG(status));
        } else if (WIFCONTINUED(status)) {
            /* By somebody else: the front was stopped on its behalf. */
            if (g->link >= 0 && g->front_stops)
                kill(getppid(), SIGCONT);
        } else {
            command_ended(g, status);
            if (g->phase == RUNNING && waitpid(-1, NULL, WNOHANG) == 0)
                say_event("waiting_for_rest", SAY_NONE, SAY_NONE,
                          "the command has left processes behind: waiting for them");
        }
    }
    g->empty = g->started && pid < 0 && errno == ECHILD;
    return g->empty;
}

/* To the command's group while there is one, else to all that it left behind. */
static void forward(struct guardian *g, int signum)
{
    g->forwarded = signum;
    if (g->ended)
        tree_signal(NULL, signum);
    else if (kill(-g->command.pid, signum) != 0)
        kill(g->command.pid, signum); /* it has gone to another group */
}

static void front_says(struct guardian *g, const struct link_message *m)
{
    if (m->kind == LINK_CONTINUE) {
        g->front_stops = false;
        if (g->ended)
            tree_signal(NULL, SIGCONT);
        if (!g->started || g->ended)
            return;
        if (g->asked)
            terminal_give(g->terminal, g->command.pid);
        kill(-g->command.pid, SIGCONT);
        return;
    }
    if (g->phase == WAITING && signals_end_wait(m->value)) {
        say_event("interrupted", SAY_NUMBER("signal", m->value), SAY_NONE,
                  "not acquired: ended by %s", signals_name(m->value));
        finish(g, EXITCODE_SIGNAL + m->value);
    } else if (g->phase == RESTING && signals_end_wait(m->value)) {
        /* The promise is about the lock, not about dflock. */
        say_event("detached", SAY_NONE, SAY_NONE, "the lock is kept till the end of --min-hold");
        tell_front(g, LINK_DETACHED, g->code, -1);
        close(g->link);
        g->link = -1;
        say_no_more();
    } else if (g->phase == RUNNING || g->phase == ENDING) {
        forward(g, m->value);
    }
    /* There is no command that could stop, or not, and show the way. */
    if (m->value == SIGTSTP && (!g->started || g->ended))
        stop_front(g, m->value);
}

static void front_died(struct guardian *g, uint64_t now)
{
    close(g->link);
    g->link = -1;
    if (g->phase == WAITING) {
        finish(g, EXITCODE_INTERNAL);
    } else if (g->phase == RUNNING) {
        g->code = EXITCODE_INTERNAL;
        say_error(g->code, "dflock was killed: ending the command");
        end_tree(g, now);
    }
}

static void hear_front(struct guardian *g, uint64_t now)
{
    struct link_message m;
    int rc = 0, passed;

    while (g->link >= 0 && (rc = link_receive(g->link, &m, &passed)) > 0)
        front_says(g, &m);
    if (rc < 0 && g->link >= 0)
        front_died(g, now);
}

/* Signals to the guardian itself: the front has heard of those that are meant for dflock. */
static void hear_signals(struct guardian *g)
{
    struct signalfd_siginfo info;

    while (signals_next(g->signals, &info))
        if (info.ssi_signo != SIGCHLD && g->link < 0 && g->started)
            forward(g, (int)info.ssi_signo);
    reap(g);
}

/* ---- The loop -------------------------------------------------------------------------------- */

static void rest(struct guardian *g, uint64_t now)
{
    uint64_t until = lease_plus(g->granted, g->o->min_hold);

    if (g->phase != RESTING && now < until)
        say_event("resting", SAY_NONE, SAY_NONE, "keeping the lock for another %.1f s",
                  (double)(until - now) / (double)NS_PER_SEC);
    g->phase = RESTING;
    if (now >= until)
        start_release(g);
}

static void kill_tree(struct guardian *g, uint64_t now)
{
    if (!g->ended)
        kill(-g->command.pid, SIGKILL); /* needs neither memory nor descriptors */
    tree_kill(NULL, reap, g);
    g->pause_ms = g->pause_ms == 0 ? KILL_AGAIN_MS : 2 * g->pause_ms;
    if (g->pause_ms > KILL_RARELY_MS)
        g->pause_ms = KILL_RARELY_MS;
    g->kill_again = now + g->pause_ms * NS_PER_MS;
}

/* What follows from what is known by now. */
static void judge(struct guardian *g, uint64_t now)
{
    uint64_t kill_at;

    if (g->phase == RUNNING && g->empty)
        rest(g, now);
    if (g->phase == RUNNING && now >= lease_minus(g->lease_end, g->margin + g->kill_after))
        lost(g, now, "its lease could not be renewed and is about to end");
    if (g->phase == ENDING) {
        kill_at = lease_plus(g->term_sent, g->kill_after);
        if (kill_at > lease_minus(g->lease_end, g->margin))
            kill_at = lease_minus(g->lease_end, g->margin);
        if (!g->empty && now >= kill_at) {
            say_event("killing", SAY_NONE, SAY_NONE, "KILL to what is left");
            g->phase = KILLING;
        }
    }
    if (g->phase == KILLING && !g->empty && now >= g->kill_again)
        kill_tree(g, now);
    if ((g->phase == ENDING || g->phase == KILLING) && g->empty) {
        if (g->lost)
            start_release(g);
        else
            rest(g, now);
    }
    if (g->phase == RESTING)
        rest(g, now);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static int timeout_ms(const struct guardian *g)
{
    uint64_t now = clock_boottime_ns(), at = UINT64_MAX, ms;
    int lock = dflock_timeout_ms(g->lock);

    if (g->phase == RUNNING)
        at = lease_minus(g->lease_end, g->margin + g->kill_after);
    else if (g->phase == ENDING)
        at = earlier(lease_plus(g->term_sent, g->kill_after), lease_minus(g->lease_end, g->margin));
    else if (g->phase == KILLING)
        at = g->kill_again;
    else if (g->phase == RESTING)
        at = lease_plus(g->granted, g->o->min_hold);
    ms = at <= now ? 0 : (at - now - 1) / NS_PER_MS + 1;
    if (lock >= 0)
        ms = earlier(ms, (uint64_t)lock);
    return at == UINT64_MAX && lock < 0 ? -1 : ms > INT_MAX ? INT_MAX : (int)ms;
}

static void loop(struct guardian *g)
{
    while (g->phase != DONE) {
        struct pollfd fds[] = {
            {.fd = dflock_fd(g->lock), .events = (short)dflock_events(g->lock)},
            {.fd = g->link, .events = POLLIN},
            {.fd = g->signals->fd, .events = POLLIN},
        };
        uint64_t now;

        poll(fds, sizeof(fds) / sizeof(fds[0]), timeout_ms(g));
        now = clock_boottime_ns();
        drive_lock(g, now);
        hear_signals(g);
        hear_front(g, now);
        judge(g, now);
    }
}

int guardian_run(const struct options *o, const struct signals *s, const struct terminal *t,
                 int link)
{
    struct guardian g = {.o = o, .signals = s, .terminal = t, .link = link, .phase = WAITING};
    int err;

    setpgid(0, 0); /* what is typed at the terminal, or sent to the job, is not for this process */
    prctl(PR_SET_NAME, "dflock-guardian");
    if ((err = tree_adopt()) != 0) {
        say_error(EXITCODE_INTERNAL, "the command's processes could not be seen: %s",
                  strerror(-err));
        return EXITCODE_INTERNAL;
    }
    g.lock = o->limit > 0 ? dflock_semaphore_new(o->key, o->limit, o->how)
                          : dflock_lock_new(o->key, o->how);
    if (g.lock == NULL) {
        say_error(EXITCODE_USAGE, "%s", where_reason());
        return EXITCODE_USAGE;
    }
    say_event("waiting", SAY_NONE, SAY_NONE, "asking %s", dflock_server(g.lock));
    if ((err = dflock_start_acquire(g.lock)) != 0)
        not_granted(&g, err);
    tell_front(&g, LINK_READY, 0, -1);
    loop(&g);
    dflock_free(g.lock);
    return g.code;
}
