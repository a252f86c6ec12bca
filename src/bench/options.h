/*
 * bench/options.h - what the command line of dflock-bench asks for.
 */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "where/where.h"

#include <stdbool.h>
#include <stdint.h>

/* How dflock-bench ends; 128 + signal when one ended it. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_BROKEN = 1,    /* the run came to no end: the server refused something, or went away */
    EXIT_VIOLATION = 2, /* what was seen can not come from a server that keeps its promises */
    EXIT_USAGE = 64,    /* as in sysexits.h, like the next two */
    EXIT_UNREACHABLE = 69,
    EXIT_AUTH = 77,
};

struct settings {
    uint32_t workers;
    uint32_t connections; /* of each worker, at least 1 */
    uint32_t pipeline;    /* operations that a worker has under way */
    uint32_t threads;
    uint64_t rounds, warmup; /* of each worker */
    uint64_t duration;       /* in ns, instead of rounds; 0: rounds count */
    double rate;             /* operations a second, of all workers; 0: as fast as they come */
    uint64_t timeout, lease; /* in seconds; lease 0: the server's default */
    const char *key;
    bool shared_key, check, json;
    bool http; /* instead of the line protocol */
    struct where where;
    char *addresses; /* what `where` was given of --http */
    dflock_options *dial;
};

/*
 * -1: *s is complete, go on. Otherwise the exit status: EXIT_OK after --help and --version, which
 * print, or EXIT_USAGE after a message on standard error.
 */
int options_read(struct settings *s, int argc, char **argv);

void options_free(struct settings *s);

/* "dflock-bench: " and the message, on standard error. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
