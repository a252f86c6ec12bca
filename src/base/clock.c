/*
 * base/clock.c - see clock.h.
 */
#include "base/clock.h"

#include <stdlib.h>
#include <time.h>

static const int64_t no_offset;
static const int64_t *boottime_offset = &no_offset;
static const int64_t *realtime_offset = &no_offset;

static uint64_t read_clock(clockid_t id, const int64_t *offset)
{
    struct timespec now;

    /* These clocks exist on every kernel that this runs on; without time no lease can be kept. */
    if (clock_gettime(id, &now) != 0)
        abort();
    return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec +
           (uint64_t)__atomic_load_n(offset, __ATOMIC_RELAXED);
}

uint64_t clock_boottime_ns(void)
{
    return read_clock(CLOCK_BOOTTIME, boottime_offset);
}

uint64_t clock_realtime_ns(void)
{
    return read_clock(CLOCK_REALTIME, realtime_offset);
}

uint64_t clock_monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC, &no_offset);
}

void clock_test_offset_ns(const int64_t *boottime, const int64_t *realtime)
{
    boottime_offset = boottime != NULL ? boottime : &no_offset;
    realtime_offset = realtime != NULL ? realtime : &no_offset;
}
