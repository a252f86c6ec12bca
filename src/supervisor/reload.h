/*
 * supervisor/reload.h - SIGHUP: the settings are read again, and replaced whole or not at all.
 *
 *   1. a child reads and checks everything, however long a file system takes; what is wrong it logs
 *   2. the master compares, applies its own part and sends the settings to the workers, as a sealed
 *      file in memory
 *   3. each worker applies them between two turns and says so in its slot; one that does not in
 *      time is killed: its heir is born with them
 * Runs in the master.
 */
#ifndef SUPERVISOR_RELOAD_H
#define SUPERVISOR_RELOAD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct master;
struct settings;

struct reload {
    pid_t child;  /* 0 = none */
    int fd;       /* settings on their way, from the child and then to workers; 0 = none */
    bool again;   /* asked for while one is under way */
    uint64_t due; /* then the child is killed, or the workers that have not confirmed */
    uint32_t generation; /* of the settings in use */
    bool spreading;      /* not all workers have confirmed it */
    struct settings *own; /* those in use, unless they are the first */
    char result[512];    /* of what the master did, for the log */
};

void reload_request(struct master *m); /* SIGHUP */
/* A child of the master's died: false, it is none of ours. */
bool reload_child_died(struct master *m, const siginfo_t *si);
void reload_turn(struct master *m); /* deadlines, confirmations */
void reload_stop(struct master *m); /* the server is ending: what is being read is not needed */
bool reload_busy(const struct master *m); /* it wants its turn soon */
/* A new master, before it starts workers: those that it took over get its settings. */
void reload_inherit(struct master *m);

#endif
