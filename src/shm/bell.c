/*
 * shm/bell.c - see bell.h. Runs in every process.
 */
#include "shm/bell.h"

#include "base/io.h"
#include "base/point.h"
#include "shm/futex.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

void bell_ring(struct region *r, uint32_t worker)
{
    struct worker_slot *w = region_worker(r, worker);

    __atomic_fetch_add(&w->bell, 1, __ATOMIC_SEQ_CST);
    futex_wake(&w->bell, 1);
}

void bell_tell(struct region *r, uint32_t worker, uint32_t shard)
{
    struct worker_slot *w = region_worker(r, worker);

    __atomic_fetch_or(&w->mask, UINT64_C(1) << shard, __ATOMIC_SEQ_CST);
    POINT(BELL_MASKED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* partner: bell_park() */
    if (__atomic_load_n(&w->parked, __ATOMIC_SEQ_CST))
        bell_ring(r, worker);
}

void bell_alarm(struct region *r, uint32_t worker)
{
    __atomic_store_n(&region_worker(r, worker)->mask, UINT64_MAX, __ATOMIC_SEQ_CST);
    bell_ring(r, worker);
}

bool bell_park(struct region *r, uint32_t worker)
{
    struct worker_slot *w = region_worker(r, worker);

    __atomic_store_n(&w->parked, 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* partner: bell_tell() */
    if (__atomic_load_n(&w->mask, __ATOMIC_SEQ_CST) == 0)
        return true;
    __atomic_store_n(&w->parked, 0, __ATOMIC_SEQ_CST);
    return false;
}

void bell_unpark(struct region *r, uint32_t worker)
{
    __atomic_store_n(&region_worker(r, worker)->parked, 0, __ATOMIC_SEQ_CST);
}

uint64_t bell_drain(struct region *r, uint32_t worker)
{
    return __atomic_exchange_n(&region_worker(r, worker)->mask, 0, __ATOMIC_SEQ_CST);
}

struct listener {
    struct worker_slot *slot;
    uint32_t seen;
    uint32_t begun; /* futex */
    int efd;
};

/*
 * Its own table of descriptors, with the eventfd alone: as long as two threads share a table, each
 * system call of the worker that names a descriptor pays for two atomic operations more. Where that
 * is forbidden the table stays shared.
 */
static void own_descriptors(int efd)
{
    if (SYS(BELL_DESCRIPTORS, unshare(CLONE_FILES)) == 0)
        io_close_all_but(&efd, 1);
}

static void *listen_for_bell(void *arg)
{
    struct listener *shared = arg;
    struct listener l = *shared;
    uint64_t one = 1;

    own_descriptors(l.efd);
    __atomic_store_n(&shared->begun, 1, __ATOMIC_RELEASE);
    futex_wake(&shared->begun, 1);
    for (;;) {
        uint32_t now = __atomic_load_n(&l.slot->bell, __ATOMIC_SEQ_CST);

        if (now == l.seen) {
            futex_wait(&l.slot->bell, l.seen, 0);
            continue;
        }
        l.seen = now;
        if (SYS(BELL_WRITE, write(l.efd, &one, sizeof(one))) < 0 && errno != EAGAIN)
            return NULL;
    }
}

int bell_start_thread(struct region *r, uint32_t worker, int efd)
{
    /* Outlives this call: the thread keeps it as long as the process lives. */
    struct listener *l = calloc(1, sizeof(*l));
    pthread_attr_t attr;
    sigset_t all, old;
    pthread_t thread;
    int err = l ? pthread_attr_init(&attr) : ENOMEM;

    if (err) {
        free(l);
        return -err;
    }
    l->slot = region_worker(r, worker);
    l->seen = __atomic_load_n(&l->slot->bell, __ATOMIC_SEQ_CST);
    l->efd = efd;
    pthread_attr_setstacksize(&attr, (size_t)PTHREAD_STACK_MIN * 2);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    /* Signals are the main thread's. */
    sigfillset(&all);
    SYS(BELL_SIGMASK, pthread_sigmask(SIG_SETMASK, &all, &old));
    err = SYS(BELL_THREAD, pthread_create(&thread, &attr, listen_for_bell, l));
    SYS(BELL_UNMASK, pthread_sigmask(SIG_SETMASK, &old, NULL));
    pthread_attr_destroy(&attr);
    /* What it does first is nothing that the sandbox allows. */
    while (!err && !__atomic_load_n(&l->begun, __ATOMIC_ACQUIRE))
        futex_wait(&l->begun, 0, 0);
    if (err)
        free(l);
    return -err;
}
