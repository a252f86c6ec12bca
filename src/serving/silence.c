/*
 * serving/silence.c - see silence.h. Runs in lock workers and in the HTTP worker.
 */
#include "serving/silence.h"

#include "shm/bell.h"

/* Unless it is marked already, from then on. */
static bool mark(struct region *r, uint32_t worker, uint64_t since)
{
    uint64_t up = 0;

    return __atomic_compare_exchange_n(&r->down_since[worker], &up, since, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

uint64_t silence_beat(struct shared *sh, uint64_t now)
{
    uint64_t last = sh->slot->beat;
    uint64_t gap = now > last ? now - last : 0;

    /* Before the beat, which would say that all is well, and until leases are extended or renews are
       served: others wake up as well when all processes were stopped. */
    if (gap > SILENCE_MARK_NS)
        mark(sh->r, sh->worker, last);
    __atomic_store_n(&sh->slot->beat, now, __ATOMIC_RELEASE);
    return gap > SILENCE_HANG_NS ? gap : 0;
}

uint64_t silence_served(struct shared *sh, uint64_t began, bool marked)
{
    uint64_t last = sh->slot->beat;
    uint64_t gap = began > last ? began - last : 0;

    if (gap > SILENCE_HANG_NS)
        mark(sh->r, sh->worker, last);
    __atomic_store_n(&sh->slot->beat, began, __ATOMIC_RELEASE);
    if (gap > SILENCE_HANG_NS)
        return gap;
    /* A mark that was set meanwhile stays until the next time. */
    if (marked)
        silence_over(sh);
    return 0;
}

bool silence_marked(const struct shared *sh)
{
    return __atomic_load_n(&sh->r->down_since[sh->worker], __ATOMIC_SEQ_CST) != 0;
}

void silence_over(struct shared *sh)
{
    __atomic_store_n(&sh->r->down_since[sh->worker], 0, __ATOMIC_RELEASE);
}

static void notice(struct shared *sh, uint32_t worker, uint64_t now)
{
    /* Pairs with the release in silence_beat(): who sees the beat sees the mark before it. */
    uint64_t beat = __atomic_load_n(&region_worker(sh->r, worker)->beat, __ATOMIC_ACQUIRE);

    /* 0: nobody is there any more. */
    if (beat != 0 && now > beat && now - beat > SILENCE_MARK_NS && mark(sh->r, worker, beat))
        sh->silent |= UINT64_C(1) << worker;
}

void silence_notice(struct shared *sh, uint64_t now)
{
    uint32_t n = __atomic_load_n(&sh->r->nslots, __ATOMIC_RELAXED);

    for (uint32_t i = 0; i < n; i++)
        notice(sh, i, now);
    if (n <= HTTP_WORKER)
        notice(sh, HTTP_WORKER, now);
}

void silence_ring(struct shared *sh)
{
    for (; sh->silent; sh->silent &= sh->silent - 1)
        bell_ring(sh->r, (uint32_t)__builtin_ctzll(sh->silent));
}
