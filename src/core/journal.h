/*
 * core/journal.h - the undo log: the only way to change what a crash must not tear.
 *
 * A change logs the old value, then stores the new one; commit sets the count to zero, one store.
 * Whoever finds the owner of the mutex dead calls journal_rollback(): the operation never happened.
 *
 * Why compiler barriers suffice: a killed process leaves a prefix, in program order, of its
 * stores, and the next owner of the mutex sees all of that prefix (the kernel's release of a dead
 * owner's robust mutex orders it). So only the compiler could reorder them, and the barriers and
 * volatile accesses below forbid that. What a repairer may see between two stores:
 *   entry written, count not      the entry does not exist yet, the word is untouched
 *   count raised, word not        rolling back stores the old value over itself
 *   word stored                   rolling back restores it
 * The same type serves a shard (its mutex guards it) and a worker slot (one writer, then its heir).
 */
#ifndef CORE_JOURNAL_H
#define CORE_JOURNAL_H

#include "core/layout.h"

#include <stdbool.h>

#define JOURNAL_BARRIER() __asm__ volatile("" ::: "memory")

/* Tests stop the program at every store: see tests/core/die_at_store_test.c. */
#ifdef JOURNAL_HOOK
void journal_hook(void);
#else
#define journal_hook() ((void)0)
#endif

static inline void journal_log(struct journal *j, const char *base, const volatile void *at,
                               unsigned size, uint64_t old)
{
    uint32_t n = j->count;

    if (n >= JOURNAL_MAX)
        __builtin_trap(); /* a transaction that is not bounded: a bug, and nothing is torn yet */
    j->entry[n].where = (uint64_t)((const volatile char *)at - base) << 4 | size;
    j->entry[n].old = old;
    JOURNAL_BARRIER();
    journal_hook();
    *(volatile uint32_t *)&j->count = n + 1;
    JOURNAL_BARRIER();
    journal_hook();
}

/* The crash test must notice when a word is stored before its entry counts, so it is built once
   with this mistake. */
#ifdef JOURNAL_MISORDERED
#define JOURNAL_EARLY(at, value) (*(at) = (value), journal_hook())
#else
#define JOURNAL_EARLY(at, value) ((void)0)
#endif

/*
 * Stores `value` into the scalar `lvalue`, undoably. UNGUARDED is for the row `guard` of `make bench`: a
 * server without all this, that loses what its workers were doing, to see what it costs.
 */
#ifdef UNGUARDED
#define JOURNAL_SET(j, base, lvalue, value) ((void)(j), (void)(base), (void)((lvalue) = (value)))
#else
#define JOURNAL_SET(j, base, lvalue, value)                                                        \
    do {                                                                                           \
        __typeof__(lvalue) *set_at_ = &(lvalue);                                                   \
        __typeof__(lvalue) set_value_ = (__typeof__(lvalue))(value);                               \
        uint64_t set_old_ = (uint64_t)*set_at_;                                                    \
        _Static_assert(sizeof(lvalue) <= 8, "scalars only");                                       \
        JOURNAL_EARLY(set_at_, set_value_);                                                        \
        journal_log((j), (base), set_at_, sizeof(lvalue), set_old_);                               \
        /* One whole store: who may read some of these words has no mutex. */                     \
        __atomic_store_n((volatile __typeof__(lvalue) *)set_at_, set_value_, __ATOMIC_RELAXED);    \
        JOURNAL_BARRIER();                                                                         \
        journal_hook();                                                                            \
    } while (0)
#endif

static inline void journal_commit(struct journal *j)
{
    JOURNAL_BARRIER();
    *(volatile uint32_t *)&j->count = 0;
    JOURNAL_BARRIER();
    journal_hook();
}

/*
 * Undoes what is logged. Idempotent: may be stopped anywhere and run again. Only bytes `from` …
 * `limit` - 1 from the base are written, for a log that may have been scribbled over; false when an
 * entry is out of bounds (the rest is undone all the same).
 */
bool journal_rollback(struct journal *j, char *base, uint64_t from, uint64_t limit);

/* SET() is JOURNAL_SET() within a shard's transaction. */
#define SET(tx, lvalue, value) JOURNAL_SET(&(tx)->s->journal, (tx)->t->base, lvalue, value)

#endif
