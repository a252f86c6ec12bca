/*
 * cli/terminal.c - see terminal.h.
 */
#include "cli/terminal.h"

#include <fcntl.h>
#include <unistd.h>

void terminal_open(struct terminal *t)
{
    t->fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    t->job = getpgrp();
    t->at_once = t->fd >= 0 && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

bool terminal_is_ours(const struct terminal *t)
{
    return t->fd >= 0 && tcgetpgrp(t->fd) == t->job;
}

void terminal_give(const struct terminal *t, pid_t group)
{
    /* It fails when the terminal has hung up: then there is nothing to give. */
    if (terminal_is_ours(t))
        tcsetpgrp(t->fd, group);
}

bool terminal_take(const struct terminal *t, pid_t group)
{
    return t->fd >= 0 && tcgetpgrp(t->fd) == group && tcsetpgrp(t->fd, t->job) == 0;
}
