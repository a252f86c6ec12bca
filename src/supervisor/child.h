/*
 * supervisor/child.h - the life of a worker, as a table: state × event → action.
 *
 *   state      SILENT     DIED                DUE        REPLACE   STOP
 *   NONE       -          -                   start      -         -
 *   SERVING    kill       bury, then wait     -          leave     dismiss
 *   LEAVING    kill       bury, then wait     -          -         dismiss
 *   DYING      -          bury, then wait     -          -         dismiss
 *   WAITING    -          -                   start      -         forget
 *   DISMISSED  -          bury for good       -          -         kill
 * "-" is ignored. The master owns all children; they are known by slot.
 */
#ifndef SUPERVISOR_CHILD_H
#define SUPERVISOR_CHILD_H

#include "net/listen.h"
#include "shm/heritage.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum child_state { CHILD_NONE, CHILD_SERVING, CHILD_LEAVING, CHILD_DYING, CHILD_WAITING,
                   CHILD_DISMISSED, CHILD_STATES };
enum child_event { CHILD_SILENT, CHILD_DIED, CHILD_DUE, CHILD_REPLACE, CHILD_STOP, CHILD_EVENTS };
enum child_action { ACT_NONE, ACT_START, ACT_KILL, ACT_BURY, ACT_BURY_LAST, ACT_LEAVE, ACT_DISMISS,
                    ACT_FORGET };

/* Of a worker that does not beat, when it was first looked at; see watchdog.c. */
struct child_silence {
    uint64_t beat;  /* its last */
    uint64_t since; /* when; 0 = never */
    uint64_t ran;   /* ns of a processor by then */
    bool told;      /* that it is not run */
};

struct child {
    enum child_state state;
    uint32_t slot;
    pid_t pid;
    int pidfd;           /* of one that an earlier master started; 0: a child of ours */
    int channel;         /* the master's end; -1 = none */
    uint64_t started;    /* BOOTTIME ns */
    uint64_t due;        /* WAITING: when to start again */
    uint64_t asked;      /* LEAVING: since when */
    uint32_t row;        /* crashes in a row, see policy.h */
    uint32_t generation; /* lives so far */
    uint32_t told;       /* the last generation of settings that it was sent, or born with */
    int docs[HERITAGE_DOCS];
    int rendezvous; /* 0 = none */
    bool old; /* it runs the program that this one has replaced */
    bool unwatched; /* its channel or its pidfd: see master_watch() */
    struct child_silence silent;
};

/* What the table says; pure. */
enum child_action child_action(enum child_state state, enum child_event event);
const char *child_state_name(enum child_state state);

/* What a worker process runs; its return value is its exit status. */
typedef int (*child_main)(const struct heritage *);

/* What is the same for all. */
struct birth {
    struct region *region;
    int region_fd;
    const struct settings *settings;
    const struct tls_files *tls_files;
    const char *run_dir; /* "": none */
    child_main run, run_http;
    const struct listen_set *http;
};

/* What ps and top show of a worker; at most 15 bytes. */
void child_process_name(char *buf, size_t n, uint32_t worker, bool http);

/*
 * Forks a worker for the slot. The child closes all descriptors but its own: its channel, its
 * documents, the duplicates of its slot's connections (`conn_fd` by connection slot). 0 or a
 * negative error; then nothing has changed.
 */
int child_spawn(struct child *c, const struct birth *birth, const int *conn_fd);

void child_kill(const struct child *c); /* SIGKILL */

#endif
