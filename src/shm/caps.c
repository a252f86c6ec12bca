/*
 * shm/caps.c - see caps.h. Runs in workers; takes no mutex.
 */
#include "shm/caps.h"

#include "base/point.h"

/* The shared word: free units (27 bits), worker (6 bits), sequence number (31 bits). */
#define FREE_SHIFT 37
#define WORKER_SHIFT 31
#define SEQ_MASK UINT32_C(0x7fffffff)

static uint64_t pack(uint64_t nfree, uint32_t worker, uint32_t seq)
{
    return nfree << FREE_SHIFT | (uint64_t)worker << WORKER_SHIFT | seq;
}

static uint32_t word_worker(uint64_t word)
{
    return (uint32_t)(word >> WORKER_SHIFT) & (WORKER_MAX - 1);
}

void caps_format(struct region *r)
{
    r->units = pack(r->geo.max_locks, 0, 0);
}

static uint32_t kept(const struct region *r)
{
    return __atomic_load_n(&r->units_kept, __ATOMIC_RELAXED);
}

static uint32_t units_left(const struct region *r)
{
    return (uint32_t)(__atomic_load_n(&r->units, __ATOMIC_RELAXED) >> FREE_SHIFT);
}

void caps_limit(struct region *r, uint32_t max_locks)
{
    uint32_t most = r->geo.max_locks;

    __atomic_store_n(&r->units_kept, max_locks < most ? most - max_locks : 0, __ATOMIC_SEQ_CST);
}

uint32_t caps_free(const struct region *r)
{
    uint32_t left = units_left(r);

    return left > kept(r) ? left - kept(r) : 0;
}

bool caps_exceeded(const struct region *r)
{
    return units_left(r) < kept(r);
}

static bool newer(uint32_t a, uint32_t b)
{
    uint32_t apart = (a - b) & SEQ_MASK;

    return apart != 0 && apart < SEQ_MASK / 2;
}

/* Records that the transfer named in `word` was seen. Never steps back: a slow helper may come
   long after others. */
static void record(struct region *r, uint64_t word)
{
    struct worker_slot *w = region_worker(r, word_worker(word));
    uint32_t seq = (uint32_t)word & SEQ_MASK;
    uint32_t seen = __atomic_load_n(&w->unit_seen, __ATOMIC_RELAXED);

    while (newer(seq, seen) && !__atomic_compare_exchange_n(&w->unit_seen, &seen, seq, false,
                                                            __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
}

static void store_hand(struct worker_slot *w, uint32_t reserved, uint32_t seq)
{
    JOURNAL_BARRIER();
    *(volatile uint64_t *)&w->units.hand = (uint64_t)seq << 32 | reserved;
    JOURNAL_BARRIER();
}

static bool transfer(struct region *r, uint32_t worker, bool give)
{
    struct worker_slot *w = region_worker(r, worker);
    uint32_t seq = (w->unit_seq + 1) & SEQ_MASK;
    uint64_t word = __atomic_load_n(&r->units, __ATOMIC_SEQ_CST);
    uint64_t nfree;

    *(volatile uint32_t *)&w->unit_give = give;
    JOURNAL_BARRIER();
    *(volatile uint32_t *)&w->unit_seq = seq; /* from here on a transfer is in progress */
    JOURNAL_BARRIER();
    do {
        nfree = word >> FREE_SHIFT;
        if (!give && nfree <= kept(r)) {
            store_hand(w, w->units.reserved, seq); /* done, and nothing moved */
            return false;
        }
        record(r, word);
    } while (!__atomic_compare_exchange_n(&r->units, &word,
                                          pack(give ? nfree + 1 : nfree - 1, worker, seq), false,
                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    POINT(UNITS_MOVED);
    store_hand(w, give ? w->units.reserved - 1 : w->units.reserved + 1, seq);
    return true;
}

bool caps_take(struct region *r, uint32_t worker)
{
    return transfer(r, worker, false);
}

void caps_give(struct region *r, uint32_t worker)
{
    transfer(r, worker, true);
}

void caps_recover(struct region *r, uint32_t worker)
{
    struct worker_slot *w = region_worker(r, worker);
    uint64_t word = __atomic_load_n(&r->units, __ATOMIC_SEQ_CST);
    uint32_t seq = w->unit_seq;
    bool happened;

    if (w->units.done_seq == seq)
        return;
    happened = (word_worker(word) == worker && ((uint32_t)word & SEQ_MASK) == seq) ||
               __atomic_load_n(&w->unit_seen, __ATOMIC_SEQ_CST) == seq;
    if (!happened)
        store_hand(w, w->units.reserved, seq);
    else
        store_hand(w, w->unit_give ? w->units.reserved - 1 : w->units.reserved + 1, seq);
}
