/*
 * cli/command.h - starting the command: in a process group of its own, with signals, descriptors
 * and directory as dflock was given them, and what it may know of the lock in its environment.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "cli/signals.h"
#include "cli/terminal.h"

#include <sys/types.h>

struct command {
    pid_t pid;
    int report; /* pipe by which a failure comes */
};

struct command_grant {
    const char *key, *token;
    uint64_t fence, lease;
};

/*
 * Forks. The process is killed when the calling one dies, whatever of. 0 or -errno. Its pid is also
 * its process group. Whether it could be executed is not waited for: a file system may hang, and
 * renewals must go on; ask command_failure() when it has ended.
 */
int command_start(struct command *c, char *const *argv, const struct command_grant *g,
                  const struct signals *s, const struct terminal *t);

/* Once, when the process has ended: 0: it was the command; -errno: why the command could not be
 * run. */
int command_failure(struct command *c);

/* Instead of stdin and stdout of this process, which would keep a pipe open that the command has
 * closed. */
void command_leave_pipes(void);

#endif
