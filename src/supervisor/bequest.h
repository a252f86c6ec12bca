/*
 * supervisor/bequest.h - what a master leaves to the program that it becomes by exec: which
 * descriptor is what. A text, one thing a line, so that another version can read it:
 *
 *     dflockd-bequest 1
 *     region FD | dump FD
 *     run-dir LOCK-FD PATH
 *     listener FD | passed FD                            (a socket of the service manager)
 *     http-listener FD | http-passed FD
 *     worker SLOT PID PIDFD CHANNEL RENDEZVOUS GENERATION DOCUMENT …
 *                          (PID 0: there is none just now; PIDFD 0: it is a child of this process)
 *     conn SLOT FD
 *     end
 *
 * A line of another kind is an error: what it means may matter.
 */
#ifndef SUPERVISOR_BEQUEST_H
#define SUPERVISOR_BEQUEST_H

#include "net/listen.h"
#include "supervisor/legacy.h"
#include "supervisor/rundir.h"

#define BEQUEST_ENV "DFLOCKD_BEQUEST" /* the descriptor of the text */

struct master;

/*
 * Writes the text into a memfd; no descriptor in it, nor the memfd, is closed by an exec any more.
 * Returns the memfd or a negative error. bequest_withdraw() undoes it when the exec has failed.
 */
int bequest_write(const struct master *m, int lock_fd, int dump_fd);
void bequest_withdraw(const struct master *m, int lock_fd, int dump_fd, int fd);

struct bequest {
    struct legacy legacy; /* all but region, which the caller maps or makes: conn_fd has `nconns` */
    uint32_t nconns;
    int region_fd, dump_fd; /* -1: none. One of the two is there */
    struct rundir run_dir;
    unsigned nlisteners;
    struct {
        int fd;
        bool passed; /* by the service manager */
        bool http;
    } listener[2 * LISTEN_MAX];
};

/* 0, or a negative error with legacy.error filled. Closes fd. */
int bequest_read(struct bequest *b, int fd);

#endif
