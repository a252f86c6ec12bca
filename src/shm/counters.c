/*
 * shm/counters.c - see counters.h.
 */
#include "shm/counters.h"

#include <string.h>

static void add(struct counters *to, const struct counters *from)
{
    uint64_t *a = (uint64_t *)to;
    const uint64_t *b = (const uint64_t *)from;

    _Static_assert(sizeof(*to) % sizeof(*a) == 0, "nothing but numbers");
    for (size_t i = 0; i < sizeof(*to) / sizeof(*a); i++)
        a[i] += __atomic_load_n(&b[i], __ATOMIC_RELAXED);
}

void counters_sum(struct region *r, struct counters *out)
{
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        if (region_worker(r, i)->generation != 0)
            add(out, &region_worker(r, i)->counters);
    add(out, &r->master);
}

uint64_t counters_grants(const struct counters *n)
{
    uint64_t grants = 0;

    for (unsigned i = 0; i < TALLY_KINDS; i++)
        grants += __atomic_load_n(&n->tally.fast[i], __ATOMIC_RELAXED) +
                  __atomic_load_n(&n->tally.queued[i], __ATOMIC_RELAXED);
    return grants;
}
