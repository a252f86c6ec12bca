/*
 * tests/cli/lease_test.c - how dflock divides a lease: there is time for a renewal before TERM, for
 * KILL after it, and for dying after that, whatever the lease.
 */
#include "cli/lease.h"

#include "base/clock.h"
#include "base/num.h"
#include "tests/tap.h"

#include <inttypes.h>

static bool window_left(uint64_t lease)
{
    double renewed = lease < 30 ? (double)lease / 2 : (double)(lease - 15);
    double most = lease_margin(lease) + lease_kill_after_max(lease);
    double usual = lease_margin(lease) + lease_kill_after(lease);

    return lease_margin(lease) > 0 && lease_kill_after(lease) <= lease_kill_after_max(lease) &&
           usual <= most && most < renewed;
}

int main(void)
{
    static const uint64_t leases[] = {1, 2, 3, 10, 29, 30, 31, 33, 3600, SECONDS_MAX};
    uint64_t hour = UINT64_C(3600) * NS_PER_SEC;

    for (unsigned i = 0; i < sizeof(leases) / sizeof(leases[0]); i++) {
        uint64_t sure = lease_sure(leases[i], true);

        ok(window_left(sure), "a lease of %" PRIu64 " s over a network has a part for each", leases[i]);
        ok(sure <= 30 && sure <= leases[i], "no more of it is sure than the server waits for a sign");
        is_u64(lease_sure(leases[i], false), leases[i], "over a Unix socket all of it is");
    }
    ok(lease_margin(6) == 1 && lease_margin(3600) == 5, "the margin is a sixth, up to 5 s");
    is_u64(lease_plus(hour, 0.5), hour + NS_PER_SEC / 2, "half a second later");
    is_u64(lease_minus(hour, 1.5), hour - 3 * NS_PER_SEC / 2, "one and a half earlier");
    is_u64(lease_minus(NS_PER_SEC, 2), 0, "not before the beginning");
    is_u64(lease_plus(UINT64_MAX - 5, 1), UINT64_MAX, "never is not passed");
    ok(lease_plus(hour, (double)SECONDS_MAX) > hour, "the longest wait does not wrap");
    return done_testing();
}
