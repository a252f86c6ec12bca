/*
 * bench/op.h - one operation: an acquire and its release, as requests and replies.
 *
 * With a shared key and the check, every eighth acquire of a worker is made in two steps, enqueue
 * and wait, which are sent together: the reply to the first says that the place in the queue is
 * taken, and without such a reply nobody can know who was first.
 */
#ifndef BENCH_OP_H
#define BENCH_OP_H

#include "bench/driver.h"

/* Both return 0 or an exit code, having called driver_fail(). */
int op_begin(struct driver *d, struct slot *slot);
int op_answered(struct driver *d, struct slot *slot, const struct dflock_reply *reply);

#endif
