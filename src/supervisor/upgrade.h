/*
 * supervisor/upgrade.h - SIGUSR2: the master becomes another program, with the same pid and all that
 * the server has.
 *
 *   CHECKING   the new program looks at the region: can it take it as it is?
 *     as it is    exec; the workers serve on meanwhile, then are replaced one after another
 *     by a dump   QUIESCING: the workers leave; DUMPING: a child writes the region's content;
 *                 TRYING: the new program reads it for a trial; exec
 *     neither     refused, nothing has happened
 * Until the exec has succeeded everything can be undone: the region and all sockets are still here.
 */
#ifndef SUPERVISOR_UPGRADE_H
#define SUPERVISOR_UPGRADE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct master;

enum upgrade_state { UPGRADE_NONE, UPGRADE_CHECKING, UPGRADE_QUIESCING, UPGRADE_DUMPING,
                     UPGRADE_TRYING, UPGRADE_READY };

struct upgrade {
    enum upgrade_state state;
    pid_t helper; /* the program that checks, or the child that dumps; 0 = none */
    uint64_t deadline;
    int dump_fd; /* -1 = none */
};

/* How this program was started, for the next one. The copies are wiped in children. */
struct relaunch {
    char path[4096];
    char **argv;
    char **envp;
};

/* Before secrets are wiped from both. 0 or a negative error. */
int relaunch_note(struct relaunch *l, char *const *argv, char *const *envp);

void upgrade_begin(struct master *m);
void upgrade_cancel(struct master *m); /* the server is to end; not in STAGE_QUIET */
void upgrade_turn(struct master *m); /* each turn */
/* SIGUSR1, when all workers have left: what the region holds is kept for the next start. */
void upgrade_save(struct master *m);
/* A child has ended that is no worker; false: not this one's. */
bool upgrade_reaped(struct master *m, pid_t pid, int code, int status);

#endif
