/*
 * core/promise.c - see promise.h. The words are atomic and shared by all shards; whoever raises one
 * has made it durable before (release there, acquire here).
 */
#include "core/promise.h"

#include "core/leases.h"

bool promise_begun(const struct tx *tx)
{
    const uint64_t *from = tx->t->grants_from;

    return !from || tx->now >= __atomic_load_n(from, __ATOMIC_ACQUIRE);
}

bool promise_lease(struct tx *tx, uint64_t lease)
{
    const uint64_t *until = tx->t->promise_until;
    uint64_t end = leases_add(tx->now, lease);

    if (end > tx->promised)
        tx->promised = end;
    return !until || end <= __atomic_load_n(until, __ATOMIC_ACQUIRE);
}

bool promise_fences_left(const struct tx *tx)
{
    return __atomic_load_n(tx->t->fence_next, __ATOMIC_RELAXED) <
           __atomic_load_n(tx->t->fence_limit, __ATOMIC_ACQUIRE);
}

bool promise_fence(struct tx *tx, uint64_t *out)
{
    uint64_t fence = __atomic_load_n(tx->t->fence_next, __ATOMIC_RELAXED);

    /* One that a transaction takes and is rolled back is skipped. */
    do {
        if (fence >= __atomic_load_n(tx->t->fence_limit, __ATOMIC_ACQUIRE))
            return false;
    } while (!__atomic_compare_exchange_n(tx->t->fence_next, &fence, fence + 1, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    *out = tx->fence = fence;
    return true;
}

uint64_t promise_look(const struct tx *tx)
{
    if (!promise_begun(tx))
        return __atomic_load_n(tx->t->grants_from, __ATOMIC_ACQUIRE);
    return leases_add(tx->now, LEASES_LOOK_NS);
}
