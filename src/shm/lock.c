/*
 * shm/lock.c - see lock.h.
 */
#include "shm/lock.h"

#include "base/point.h"
#include "core/repair.h"
#include "shm/futex.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <time.h>

int lock_init(pthread_mutex_t *m)
{
    pthread_mutexattr_t a;
    int err = pthread_mutexattr_init(&a);

    if (err)
        return -err;
    err = pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
#ifndef UNGUARDED
    if (!err)
        err = pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
#endif
    if (!err)
        err = pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
    if (!err)
        err = pthread_mutex_init(m, &a);
    pthread_mutexattr_destroy(&a);
    return -err;
}

static int try_lock(pthread_mutex_t *m)
{
    return SYS(LOCK_TRY, pthread_mutex_trylock(m));
}

enum { SPINS = 100 }; /* 2 to 5 us */

static inline void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

/*
 * A transaction takes about a microsecond, to sleep and be woken five at least: so whoever finds the
 * mutex taken waits awake for a little longer than the other should need. The word is only looked at: to
 * try it would take its cache line from who has it.
 */
static int spin_lock(pthread_mutex_t *m)
{
    int err = EBUSY;

    for (unsigned i = 0; err == EBUSY && i < SPINS; i++) {
        pause_cpu();
        if (!((uint32_t)__atomic_load_n(&m->__data.__lock, __ATOMIC_RELAXED) & FUTEX_TID_MASK))
            err = try_lock(m);
    }
    return err;
}

static int sleep_lock(pthread_mutex_t *m)
{
    int err;

    do {
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 100000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        err = SYS(LOCK_SLEEP, pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &until));
    } while (err == ETIMEDOUT);
    return err;
}

bool lock_keys_whole(const struct region *r, const struct table *t, uint32_t i,
                     struct check_report *found)
{
    const struct shard *s = table_shard(t, i);

    for (uint32_t k = 1; k <= s->res_bump && k <= t->geo->res_per_shard; k++) {
        const struct resource *res = table_resource(t, i, k);

        if (res->state == RES_FREE || res->key_len > KEY_MAX)
            continue;
        if (region_key_hash(r, res->kind, table_key_bytes(t, i, k), res->key_len) != res->hash) {
            *found = (struct check_report){6, k, "a key does not match its hash"};
            return false;
        }
    }
    return true;
}

/*
 * The mutex is held and its last owner is dead, or a rebuild was never finished, or a crash may
 * have scribbled over the shard. Whoever dies in here leaves it to the next one to do it all again.
 */
static enum lock_result repair(struct region *r, struct table *t, uint32_t i, bool dead,
                               struct check_report *found)
{
    uint64_t bit = UINT64_C(1) << i;
    struct shard *s = table_shard(t, i);
    uint32_t crashes = __atomic_load_n(&r->crashes, __ATOMIC_SEQ_CST);
    bool suspect = __atomic_load_n(&r->suspect, __ATOMIC_SEQ_CST) & bit;
    bool whole = !dead || repair_rollback(t, i);
    enum lock_result result = dead ? LOCK_REPAIRED : LOCK_OK;
    struct check_report report;
    bool broken;

    if (s->state == SHARD_QUARANTINED)
        return LOCK_QUARANTINED;
    if (dead)
        region_mend_fences(r); /* EOWNERDEAD comes before the master knows of the death */
    broken = s->state != SHARD_OK || check_shard(t, i, found) != 0 || !whole;
    /* A rebuild believes the keys: it would make a holder another key's. */
    if ((suspect || broken) && !lock_keys_whole(r, t, i, found)) {
        *(volatile uint32_t *)&s->state = SHARD_QUARANTINED;
        result = LOCK_QUARANTINED;
    } else if (broken) {
        if (found->invariant == 0)
            *found = (struct check_report){9, i, "its journal was damaged"};
        result = repair_rebuild(t, i, &report) == 0 ? LOCK_REBUILT : LOCK_QUARANTINED;
        if (result == LOCK_QUARANTINED)
            *found = report;
    }
    if (suspect) {
        __atomic_fetch_and(&r->suspect, ~bit, __ATOMIC_SEQ_CST);
        /* A crash meanwhile: its mark may be what was taken away. */
        if (__atomic_load_n(&r->crashes, __ATOMIC_SEQ_CST) != crashes)
            __atomic_fetch_or(&r->suspect, bit, __ATOMIC_SEQ_CST);
    }
    return result;
}

enum lock_result lock_shard(struct region *r, struct table *t, uint32_t i,
                            struct check_report *found)
{
    pthread_mutex_t *m = &r->mutex[i].mutex;
    enum lock_result result = LOCK_OK;
    int err = try_lock(m);

    found->invariant = 0;
    if (err == EBUSY)
        err = spin_lock(m);
    if (err == EBUSY)
        err = sleep_lock(m);
    if (err == EOWNERDEAD) {
        result = repair(r, t, i, true, found);
        SYS(LOCK_CONSISTENT, pthread_mutex_consistent(m));
    } else if (err) {
        __builtin_trap(); /* EDEADLK, EINVAL, ENOTRECOVERABLE: a bug, die and be replaced */
    } else if (table_shard(t, i)->state != SHARD_OK ||
               (__atomic_load_n(&r->suspect, __ATOMIC_RELAXED) >> i & 1)) {
        result = repair(r, t, i, false, found);
    }
    if (result == LOCK_QUARANTINED)
        lock_release(r, i);
    return result;
}

void lock_release(struct region *r, uint32_t i)
{
    if (SYS(LOCK_RELEASE, pthread_mutex_unlock(&r->mutex[i].mutex)))
        __builtin_trap();
}

unsigned lock_sweep(struct region *r, uint32_t pid)
{
    unsigned found = 0;

    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        /* The futex word is the first word of glibc's mutex, on every architecture. */
        uint32_t *word = (uint32_t *)&r->mutex[i].mutex.__data.__lock;
        uint32_t seen = __atomic_load_n(word, __ATOMIC_RELAXED);

        while ((seen & FUTEX_TID_MASK) == pid) {
            if (__atomic_compare_exchange_n(word, &seen,
                                            (seen & FUTEX_WAITERS) | FUTEX_OWNER_DIED, false,
                                            __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
                found++;
                break;
            }
        }
        futex_wake(word, INT_MAX);
    }
    return found;
}

static bool alive(uint32_t tid, const uint32_t *pids, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (pids[i] == tid)
            return true;
    return false;
}

unsigned lock_mend(struct region *r, const uint32_t *pids, unsigned n)
{
    pthread_mutex_t model;
    unsigned mended = 0;

    if (lock_init(&model) != 0)
        return 0;
    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        pthread_mutex_t *m = &r->mutex[i].mutex;
        uint32_t *word = (uint32_t *)&m->__data.__lock;
        uint32_t seen = __atomic_load_n(word, __ATOMIC_SEQ_CST);
        uint32_t tid = seen & FUTEX_TID_MASK;
        uint32_t owner = (uint32_t)__atomic_load_n(&m->__data.__owner, __ATOMIC_SEQ_CST);
        bool bad = m->__data.__kind != model.__data.__kind;

        if (bad)
            m->__data.__kind = model.__data.__kind;
        /* The second witness of who holds it: the kernel's mark must not take it from one who does. */
        if (seen && !(seen & FUTEX_OWNER_DIED) && !alive(tid, pids, n) &&
            __atomic_compare_exchange_n(word, &seen,
                                        alive(owner, pids, n) ? owner | FUTEX_WAITERS
                                                              : FUTEX_WAITERS | FUTEX_OWNER_DIED,
                                        false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            futex_wake(word, INT_MAX);
            bad = true;
        }
        mended += bad;
    }
    return mended;
}
