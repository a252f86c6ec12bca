/*
 * cli/signals.c - see signals.h.
 */
#include "cli/signals.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const int forwarded[] = {SIGTERM, SIGINT,   SIGHUP,  SIGQUIT, SIGUSR1,
                                SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT};

enum { FORWARDED = sizeof(forwarded) / sizeof(forwarded[0]) };

/* What the signalfd tells of. */
static void taken(sigset_t *set)
{
    struct sigaction now;

    sigemptyset(set);
    sigaddset(set, SIGCHLD);
    for (unsigned i = 0; i < FORWARDED; i++)
        if (sigaction(forwarded[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
            sigaddset(set, forwarded[i]);
}

int signals_take(struct signals *s)
{
    struct sigaction plain = {.sa_handler = SIG_DFL}, ignore = {.sa_handler = SIG_IGN};
    sigset_t set;

    /* An ignored SIGCHLD would leave nothing to wait for. A reader of our messages that has gone is
       no reason to die with the lock. */
    sigaction(SIGCHLD, &plain, &s->chld);
    sigaction(SIGPIPE, &ignore, &s->pipe);
    taken(&set);
    if ((s->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        return -errno;
    /* terminal.h; nobody is told of it. */
    sigaddset(&set, SIGTTOU);
    return sigprocmask(SIG_BLOCK, &set, &s->mask) != 0 ? -errno : 0;
}

void signals_restore(const struct signals *s)
{
    sigaction(SIGCHLD, &s->chld, NULL);
    sigaction(SIGPIPE, &s->pipe, NULL);
    sigprocmask(SIG_SETMASK, &s->mask, NULL);
}

bool signals_next(const struct signals *s, struct signalfd_siginfo *info)
{
    return read(s->fd, info, sizeof(*info)) == sizeof(*info);
}

bool signals_end_wait(int signum)
{
    return signum != SIGWINCH && signum != SIGTSTP && signum != SIGCONT;
}

const char *signals_name(int signum)
{
    static char unnamed[32];
    const char *name = sigabbrev_np(signum);

    if (name != NULL)
        return name;
    snprintf(unnamed, sizeof(unnamed), "signal %d", signum);
    return unnamed;
}
