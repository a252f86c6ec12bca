/*
 * cli/command.c - see command.h. Runs in the guardian, and in the process that becomes the command.
 */
#include "cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static int set_number(const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, value);
    return setenv(name, text, 1);
}

static int set_environment(const struct command_grant *g)
{
    return setenv("DFLOCK_KEY", g->key, 1) == 0 && setenv("DFLOCK_TOKEN", g->token, 1) == 0 &&
                   set_number("DFLOCK_FENCE", g->fence) == 0 &&
                   set_number("DFLOCK_LEASE", g->lease) == 0
               ? 0
               : -errno;
}

/* Returns only with what is wrong. */
static int become(char *const *argv, const struct command_grant *g, const struct signals *s,
                  const struct terminal *t, pid_t guardian)
{
    int err;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return -errno;
    if (getppid() != guardian)
        _exit(0); /* it died before it could be heard of; there is no lock any more */
    setpgid(0, 0);
    /* Here too, and not only in the parent: before the command can ask for it. */
    if (t->at_once)
        terminal_give(t, getpid());
    if ((err = set_environment(g)) != 0)
        return err;
    signals_restore(s);
    execvp(argv[0], argv);
    return -errno;
}

int command_start(struct command *c, char *const *argv, const struct command_grant *g,
                  const struct signals *s, const struct terminal *t)
{
    pid_t guardian = getpid();
    int report[2], err;

    if (pipe2(report, O_CLOEXEC | O_NONBLOCK) != 0)
        return -errno;
    c->pid = fork();
    if (c->pid < 0) {
        err = -errno;
        close(report[0]);
        close(report[1]);
        return err;
    }
    if (c->pid == 0) {
        err = become(argv, g, s, t, guardian);
        _exit(write(report[1], &err, sizeof(err)) == sizeof(err) ? 0 : 1);
    }
    close(report[1]);
    c->report = report[0];
    setpgid(c->pid, c->pid); /* here and there: a signal to the group must find it */
    return 0;
}

int command_failure(struct command *c)
{
    int err;

    if (read(c->report, &err, sizeof(err)) != sizeof(err))
        err = 0;
    close(c->report);
    return err;
}

void command_leave_pipes(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return;
    dup2(fd, STDIN_FILENO);
    dup2(fd, STDOUT_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}
