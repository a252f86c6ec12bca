/*
 * supervisor/rundir.h - the run directory: where the next master finds what this one leaves. One
 * master a directory, by a lock that ends with the process.
 */
#ifndef SUPERVISOR_RUNDIR_H
#define SUPERVISOR_RUNDIR_H

#include "net/rendezvous.h"

#include <stdbool.h>
#include <sys/types.h>

#define RUNDIR_DEFAULT "/run/dflockd"
#define RUNDIR_SAVED "/saved" /* in it: the dump that a restart leaves without a service manager */

struct rundir {
    char path[RENDEZVOUS_DIR_MAX]; /* "": none */
    int lock_fd;
    char error[256]; /* why there is none, for a person */
};

/*
 * Makes the directory unless it is there (its parent must be), gives it to the user, locks it.
 * 0 or a negative error with d->error filled: -EBUSY when another master has it, -ENAMETOOLONG,
 * -EACCES when it is not a directory of this user's, or what a call said.
 */
int rundir_open(struct rundir *d, const char *path, uid_t uid, gid_t gid);

#endif
