/*
 * cli/main.c - dflock: runs a command while it holds a lock, so that the command and whatever it
 * starts are dead before the lock can be another's.
 *
 * front: what the caller started. Passes signals on, stops and goes on with the command, exits as it
 * did. Has a copy of the connection that holds the lock, and uses it for nothing.
 *
 * guardian: a child of it in a process group of its own, out of reach of the terminal. Has the
 * connection, renews the lease, starts the command, is the subreaper of all that descends from it.
 *
 * command: in a process group of its own, which is given the terminal.
 *
 * Who dies, and what follows:
 *
 * The front: the guardian sees the end of their socket pair: TERM, then KILL to the command and all
 * its descendants; the lease is renewed until the last of them is dead.
 *
 * The guardian: the kernel kills the command (PDEATHSIG). Its other descendants become the front's,
 * which is a subreaper too and kills them. The server releases a lock when its connection ends, and
 * that is still open: in the front.
 *
 * Both: the command is killed by the kernel; what it has started lives on without the lock.
 *
 * The server: the lease is not renewed any more. TERM and KILL fall before its end by this machine's
 * clock, counted from when it was asked for, which is before its end at the server.
 *
 * A front that is stopped changes nothing as long as the guardian lives. A guardian that is stopped is
 * made to go on by the front, unless that is stopped, too. docs/internals/dflock.md says more.
 */
#include "cli/command.h"
#include "cli/exitcode.h"
#include "cli/front.h"
#include "cli/guardian.h"
#include "cli/link.h"
#include "cli/options.h"
#include "cli/say.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "cli/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Descriptors 0 to 2 must be something, or a connection would become one of them. The command gets
   none that was not open. */
static void open_standard(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

static int fail(const char *what, int err)
{
    say_error(EXITCODE_INTERNAL, "%s: %s", what, strerror(-err));
    return EXITCODE_INTERNAL;
}

static int run(struct options *o)
{
    struct tree_spared spared = {0};
    struct terminal terminal;
    struct signals signals;
    int link[2], err, code;
    pid_t guardian;

    say_init(o->key, o->verbose, o->json);
    terminal_open(&terminal);
    if ((err = tree_spare(&spared)) != 0 || (err = tree_adopt()) != 0)
        return fail("/proc is needed to see the command's processes", err);
    if ((err = signals_take(&signals)) != 0)
        return fail("signals", err);
    if ((err = link_pair(link)) != 0)
        return fail("a socket pair", err);
    guardian = fork();
    if (guardian < 0)
        return fail("no process for the guardian", -errno);
    if (guardian == 0) {
        close(link[0]);
        return guardian_run(o, &signals, &terminal, link[1]);
    }
    close(link[1]);
    options_free(o); /* a secret may be in it */
    command_leave_pipes();
    code = front_run(guardian, &signals, &terminal, &spared, link[0]);
    free(spared.pid);
    return code;
}

int main(int argc, char **argv)
{
    struct options options;
    int code;

    open_standard();
    code = options_read(&options, argc, argv);
    if (code != -1)
        return code;
    code = run(&options);
    options_free(&options);
    return code;
}
