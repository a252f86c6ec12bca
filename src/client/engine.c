/*
 * client/engine.c - see engine.h.
 *
 * A heap of times and one timer (CLOCK_BOOTTIME: it also fires late, but at once, after a suspend),
 * beside the connections in one epoll set. Connections are known there by number and generation,
 * not by pointer: an event may be under way when a watch leaves, and a fork can keep a socket in
 * the set that was closed here. For the same reason all are edge-triggered: nobody can make the
 * thread spin.
 *
 * One mutex for all of it, never held while a run() is under way.
 */
#include "client/engine.h"

#include "base/clock.h"
#include "client/thread.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Without anything to do for this long the thread ends. */
#define LINGER_NS (10 * NS_PER_SEC)
/* No run() is called again sooner than that by its own arming: others get their turn. */
#define PACE_NS NS_PER_MS

#define TIMER_ID UINT64_MAX
#define NEVER UINT64_MAX

struct slot {
    struct watch *watch; /* NULL: free */
    uint32_t generation;
};

/* One a process: that is its point. */
static struct engine {
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* running, current */
    bool atfork;
    bool open; /* poller and timer */
    int poller, timer;
    bool running, stopping;
    bool unjoined;
    pthread_t thread;
    struct watch *current; /* whose run() is under way */
    uint64_t alarm;        /* when the timer fires */
    struct slot *slots;
    size_t nslots, members;
    uint32_t generation;
    struct watch **heap; /* has room for all slots */
    size_t nheap;
} engine = {.mutex = PTHREAD_MUTEX_INITIALIZER,
            .changed = PTHREAD_COND_INITIALIZER,
            .poller = -1,
            .timer = -1,
            .alarm = NEVER};

/* ---- The heap -------------------------------------------------------------------------------- */

#define NOWHERE SIZE_MAX

static void put(struct watch *w, size_t i)
{
    engine.heap[i] = w;
    w->place = i;
}

static void sift(struct watch *w, size_t i)
{
    struct watch **heap = engine.heap;

    for (; i > 0 && heap[(i - 1) / 2]->at > w->at; i = (i - 1) / 2)
        put(heap[(i - 1) / 2], i);
    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < engine.nheap && heap[child + 1]->at < heap[child]->at)
            child++;
        if (child >= engine.nheap || heap[child]->at >= w->at)
            break;
        put(heap[child], i);
        i = child;
    }
    put(w, i);
}

static void heap_remove(struct watch *w)
{
    size_t i = w->place;
    struct watch *last;

    if (i == NOWHERE)
        return;
    w->place = NOWHERE;
    last = engine.heap[--engine.nheap];
    if (last != w)
        sift(last, i);
}

/* ---- The thread ------------------------------------------------------------------------------ */

static void set_alarm(uint64_t at)
{
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at / NS_PER_SEC), .tv_nsec = (long)(at % NS_PER_SEC)}};

    if (at == engine.alarm)
        return;
    engine.alarm = at;
    if (at == 0)
        when.it_value.tv_nsec = 1; /* 0 would turn it off */
    if (at == NEVER)
        when = (struct itimerspec){0};
    timerfd_settime(engine.timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void run(struct watch *w)
{
    engine.current = w;
    pthread_mutex_unlock(&engine.mutex);
    w->run(w);
    pthread_mutex_lock(&engine.mutex);
    engine.current = NULL;
    pthread_cond_broadcast(&engine.changed);
}

static void event(uint64_t id)
{
    uint32_t i = (uint32_t)id;
    uint64_t count;

    if (id == TIMER_ID) {
        /* It may have been set anew since: then there is nothing to read. */
        if (read(engine.timer, &count, sizeof count) == (ssize_t)sizeof count)
            engine.alarm = NEVER;
        return;
    }
    if (i < engine.nslots && engine.slots[i].generation == id >> 32 &&
        engine.slots[i].watch != NULL)
        run(engine.slots[i].watch);
}

static void *work(void *unused)
{
    struct epoll_event events[64];
    uint64_t quit = NEVER;

    (void)unused;
    pthread_mutex_lock(&engine.mutex);
    for (;;) {
        uint64_t now = clock_boottime_ns();
        int n;

        while (!engine.stopping && engine.nheap > 0 && engine.heap[0]->at <= now) {
            struct watch *w = engine.heap[0];

            heap_remove(w);
            run(w);
        }
        if (engine.nheap > 0)
            quit = NEVER;
        else if (quit == NEVER)
            quit = now + LINGER_NS;
        if (engine.stopping || now >= quit)
            break;
        set_alarm(engine.nheap > 0 ? engine.heap[0]->at : quit);
        pthread_mutex_unlock(&engine.mutex);
        n = epoll_wait(engine.poller, events, (int)(sizeof events / sizeof events[0]), -1);
        pthread_mutex_lock(&engine.mutex);
        for (int i = 0; i < n && !engine.stopping; i++)
            event(events[i].data.u64);
    }
    engine.running = false;
    pthread_cond_broadcast(&engine.changed);
    pthread_mutex_unlock(&engine.mutex);
    return NULL;
}

/* It has let go of the mutex for the last time: that takes no time. */
static void join_ended(void)
{
    if (engine.unjoined)
        pthread_join(engine.thread, NULL);
    engine.unjoined = false;
}

static int start(void)
{
    int error;

    join_ended();
    error = thread_start(&engine.thread, "dflock", work, NULL);
    if (error != 0)
        return -error;
    engine.running = engine.unjoined = true;
    return 0;
}

/* ---- Its life -------------------------------------------------------------------------------- */

static void discard(void)
{
    if (engine.open) {
        close(engine.poller);
        close(engine.timer);
    }
    free(engine.slots);
    free(engine.heap);
    engine.slots = NULL;
    engine.heap = NULL;
    engine.nslots = engine.nheap = engine.members = 0;
    engine.open = false;
    engine.alarm = NEVER;
}

static void before_fork(void)
{
    pthread_mutex_lock(&engine.mutex);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&engine.mutex);
}

/* There is no thread here, and what it watched is the parent's. */
static void in_child(void)
{
    engine.running = engine.unjoined = engine.stopping = false;
    engine.current = NULL;
    discard();
    pthread_cond_init(&engine.changed, NULL);
    pthread_mutex_unlock(&engine.mutex);
}

static int open_engine(void)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u64 = TIMER_ID};
    int error;

    if (engine.open)
        return 0;
    if (!engine.atfork) {
        error = pthread_atfork(before_fork, after_fork, in_child);
        if (error != 0)
            return -error;
        engine.atfork = true;
    }
    engine.poller = epoll_create1(EPOLL_CLOEXEC);
    if (engine.poller < 0)
        return -errno;
    engine.timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (engine.timer < 0) {
        error = -errno;
        goto fail_poller;
    }
    if (epoll_ctl(engine.poller, EPOLL_CTL_ADD, engine.timer, &e) < 0) {
        error = -errno;
        goto fail_timer;
    }
    engine.open = true;
    return 0;

fail_timer:
    close(engine.timer);
fail_poller:
    close(engine.poller);
    return error;
}

static int grow(void)
{
    size_t n = engine.nslots > 0 ? 2 * engine.nslots : 16;
    struct watch **heap = reallocarray(engine.heap, n, sizeof *heap);
    struct slot *slots;

    if (heap == NULL)
        return -ENOMEM;
    engine.heap = heap;
    slots = reallocarray(engine.slots, n, sizeof *slots);
    if (slots == NULL)
        return -ENOMEM;
    for (size_t i = engine.nslots; i < n; i++)
        slots[i] = (struct slot){0};
    engine.slots = slots;
    engine.nslots = n;
    return 0;
}

static int enter(struct watch *w)
{
    int error = open_engine();
    size_t i = 0;

    if (error == 0 && engine.members == engine.nslots)
        error = grow();
    if (error != 0)
        return error;
    /* From where the last one was found: rarely more than a step. */
    for (i = engine.generation % engine.nslots; engine.slots[i].watch != NULL;)
        i = (i + 1) % engine.nslots;
    engine.slots[i] = (struct slot){.watch = w, .generation = ++engine.generation};
    engine.members++;
    engine.stopping = false;
    w->slot = (uint32_t)i;
    w->member = true;
    return 0;
}

void engine_watch_init(struct watch *w, void (*fn)(struct watch *w))
{
    *w = (struct watch){.run = fn, .place = NOWHERE, .promised = NEVER, .fd = -1};
}

int engine_arm(struct watch *w, uint64_t at)
{
    int error = 0;

    if (w->promised <= at)
        return 0;
    pthread_mutex_lock(&engine.mutex);
    if (!w->member)
        error = enter(w);
    if (error == 0 && !engine.running)
        error = start();
    if (error == 0) {
        if (engine.current == w) {
            uint64_t pace = clock_boottime_ns() + PACE_NS;

            at = at < pace ? pace : at;
        }
        w->promised = w->at = at;
        sift(w, w->place != NOWHERE ? w->place : engine.nheap++);
        if (at < engine.alarm)
            set_alarm(at);
    }
    pthread_mutex_unlock(&engine.mutex);
    return error;
}

void engine_ran(struct watch *w)
{
    /* run() may have been called for an event: then its time is still to come. */
    pthread_mutex_lock(&engine.mutex);
    heap_remove(w);
    pthread_mutex_unlock(&engine.mutex);
    w->promised = NEVER;
}

void engine_listen(struct watch *w, int fd, unsigned serial, bool settled, short events)
{
    struct epoll_event e = {.events = EPOLLRDHUP | EPOLLET};
    bool same = fd == w->fd && serial == w->serial;

    if (fd < 0) {
        w->fd = -1;
        return;
    }
    if ((events & POLLIN) != 0)
        e.events |= EPOLLIN;
    if ((events & POLLOUT) != 0)
        e.events |= EPOLLOUT;
    if (same && settled && e.events == w->events)
        return;
    pthread_mutex_lock(&engine.mutex);
    e.data.u64 = (uint64_t)engine.slots[w->slot].generation << 32 | w->slot;
    /* Without memory for it the end of a connection is noticed at the next renewal. */
    if ((!same || epoll_ctl(engine.poller, EPOLL_CTL_MOD, fd, &e) < 0) &&
        epoll_ctl(engine.poller, EPOLL_CTL_ADD, fd, &e) < 0 && errno == EEXIST)
        epoll_ctl(engine.poller, EPOLL_CTL_MOD, fd, &e);
    pthread_mutex_unlock(&engine.mutex);
    w->fd = fd;
    w->serial = serial;
    w->events = e.events;
}

void engine_leave(struct watch *w)
{
    pthread_mutex_lock(&engine.mutex);
    if (w->member) {
        while (engine.current == w)
            pthread_cond_wait(&engine.changed, &engine.mutex);
        heap_remove(w);
        engine.slots[w->slot].watch = NULL;
        w->member = false;
        engine.members--;
    }
    if (engine.members == 0 && engine.open) {
        engine.stopping = true;
        set_alarm(0);
        /* Meanwhile another may have entered: then it goes on. */
        while (engine.running && engine.members == 0)
            pthread_cond_wait(&engine.changed, &engine.mutex);
        if (engine.members == 0) {
            join_ended();
            discard();
        }
    }
    pthread_mutex_unlock(&engine.mutex);
}
