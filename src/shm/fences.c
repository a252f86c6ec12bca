/*
 * shm/fences.c - see fences.h. Runs in every process; takes no mutex.
 */
#include "shm/fences.h"

#include "shm/bell.h"
#include "shm/futex.h"

#include <limits.h>

/* Rounded up, so that leases that begin one after another ask once. */
static uint64_t round_up(uint64_t end)
{
    const uint64_t half = FENCES_STEP_NS / 2;

    return end > TIME_NEVER - 1 - half ? TIME_NEVER - 1 : (end / half + 1) * half;
}

static bool lift(uint64_t *word, uint64_t to)
{
    uint64_t now = __atomic_load_n(word, __ATOMIC_SEQ_CST);

    while (now < to)
        if (__atomic_compare_exchange_n(word, &now, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return true;
    return false;
}

static bool near(uint64_t end, uint64_t until)
{
    return end > until || until - end < FENCES_STEP_NS / 2;
}

static void ask(struct region *r, uint64_t promised)
{
    uint64_t until = __atomic_load_n(&r->promise_until, __ATOMIC_ACQUIRE);
    uint64_t limit = __atomic_load_n(&r->fence_limit, __ATOMIC_ACQUIRE);
    uint64_t next = __atomic_load_n(&r->fence_next, __ATOMIC_RELAXED);
    bool ring = false;

    if (near(promised, until))
        ring = lift(&r->asks.until, round_up(promised)) || promised > until;
    if (next >= limit || limit - next <= FENCES_RANGE / 2) {
        uint64_t before = __atomic_exchange_n(&r->asks.limit, limit, __ATOMIC_SEQ_CST);

        ring = ring || before != limit || next >= limit;
    }
    if (ring)
        fences_ring(r);
}

void fences_ask(struct region *r, uint64_t promised)
{
    if (__atomic_load_n(&r->fences, __ATOMIC_RELAXED) != FENCES_FREE)
        ask(r, promised);
}

bool fences_may_come(const struct region *r)
{
    return __atomic_load_n(&r->fences, __ATOMIC_ACQUIRE) == FENCES_KEPT &&
           __atomic_load_n(&r->fence_next, __ATOMIC_RELAXED) < UINT64_MAX;
}

bool fences_need(const struct region *r, uint64_t *limit, uint64_t *until)
{
    uint64_t next = __atomic_load_n(&r->fence_next, __ATOMIC_SEQ_CST);
    uint64_t asked = __atomic_load_n(&r->asks.until, __ATOMIC_SEQ_CST);
    bool need = false;

    if (*limit < UINT64_MAX && (next >= *limit || *limit - next <= FENCES_RANGE / 2)) {
        *limit = *limit > UINT64_MAX - FENCES_RANGE ? UINT64_MAX : *limit + FENCES_RANGE;
        need = true;
    }
    if (near(asked, *until) && *until < TIME_NEVER - 1) {
        *until = asked > TIME_NEVER - 1 - FENCES_STEP_NS ? TIME_NEVER - 1 : asked + FENCES_STEP_NS;
        need = true;
    }
    return need;
}

void fences_publish(struct region *r, uint64_t limit, uint64_t until)
{
    __atomic_store_n(&r->fence_limit, limit, __ATOMIC_RELEASE);
    __atomic_store_n(&r->promise_until, until, __ATOMIC_RELEASE);
}

uint32_t fences_asked(const struct region *r)
{
    return __atomic_load_n(&r->asks.bell, __ATOMIC_SEQ_CST);
}

void fences_wait(struct region *r, uint32_t asked, uint64_t timeout_ns)
{
    futex_wait(&r->asks.bell, asked, timeout_ns);
}

void fences_ring(struct region *r)
{
    __atomic_fetch_add(&r->asks.bell, 1, __ATOMIC_SEQ_CST);
    futex_wake(&r->asks.bell, INT_MAX);
}

void fences_tell(struct region *r)
{
    __atomic_fetch_add(&r->fences_turn, 1, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < __atomic_load_n(&r->nworkers, __ATOMIC_RELAXED) && i < WORKER_MAX; i++)
        bell_ring(r, i);
}

/* Raises *end to the last end of the resource's holders. */
static bool last_of(const struct table *t, const struct resource *r, uint64_t *end)
{
    uint32_t node = r->holders;

    for (uint32_t n = 0; n < r->nholders; n++) {
        if (node == 0 || node > t->geo->nchunks * CHUNK_NODES)
            return false;
        if (table_node(t, node)->end > *end)
            *end = table_node(t, node)->end;
        node = table_node(t, node)->next;
    }
    return node == 0;
}

static bool last_of_shard(const struct table *t, uint32_t shard, uint64_t *end)
{
    const struct shard *s = table_shard(t, shard);

    if (s->state != SHARD_OK || s->journal.count || s->res_bump > t->geo->res_per_shard)
        return false;
    for (uint32_t i = 1; i <= s->res_bump; i++) {
        const struct resource *r = table_resource(t, shard, i);

        if (r->state != RES_FREE && !last_of(t, r, end))
            return false;
    }
    return true;
}

bool fences_last_lease(struct region *r, uint64_t *end)
{
    struct table t = {0};

    *end = 0;
    if (__atomic_load_n(&r->suspect, __ATOMIC_SEQ_CST))
        return false;
    table_attach(&t, r, &r->geo);
    for (uint32_t i = 0; i < SHARD_COUNT; i++)
        if (!last_of_shard(&t, i, end))
            return false;
    return true;
}
