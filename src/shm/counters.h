/*
 * shm/counters.h - what all processes have counted: any of them can say it for all.
 */
#ifndef SHM_COUNTERS_H
#define SHM_COUNTERS_H

#include "shm/region.h"

/* The sum of all worker slots and of the master, read word by word while others count. */
void counters_sum(struct region *r, struct counters *out);

/* Grants, at once or after a wait. */
uint64_t counters_grants(const struct counters *n);

#endif
