/*
 * cli/lease.h - how a lease is divided: renewals at first, then TERM, then KILL, and a margin that
 * must be enough for processes to die and for a machine that is busy.
 *
 *     sent     renewed here, tried again if that fails      TERM          KILL    end
 *     |------------------------------------------------------|-------------|------|
 *                                                              kill_after   margin
 *
 * All by this machine's clock, from when the lease was asked for: the server's lease does not end
 * before. Pure.
 */
#ifndef CLI_LEASE_H
#define CLI_LEASE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How long after a request was sent the server surely keeps the lock: for its lease; but over a
 * network for 30 s at most, because then it takes a client for dead that nothing is heard of (its
 * keepalive: 15 s and three probes of 5 s), and releases its locks. The other functions are about
 * this time, too.
 */
uint64_t lease_sure(uint64_t lease, bool network);

/* Seconds: a sixth of the lease, but not more than 5. */
double lease_margin(uint64_t lease);

/* When it is renewed: at a fifth, so that there is time to try again before TERM, which comes at
 * half of it at the earliest. */
#define LEASE_RENEW_RATIO 0.2
#define LEASE_RENEW_JITTER 0.1

/* The most that --kill-after may be: a quarter. */
double lease_kill_after_max(uint64_t lease);

/* What --kill-after is when it is not given: as much as the margin. */
double lease_kill_after(uint64_t lease);

/* So many seconds after or before a moment (clock_boottime_ns()); never, and the beginning, at
 * most. */
uint64_t lease_plus(uint64_t ns, double seconds);
uint64_t lease_minus(uint64_t ns, double seconds);

#endif
