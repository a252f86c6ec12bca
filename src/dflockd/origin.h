/*
 * dflockd/origin.h - what a master starts from. In this order:
 *
 *   1. what the program that it was before left it by exec (an upgrade, see supervisor/upgrade.h)
 *   2. what the service manager kept for it: sockets, the region, a dump of it
 *   3. the workers that a dead master left, at their rendezvous in the run directory
 *   4. a dump that a server which was to be restarted saved in the run directory
 *   5. nothing: a new lock table
 *
 * Functions that fail have said why on stderr and return what the process is to end with, else
 * EXITCODE_OK. Before the first fork.
 */
#ifndef DFLOCKD_ORIGIN_H
#define DFLOCKD_ORIGIN_H

#include "config/settings.h"
#include "dflockd/user.h"
#include "net/listen.h"
#include "supervisor/legacy.h"
#include "supervisor/master.h"
#include "supervisor/rundir.h"

struct origin {
    struct listen_set *listeners, *http;
    struct rundir run_dir;
    struct legacy legacy;
    uint32_t nconns; /* of a bequest: slots in legacy.conn_fd */
    int region_fd, dump_fd; /* -1 = none */
    bool bequest, store;
};

/* 1 and 2. Before anything else opens descriptors. */
int origin_collect(struct origin *o, struct listen_set *listeners, struct listen_set *http);

/* Makes and locks the run directory; one that was not asked for may be missing. */
int origin_run_dir(struct origin *o, const struct settings *s, const struct identity *who);

/* Fills region, region_fd, legacy, run_dir and lock_fd of *args; lowers max_connections to what a
   region that was found has room for. */
int origin_region(struct origin *o, const struct settings *s, struct master_args *args);

/* Nothing can keep this server from starting any more: what was kept for it is given up. */
void origin_settle(struct origin *o, const struct master_args *args);

#endif
