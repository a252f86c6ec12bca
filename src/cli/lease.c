/*
 * cli/lease.c - see lease.h.
 */
#include "cli/lease.h"

#include "base/clock.h"
#include "base/num.h"

enum { TAKEN_FOR_DEAD = 30 };

uint64_t lease_sure(uint64_t lease, bool network)
{
    return network && lease > TAKEN_FOR_DEAD ? TAKEN_FOR_DEAD : lease;
}

double lease_margin(uint64_t lease)
{
    return lease > 30 ? 5 : (double)lease / 6;
}

double lease_kill_after_max(uint64_t lease)
{
    return (double)lease / 4;
}

double lease_kill_after(uint64_t lease)
{
    return lease_margin(lease);
}

static uint64_t ns_of(double seconds)
{
    return seconds >= (double)SECONDS_MAX ? seconds_to_ns(SECONDS_MAX)
                                          : (uint64_t)(seconds * (double)NS_PER_SEC);
}

uint64_t lease_plus(uint64_t ns, double seconds)
{
    uint64_t sum;

    return __builtin_add_overflow(ns, ns_of(seconds), &sum) ? UINT64_MAX : sum;
}

uint64_t lease_minus(uint64_t ns, double seconds)
{
    return ns > ns_of(seconds) ? ns - ns_of(seconds) : 0;
}
