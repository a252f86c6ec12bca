/*
 * core/tally.c - see tally.h.
 */
#include "core/tally.h"

#define MS(n) (UINT64_C(1000000) * (n))

const uint64_t tally_bound[TALLY_BOUNDS] = {
    MS(1),     MS(2),      MS(5),      MS(10),     MS(20),      MS(50),      MS(100),
    MS(200),   MS(500),    MS(1000),   MS(2000),   MS(5000),    MS(10000),   MS(30000),
    MS(60000), MS(120000), MS(300000), MS(600000), MS(1800000), MS(3600000),
};

_Static_assert((int)TALLY_BOUNDS < (int)TALLY_BUCKETS, "a bucket beyond all bounds");

/* How many bounds are below `ns`. */
static unsigned bucket_of(uint64_t ns)
{
    unsigned low = 0, high = TALLY_BOUNDS;

    if (ns <= tally_bound[0]) /* most of them, when all goes well */
        return 0;
    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (tally_bound[middle] < ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void tally_time(struct tally_histogram *h, uint64_t from, uint64_t to)
{
    /* Each process reads the clock once a batch, so one may be behind another. */
    uint64_t ns = to > from ? to - from : 0;

    tally_add(&h->bucket[bucket_of(ns)], 1);
    tally_add(&h->sum, ns);
}
