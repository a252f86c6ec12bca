/*
 * cli/options.h - the command line of dflock.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "where/where.h"

#include <stdbool.h>
#include <stdint.h>

struct options {
    const char *key;
    char *const *command; /* ends with NULL */
    double wait;          /* seconds */
    int not_got;          /* exit code */
    uint32_t limit;       /* of a semaphore; 0: a lock */
    uint64_t lease;       /* seconds; 0: the server's default */
    double min_hold;      /* seconds */
    double kill_after;    /* seconds; < 0: lease_kill_after() */
    bool verbose, json;
    dflock_options *how; /* where the servers are, lease and wait */
    char *shell[4];      /* the command of -c */
    struct where where;
};

/* -1: *o is to be acted upon, and freed by options_free(). Otherwise the program ends with this
 * exit code: help or version have been printed, or what is wrong. */
int options_read(struct options *o, int argc, char **argv);

void options_free(struct options *o);

#endif
