/*
 * cli/lease.c - see lease.h.
 */
#include "cli/lease.h"

enum { TAKEN_FOR_DEAD = 30 };

uint64_t lease_sure(uint64_t lease, bool network)
{
    return network && lease > TAKEN_FOR_DEAD ? TAKEN_FOR_DEAD : lease;
}

static double at_most_5(double seconds)
{
    return seconds > 5 ? 5 : seconds;
}

double lease_margin(uint64_t lease)
{
    return at_most_5((double)lease / 10);
}

double lease_kill_after_max(uint64_t lease)
{
    return (double)lease / 3;
}

double lease_kill_after(uint64_t lease)
{
    return at_most_5(lease_kill_after_max(lease));
}
