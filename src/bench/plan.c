/*
 * bench/plan.c - see plan.h.
 */
#include "bench/plan.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

static uint32_t server_of(const struct settings *s, const char *key)
{
    return (uint32_t)dflock_shard_crc32(key, s->where.nservers, NULL);
}

/* A new key, of the server that is asked for unless this is -1. NULL without memory. */
static char *new_key(const struct settings *s, struct names *names, int64_t server)
{
    char *key = NULL;

    do {
        free(key);
        if (asprintf(&key, "%s_%08" PRIx32 "_%" PRIu64, s->key, names->run, names->next++) < 0)
            return NULL;
    } while (server >= 0 && server_of(s, key) != server);
    return key;
}

static bool give_keys(struct driver *d, struct worker *w, struct slot *slots, struct names *names,
                      struct check_key *shared)
{
    int64_t server = -1;

    for (uint32_t i = 0; i < d->s->pipeline; i++) {
        struct slot *slot = &slots[i];

        slot->worker = w;
        slot->key = shared ? shared : &slot->own;
        if (!shared && !(slot->own.name = new_key(d->s, names, server)))
            return false;
        server = w->server = server_of(d->s, slot->key->name);
    }
    return true;
}

static void write_args(struct driver *d)
{
    const struct settings *s = d->s;

    snprintf(d->wait_arg, sizeof(d->wait_arg), "%" PRIu64, s->timeout);
    if (s->lease > 0)
        snprintf(d->enqueue_arg, sizeof(d->enqueue_arg), "%" PRIu64, s->lease);
    snprintf(d->acquire_arg, sizeof(d->acquire_arg), "%s%s%s", d->wait_arg, s->lease ? " " : "",
             d->enqueue_arg);
}

/* All zeros, or NULL; memory that is not touched is not used. */
static bool allocate(struct driver *d)
{
    d->workers = calloc(d->workers_n, sizeof(*d->workers));
    d->slots = calloc(d->slots_n, sizeof(*d->slots));
    d->links = calloc(d->links_n, sizeof(*d->links));
    d->highest = calloc(d->s->where.nservers, sizeof(*d->highest));
    d->latency = calloc(1, sizeof(*d->latency));
    return d->workers && d->slots && d->links && d->highest && d->latency;
}

static int no_memory(struct driver *d)
{
    return driver_fail(d, EXIT_BROKEN, "no memory for %" PRIu32 " workers", d->workers_n);
}

static int watch_timer(struct driver *d)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};

    d->epfd = epoll_create1(EPOLL_CLOEXEC);
    d->timerfd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (d->epfd < 0 || d->timerfd < 0 || epoll_ctl(d->epfd, EPOLL_CTL_ADD, d->timerfd, &ev) != 0)
        return driver_fail(d, EXIT_BROKEN, "an epoll loop and a timer: %s", strerror(errno));
    return 0;
}

int plan_make(struct driver *d, const struct settings *s, atomic_int *stop, uint32_t first,
              uint32_t n, struct names *names, struct check_key *shared, struct check *check)
{
    *d = (struct driver){.s = s,
                         .stop = stop,
                         .workers_n = n,
                         .slots_n = n * s->pipeline,
                         .links_n = n * s->connections,
                         .epfd = -1,
                         .timerfd = -1};
    if (s->check && !check)
        check_init(&d->own_check, false, (int64_t)(clock_realtime_ns() - clock_boottime_ns()));
    d->check = !s->check ? NULL : check ? check : &d->own_check;
    write_args(d);
    if (!allocate(d))
        return no_memory(d);
    for (uint32_t i = 0; i < d->links_n; i++)
        d->links[i].fd = -1;
    for (uint32_t i = 0; i < n; i++) {
        struct worker *w = &d->workers[i];

        w->id = first + i;
        w->links = d->links + (size_t)i * s->connections;
        if (!give_keys(d, w, d->slots + (size_t)i * s->pipeline, names, shared))
            return no_memory(d);
    }
    return watch_timer(d);
}

void plan_drop(struct driver *d)
{
    for (uint32_t i = 0; d->links && i < d->links_n; i++)
        link_close(&d->links[i]);
    for (uint32_t i = 0; d->slots && i < d->slots_n; i++)
        free((char *)d->slots[i].own.name);
    if (d->check == &d->own_check)
        check_destroy(d->check);
    free(d->workers);
    free(d->slots);
    free(d->links);
    free(d->highest);
    free(d->latency);
    if (d->epfd > 0)
        close(d->epfd);
    if (d->timerfd > 0)
        close(d->timerfd);
    *d = (struct driver){.epfd = -1, .timerfd = -1};
}
