/*
 * worker_pool.c - twelve workers, here threads, and elsewhere on any number of machines, of which a
 * semaphore lets three work at a time.
 *
 * Prints:
 *     12 jobs done, never more than 3 at a time
 */
#define _POSIX_C_SOURCE 200809L
#include <dflock.h>
#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum { WORKERS = 12, SLOTS = 3 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int running, most, done;

static void count(int change)
{
    pthread_mutex_lock(&mutex);
    running += change;
    most = running > most ? running : most;
    done += change < 0;
    pthread_mutex_unlock(&mutex);
}

static int job(dflock *slot, void *arg)
{
    (void)slot;
    (void)arg;
    count(1);
    nanosleep(&(struct timespec){0, 50000000}, NULL);
    count(-1);
    return 0;
}

static void *worker(void *options)
{
    dflock *slot = dflock_semaphore_new("worker-pool", SLOTS, options);

    if (dflock_with_lock(slot, job, NULL, NULL) != DFLOCK_HELD)
        errx(1, "no slot: %s", dflock_error_text());
    dflock_free(slot);
    return NULL;
}

int main(void)
{
    dflock_options *o = dflock_options_new();
    pthread_t threads[WORKERS];

    dflock_options_set_acquire_timeout(o, 60);
    for (int i = 0; i < WORKERS; i++)
        if (pthread_create(&threads[i], NULL, worker, o) != 0)
            errx(1, "no thread");
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    dflock_options_free(o);
    printf("%d jobs done, %s more than %d at a time\n", done, most > SLOTS ? "once" : "never",
           SLOTS);
    return 0;
}
