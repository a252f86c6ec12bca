/*
 * cli/signals.h - signals as they were when dflock was started, which the command gets back, and as
 * dflock wants them: those that it takes are blocked and come by a signalfd.
 *
 * One that was ignored when dflock was started (nohup(1), a shell's background job) stays so and is
 * not forwarded.
 */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>

struct signals {
    sigset_t mask;         /* inherited */
    struct sigaction chld; /* inherited */
    struct sigaction pipe; /* inherited */
    int fd;                /* signalfd of whatever process reads it, after a fork too;
                              close-on-exec, never blocks */
};

/* In the front, before anything is started. 0 or -errno. */
int signals_take(struct signals *s);

/* Puts mask and dispositions back, in the process that will be the command. */
void signals_restore(const struct signals *s);

/* true and the next one; false: none is there. */
bool signals_next(const struct signals *s, struct signalfd_siginfo *info);

/* Whether it ends a dflock that still waits for the lock: its default action would. */
bool signals_end_wait(int signum);

/* "TERM"; "signal 40" has no name. Valid until the next call. */
const char *signals_name(int signum);

#endif
