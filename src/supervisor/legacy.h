/*
 * supervisor/legacy.h - what a master finds of the one before it: the region, the workers that
 * still serve, the sockets of their connections. Filled by adopt.c (that master died) or upgrade.c
 * (it became this one by exec); used up by master_run().
 */
#ifndef SUPERVISOR_LEGACY_H
#define SUPERVISOR_LEGACY_H

#include "net/listen.h"
#include "shm/heritage.h"

#include <stdbool.h>
#include <sys/types.h>

struct legacy_worker {
    bool alive;
    pid_t pid;
    int pidfd;   /* 0: a child of ours */
    int channel;
    int rendezvous; /* 0 = none, as of the documents */
    int docs[HERITAGE_DOCS];
    uint32_t generation;
};

struct legacy {
    struct region *region; /* NULL: nothing was found */
    int region_fd;
    struct legacy_worker worker[WORKER_MAX];
    int *conn_fd; /* by connection slot; 0 = none */
    unsigned nlisteners; /* of HTTP, from the worker that serves it */
    int listener[LISTEN_MAX];
    uint64_t silent; /* a bit for each worker that may be there and has not said who it is */
    bool served;  /* workers have answered, or at least have not let go of their rendezvous */
    bool orderly; /* the one before ended on purpose and said so */
    bool upgraded; /* its program is another one: the workers are to be replaced */
    char error[512]; /* why the last call failed, for a person */
};

#endif
