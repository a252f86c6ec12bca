/*
 * tests/client/storm.c - cancels that race with grants: threads that acquire two locks and the
 * slots of a semaphore, and others that cancel them at any moment.
 *
 *     storm PORT ROUNDS
 *
 * Exit 0 if every call that was cancelled said so, and nobody held what another held. Whether
 * nothing is held afterwards is for who has started it.
 */
#include <dflock.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { PAIRS = 6, KEYS = 3 };

static const char *const keys[KEYS] = {"storm-0", "storm-1", "storm-s"};
static const int limits[KEYS] = {1, 1, 2};
static atomic_int holders[KEYS];
static atomic_long cancelled, held, wrong;

static struct pair {
    dflock *lock;
    int key;
    unsigned seed;
    long rounds;
    atomic_bool over;
    atomic_long holds;
    /* How many cancels said 0, how many calls said they were cancelled. */
    long ordered, obeyed;
} pairs[PAIRS];

static void fault(const char *what, int result)
{
    printf("%s: %d %s\n", what, result, dflock_error_text());
    atomic_fetch_add(&wrong, 1);
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *acquires(void *arg)
{
    struct pair *p = arg;

    for (long i = 0; i < p->rounds; i++) {
        int result = dflock_acquire(p->lock);
        double began;

        if (result == DFLOCK_ERR_CANCELLED) {
            p->obeyed++;
            atomic_fetch_add(&cancelled, 1);
        } else if (result == DFLOCK_HELD) {
            if (atomic_fetch_add(&holders[p->key], 1) >= limits[p->key])
                fault("too many hold it", p->key);
            atomic_fetch_add(&held, 1);
            atomic_fetch_add(&p->holds, 1);
            atomic_fetch_sub(&holders[p->key], 1);
            began = seconds();
            result = dflock_release(p->lock);
            if (result == DFLOCK_ERR_CANCELLED)
                p->obeyed++;
            /* A server that does not run for 2 s is not waited for. */
            else if (result != 0 && (result != DFLOCK_ERR_CONNECT || seconds() - began < 1.9))
                fault("release", result);
        } else {
            fault("acquire", result);
        }
    }
    atomic_store(&p->over, true);
    return NULL;
}

static void *cancels(void *arg)
{
    struct pair *p = arg;

    while (!atomic_load(&p->over)) {
        long before = atomic_load(&p->holds), most = 1000L << rand_r(&p->seed) % 13;
        struct timespec nap = {.tv_nsec = rand_r(&p->seed) % most};

        /* Up to 1 us, or 2, or 4, … 4 ms; one in eight waits until it was got. */
        bool patient = rand_r(&p->seed) % 8 == 0;

        do
            nanosleep(&nap, NULL);
        while (patient && before == atomic_load(&p->holds) && !atomic_load(&p->over));
        if (dflock_cancel(p->lock) == 0)
            p->ordered++;
    }
    return NULL;
}

/* While the handles are there, idle: what they hold nevertheless would stay held. */
static void probe(const dflock_options *o)
{
    for (int i = 0; i < KEYS; i++) {
        dflock *slots[2] = {NULL, NULL};

        for (int j = 0; j < limits[i]; j++) {
            slots[j] = limits[i] == 1 ? dflock_lock_new(keys[i], o)
                                      : dflock_semaphore_new(keys[i], (uint32_t)limits[i], o);
            if (dflock_acquire(slots[j]) != DFLOCK_HELD)
                fault("still held by a cancelled call", i);
        }
        for (int j = 0; j < limits[i]; j++)
            dflock_free(slots[j]);
    }
}

int main(int argc, char **argv)
{
    dflock_options *o = dflock_options_new();
    pthread_t threads[2 * PAIRS];
    char servers[32];

    if (argc < 3 || o == NULL)
        return 2;
    snprintf(servers, sizeof servers, "127.0.0.1:%s", argv[1]);
    dflock_options_set_servers(o, servers);
    dflock_options_set_acquire_timeout(o, 60);
    dflock_options_set_lease(o, 60);
    for (int i = 0; i < PAIRS; i++) {
        struct pair *p = &pairs[i];

        p->key = i % KEYS;
        p->seed = (unsigned)(getpid() + i);
        p->rounds = atol(argv[2]) / PAIRS;
        p->lock = limits[p->key] == 1 ? dflock_lock_new(keys[p->key], o)
                                      : dflock_semaphore_new(keys[p->key], 2, o);
        if (pthread_create(&threads[i], NULL, acquires, p) != 0 ||
            pthread_create(&threads[PAIRS + i], NULL, cancels, p) != 0)
            abort();
    }
    for (int i = 0; i < 2 * PAIRS; i++)
        pthread_join(threads[i], NULL);
    dflock_options_set_acquire_timeout(o, 20);
    probe(o);
    for (int i = 0; i < PAIRS; i++) {
        /* Two orders for one call are one. */
        if (pairs[i].obeyed > pairs[i].ordered)
            fault("more obeyed than ordered", i);
        dflock_free(pairs[i].lock);
    }
    printf("%ld cancelled, %ld held\n", cancelled, held);
    dflock_options_free(o);
    return wrong != 0 || cancelled == 0 || held == 0;
}
