/*
 * cli/front.c - see front.h.
 */
#include "cli/front.h"

#include "cli/exitcode.h"
#include "cli/link.h"
#include "cli/say.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* SOCKETS: connections on which the lock has been held. A lock moves to another only when the
   server has lost the one before, so few are alive; the oldest make room. */
enum { SOCKETS = 8, KILL_AGAIN_MS = 20, KILL_RARELY_MS = 640 };

struct front {
    const struct signals *signals;
    const struct terminal *terminal;
    const struct tree_spared *spared;
    pid_t guardian;
    int link;
    bool ready;          /* the guardian hears signals */
    bool detached;       /* it stays */
    int code;            /* -1: not known yet */
    int terminal_signal; /* SIGINT or SIGQUIT, the last that was typed; 0: none */
    int socket[SOCKETS];
    unsigned sockets; /* taken so far */
};

static void keep_socket(struct front *f, int fd)
{
    int *place = &f->socket[f->sockets % SOCKETS];

    if (f->sockets++ >= SOCKETS)
        close(*place);
    *place = fd;
}

/* As if the terminal had sent it to the command: a job stops as a whole, so that the shell sees it.
   Comes back when this process goes on, or at once when nothing could stop it. */
static void stop_job(struct front *f, int signum)
{
    const struct timespec none = {0};
    sigset_t set;

    /* Nobody is there who would notice, and make it go on. */
    if (f->terminal->fd < 0)
        return;
    sigemptyset(&set);
    if (signum == SIGTSTP || signum == SIGTTIN || signum == SIGTTOU) {
        kill(0, signum);
        sigaddset(&set, signum);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        sigprocmask(SIG_BLOCK, &set, NULL);
    } else {
        kill(getpid(), SIGSTOP);
    }
    sigemptyset(&set);
    sigaddset(&set, SIGCONT);
    sigtimedwait(&set, NULL, &none);
    link_send(f->link, LINK_CONTINUE, 0, -1);
}

static void hear_guardian(struct front *f)
{
    struct link_message m;
    int passed;

    while (link_receive(f->link, &m, &passed) > 0) {
        if (passed >= 0)
            keep_socket(f, passed);
        if (m.kind == LINK_READY) {
            f->ready = true;
        } else if (m.kind == LINK_STOPPED) {
            stop_job(f, m.value);
        } else if (m.kind == LINK_TERMINAL) {
            f->terminal_signal = m.value;
            kill(0, m.value);
        } else if (m.kind == LINK_DETACHED) {
            f->code = m.value;
            f->detached = true;
        }
    }
}

static bool reap(void *unused)
{
    pid_t pid;

    (void)unused;
    do
        pid = waitpid(-1, NULL, WNOHANG);
    while (pid > 0);
    return pid < 0 && errno == ECHILD;
}

/* The guardian was killed. Its children are ours now; the lock is kept by the copy of the
   connection until they are dead, if its lease does not end before. */
static void end_children(const struct front *f)
{
    sigset_t chld;

    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    for (long ms = KILL_AGAIN_MS;; ms = ms < KILL_RARELY_MS ? 2 * ms : ms) {
        const struct timespec again = {.tv_nsec = ms * 1000000L};

        if (tree_kill(f->spared, reap, NULL) <= 0)
            break;
        sigtimedwait(&chld, NULL, &again);
    }
}

static int guardian_died(const struct front *f)
{
    end_children(f);
    say_error(EXITCODE_INTERNAL,
              "the guardian was killed: so is the command, and the lock given up");
    return EXITCODE_INTERNAL;
}

static void look_at_guardian(struct front *f)
{
    int status;

    while (f->code < 0 && waitpid(f->guardian, &status, WNOHANG | WUNTRACED) == f->guardian) {
        if (WIFSTOPPED(status))
            kill(f->guardian, SIGCONT); /* it may not rest while the lease runs */
        else if (WIFEXITED(status))
            f->code = WEXITSTATUS(status);
        else
            f->code = guardian_died(f);
    }
}

static void hear_signals(struct front *f)
{
    struct signalfd_siginfo info;

    while (f->code < 0 && signals_next(f->signals, &info)) {
        int signum = (int)info.ssi_signo;

        if (signum == SIGCHLD)
            continue;
        if (info.ssi_code == SI_KERNEL && (signum == SIGINT || signum == SIGQUIT))
            f->terminal_signal = signum;
        if (signum == SIGCONT) {
            if ((pid_t)info.ssi_pid != f->guardian)
                link_send(f->link, LINK_CONTINUE, 0, -1);
        } else if (f->ready || !signals_end_wait(signum)) {
            link_send(f->link, LINK_SIGNAL, signum, -1);
        } else {
            /* A look-up of a name can take its time. It may just be over, and what it led to run. */
            kill(f->guardian, SIGKILL);
            waitpid(f->guardian, NULL, 0);
            end_children(f);
            f->code = EXITCODE_SIGNAL + signum;
        }
    }
}

/* A shell that runs a script goes on when a command that had Ctrl-C exits, and stops when it was
   ended by it. */
static void end_by(int signum)
{
    const struct rlimit none = {0};
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigset_t set;

    setrlimit(RLIMIT_CORE, &none); /* the command's core may be of interest */
    sigaction(signum, &plain, NULL);
    sigemptyset(&set);
    sigaddset(&set, signum);
    raise(signum);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int front_run(pid_t guardian, const struct signals *s, const struct terminal *t,
              const struct tree_spared *spared, int link)
{
    struct front f = {.signals = s,
                      .terminal = t,
                      .spared = spared,
                      .guardian = guardian,
                      .link = link,
                      .code = -1};

    while (f.code < 0) {
        struct pollfd fds[] = {
            {.fd = f.link, .events = POLLIN},
            {.fd = s->fd, .events = POLLIN},
        };

        poll(fds, sizeof(fds) / sizeof(fds[0]), -1);
        hear_guardian(&f);
        hear_signals(&f);
        look_at_guardian(&f);
    }
    /* What it has said in the end. */
    if (!f.detached)
        hear_guardian(&f);
    if (f.terminal_signal != 0 && f.code == EXITCODE_SIGNAL + f.terminal_signal)
        end_by(f.terminal_signal);
    return f.code;
}
