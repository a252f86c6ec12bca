/*
 * core/promise.h - what may be promised: fences below a limit, leases up to a horizon, nothing
 * before a time. The three words belong to whoever keeps them on disk; here they are only obeyed.
 */
#ifndef CORE_PROMISE_H
#define CORE_PROMISE_H

#include "core/table.h"

/* False until the leases that an earlier server gave have ended: all slots count as taken. */
bool promise_begun(const struct tx *tx);

/* Whether a lease of this length may begin now. Notes in tx->promised how far it would reach. */
bool promise_lease(struct tx *tx, uint64_t lease);

bool promise_fences_left(const struct tx *tx);
/* The next fence; false when none is left. */
bool promise_fence(struct tx *tx, uint64_t *out);

/* Where a slot stayed free beside a waiter because of this: when to look again. */
uint64_t promise_look(const struct tx *tx);

#endif
