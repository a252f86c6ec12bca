/*
 * base/clock.h - the only reader of clocks, so that tests can move time.
 *
 * BOOTTIME is what leases, deadlines and idle times are measured by: it never steps and counts
 * suspended time. REALTIME is for people only (log lines), MONOTONIC for the service manager.
 *
 * Any process, any thread; takes no lock.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_SEC UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_US UINT64_C(1000)

uint64_t clock_boottime_ns(void);
uint64_t clock_realtime_ns(void);
uint64_t clock_monotonic_ns(void);

/*
 * For tests: what the pointers point at is added to each reading; NULL adds nothing. They may point
 * into memory shared with children, so that a parent can move the time of a running server. Set
 * before threads start and before fork().
 */
void clock_test_offset_ns(const int64_t *boottime, const int64_t *realtime);

#endif
