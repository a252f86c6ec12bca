/*
 * fifo_workers.c - five workers compete for a lock, and have it in the order in which they came.
 *
 * Prints:
 *     worker 0: acquired
 *     worker 0: releasing
 *     worker 1: acquired
 *     worker 1: releasing
 *     worker 2: acquired
 *     worker 2: releasing
 *     worker 3: acquired
 *     worker 3: releasing
 *     worker 4: acquired
 *     worker 4: releasing
 */
#define _POSIX_C_SOURCE 200809L
#include <dflock.h>
#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

static dflock *locks[5];

static void *worker(void *lock)
{
    int id = (int)((dflock **)lock - locks);

    if (dflock_wait(locks[id], 30) != DFLOCK_HELD)
        errx(1, "worker %d: not acquired", id);
    printf("worker %d: acquired\n", id);
    nanosleep(&(struct timespec){0, 100000000}, NULL);
    printf("worker %d: releasing\n", id);
    dflock_release(locks[id]);
    return NULL;
}

int main(void)
{
    pthread_t threads[5];

    for (int i = 0; i < 5; i++) {
        locks[i] = dflock_lock_new("shared-key", NULL);
        /* They come in this order; threads that just start would come in any. */
        if (dflock_enqueue(locks[i]) < 0)
            errx(1, "%s", dflock_error_text());
        pthread_create(&threads[i], NULL, worker, &locks[i]);
    }
    for (int i = 0; i < 5; i++) {
        pthread_join(threads[i], NULL);
        dflock_free(locks[i]);
    }
    return 0;
}
