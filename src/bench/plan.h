/*
 * bench/plan.h - who does what: a driver's workers, their connections, and the keys of their slots.
 *
 * Keys are new in each run and belong to one slot, so that workers do not meet, unless all share
 * one. A worker's keys are all of one server, by the hash that all clients use: its connections go
 * there.
 */
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

#include "bench/driver.h"

/* What all drivers get their keys from. */
struct names {
    uint32_t run; /* random */
    uint64_t next;
};

/* Of the workers [first, first + n). `shared`: the key of all with its check, or NULL and NULL. 0,
 * or an exit code with the failure in *d. */
int plan_make(struct driver *d, const struct settings *s, atomic_int *stop, uint32_t first,
              uint32_t n, struct names *names, struct check_key *shared, struct check *check);
/* Closes and frees. All zeros will do. */
void plan_drop(struct driver *d);

#endif
