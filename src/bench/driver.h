/*
 * bench/driver.h - a thread's part of the load: its workers, their connections, one epoll loop.
 *
 * A worker has one operation under way, or --pipeline of them, each in a slot with a key of its
 * own. An operation is an acquire and its release; op.c carries it out, driver.c says when it
 * begins: as soon as the slot is free (closed loop), or at the times that --rate gives (open loop).
 * Those are fixed beforehand; an operation that finds no slot free begins late, and its latency
 * counts from when it should have begun. So a server that stalls is not asked less, which would
 * hide the stall.
 *
 * Stages: dial, warm up, measure. Each is a call that returns when the driver is done with it or
 * when somebody has said stop, so nobody ever waits for a driver that has failed.
 */
#ifndef BENCH_DRIVER_H
#define BENCH_DRIVER_H

#include "bench/check.h"
#include "bench/histogram.h"
#include "bench/link.h"
#include "bench/options.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { FAILURE_TEXT = 1024, STOP_FAILED = -1 };

struct worker {
    uint32_t id, server;
    struct link *links;
    uint32_t turn; /* counts operations, for the links */
    uint64_t left; /* rounds of this stage */
};

enum slot_state {
    SLOT_IDLE,
    SLOT_ACQUIRING, /* l */
    SLOT_QUEUEING,  /* e; w is sent, too */
    SLOT_WAITING,   /* w; e was answered */
    SLOT_RELEASING, /* r */
};

/* An operation under way. */
struct slot {
    struct worker *worker;
    struct link *link;
    struct check_key *key; /* its own, or that of all */
    struct check_key own;
    enum slot_state state;
    bool granted;
    uint64_t begun; /* or when it should have */
    uint64_t asked; /* when its last request was handed to the link */
    uint64_t nth;
    struct check_wish wish;
    struct slot *next_idle; /* in an open loop */
    struct slot *next_releasing;
};

struct driver {
    const struct settings *s;
    struct check *check; /* NULL: none */
    struct check own_check;
    atomic_int *stop; /* 0, STOP_FAILED or a signal's number */
    char acquire_arg[48], enqueue_arg[24], wait_arg[24];

    uint32_t workers_n, slots_n, links_n;
    struct worker *workers;
    struct slot *slots;
    struct link *links;
    uint64_t *highest; /* fence received, of each server */

    int epfd, timerfd;
    uint64_t now, next_tick, next_look, timer_at;
    struct link *unsent;
    struct slot *releasing;     /* their releases are among what is unsent */
    uint32_t dialled, dialling; /* links: begun at all, not answered yet */
    uint32_t busy;              /* slots */

    /* The stage. */
    bool measuring, open;
    uint64_t began, ended;
    double period;            /* open loop: ns from one operation to the next */
    uint64_t due_n, due_most; /* begun; all of them */
    struct slot *idle, **idle_end;

    struct histogram *latency; /* of what was measured */
    uint64_t requests;
    atomic_uint_least64_t done; /* operations of the stage; others read it */

    void (*tell)(void *arg); /* called now and then, or NULL */
    void *tell_arg;

    int failed; /* exit code; 0: not */
    char failure[FAILURE_TEXT];
};

/* Each returns 0 or the exit code of d->failure. When it is not 0 all others are told to stop. */
int driver_dial(struct driver *d);
int driver_warm_up(struct driver *d);
int driver_measure(struct driver *d);

/* Called by op.c. */
int driver_fail(struct driver *d, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int driver_ask(struct driver *d, struct slot *slot, const char *command, const char *arg);
int driver_release(struct driver *d, struct slot *slot);
void driver_done(struct driver *d, struct slot *slot);

#endif
