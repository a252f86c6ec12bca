/*
 * tests/base/clock_test.c - the clocks, and how a test moves them.
 */
#include "base/clock.h"

#include "tests/tap.h"

#include <time.h>

static void test_clock(void)
{
    int64_t boot = 0, real = 0;
    uint64_t before, after;
    struct timespec now;

    before = clock_boottime_ns();
    clock_gettime(CLOCK_BOOTTIME, &now);
    after = clock_boottime_ns();
    ok(before <= (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec &&
           after >= (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec,
       "BOOTTIME in nanoseconds");
    clock_gettime(CLOCK_REALTIME, &now);
    ok(clock_realtime_ns() / NS_PER_SEC - (uint64_t)now.tv_sec <= 5, "REALTIME in nanoseconds");

    clock_test_offset_ns(&boot, &real);
    before = clock_boottime_ns();
    boot = (int64_t)(3600 * NS_PER_SEC);
    after = clock_boottime_ns();
    ok(after - before >= 3600 * NS_PER_SEC && after - before < 3700 * NS_PER_SEC,
       "a test moves BOOTTIME");
    before = clock_realtime_ns();
    real = -(int64_t)(3600 * NS_PER_SEC);
    after = clock_realtime_ns();
    ok(before > after && before - after > 3500 * NS_PER_SEC, "and REALTIME, back too");
    clock_test_offset_ns(NULL, NULL);
    ok(clock_realtime_ns() > after + 3500 * NS_PER_SEC, "and puts them right again");
}

int main(void)
{
    test_clock();
    return done_testing();
}
