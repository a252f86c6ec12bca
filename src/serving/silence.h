/*
 * serving/silence.h - processes that serve clients show that they do.
 *
 * A lease ends only when the process that serves its connection has answered since: a renew may lie
 * unread in a socket. One that has not begun a turn for SILENCE_MARK_NS is marked in
 * region->down_since, from its last beat on, and rung; the mark goes when it has served all that had
 * come. Until then, or for 3 s, no lease of its connections ends that had not ended before the mark.
 * After a silence of SILENCE_HANG_NS its leases are extended by the gap.
 */
#ifndef SERVING_SILENCE_H
#define SERVING_SILENCE_H

#include "shm/shared.h"

#define SILENCE_MARK_NS UINT64_C(10000000)
#define SILENCE_HANG_NS UINT64_C(1000000000)

/*
 * A turn of this process begins. Returns how long it has been silent when that was too long: its
 * leases are to be extended by as much; else 0.
 */
uint64_t silence_beat(struct shared *sh, uint64_t now);

/*
 * The same for a process that cannot tell when a turn begins, only when one is over: everything that
 * had come by `began` is served. `marked`: silence_marked() then. When it was silent for too long the
 * mark stays until the caller has extended the leases.
 */
uint64_t silence_served(struct shared *sh, uint64_t began, bool marked);

/* Whether it is marked, by itself or by another. */
bool silence_marked(const struct shared *sh);

/* All that had come when the turn began is served. */
void silence_over(struct shared *sh);

/* Marks who is silent, itself too when its own turn takes long; they are to be rung. */
void silence_notice(struct shared *sh, uint64_t now);

/* Last in a turn: whatever it did may have marked somebody. */
void silence_ring(struct shared *sh);

#endif
