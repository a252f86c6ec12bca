/*
 * shm/lock.c - see lock.h.
 */
#include "shm/lock.h"

#include "core/check.h"
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
    if (!err)
        err = pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    if (!err)
        err = pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
    if (!err)
        err = pthread_mutex_init(m, &a);
    pthread_mutexattr_destroy(&a);
    return -err;
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
        err = pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &until);
    } while (err == ETIMEDOUT);
    return err;
}

/* The mutex is held and its last owner is dead, or a rebuild was never finished. */
static enum lock_result repair(struct region *r, struct table *t, uint32_t i)
{
    struct check_report report;
    struct shard *s = table_shard(t, i);
    bool whole = repair_rollback(t, i);

    (void)r;
    if (s->state == SHARD_QUARANTINED)
        return LOCK_QUARANTINED;
    if (s->state == SHARD_OK && whole && check_shard(t, i, &report) == 0)
        return LOCK_REPAIRED;
    return repair_rebuild(t, i, &report) == 0 ? LOCK_REPAIRED : LOCK_QUARANTINED;
}

enum lock_result lock_shard(struct region *r, struct table *t, uint32_t i)
{
    pthread_mutex_t *m = &r->mutex[i].mutex;
    enum lock_result result = LOCK_OK;
    int err = pthread_mutex_trylock(m);

    if (err == EBUSY)
        err = sleep_lock(m);
    if (err == EOWNERDEAD) {
        result = repair(r, t, i);
        pthread_mutex_consistent(m);
    } else if (err) {
        __builtin_trap(); /* EDEADLK, EINVAL, ENOTRECOVERABLE: a bug, die and be replaced */
    } else if (table_shard(t, i)->state != SHARD_OK) {
        result = table_shard(t, i)->state == SHARD_REBUILDING ? repair(r, t, i) : LOCK_QUARANTINED;
    }
    if (result == LOCK_QUARANTINED)
        pthread_mutex_unlock(m);
    return result;
}

void lock_release(struct region *r, uint32_t i)
{
    if (pthread_mutex_unlock(&r->mutex[i].mutex))
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
