/*
 * core/journal.c - rolling an interrupted transaction back. Runs in whoever inherits the mutex.
 */
#include "core/journal.h"

static bool undo_entry(const struct journal_entry *e, char *base, uint64_t from, uint64_t limit)
{
    uint64_t offset = e->where >> 4;
    unsigned size = (unsigned)(e->where & 15);

    if (offset < from || offset > limit || limit - offset < size || offset % (size ? size : 1) != 0)
        return false;
    switch (size) {
    case 1:
        __atomic_store_n((volatile uint8_t *)(base + offset), (uint8_t)e->old, __ATOMIC_RELAXED);
        return true;
    case 2:
        __atomic_store_n((volatile uint16_t *)(base + offset), (uint16_t)e->old, __ATOMIC_RELAXED);
        return true;
    case 4:
        __atomic_store_n((volatile uint32_t *)(base + offset), (uint32_t)e->old, __ATOMIC_RELAXED);
        return true;
    case 8:
        __atomic_store_n((volatile uint64_t *)(base + offset), e->old, __ATOMIC_RELAXED);
        return true;
    default:
        return false;
    }
}

bool journal_rollback(struct journal *j, char *base, uint64_t from, uint64_t limit)
{
    bool whole = j->count <= JOURNAL_MAX;

    if (!whole)
        *(volatile uint32_t *)&j->count = JOURNAL_MAX;
    while (j->count > 0) {
        uint32_t last = j->count - 1;

        if (!undo_entry(&j->entry[last], base, from, limit))
            whole = false;
        JOURNAL_BARRIER();
        journal_hook();
        *(volatile uint32_t *)&j->count = last;
        JOURNAL_BARRIER();
        journal_hook();
    }
    return whole;
}
