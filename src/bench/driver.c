/*
 * bench/driver.c - see driver.h.
 */
#include "bench/driver.h"

#include "bench/op.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { EVENTS = 256, DIALLING_MOST = 128, TICK_MS = 100 };
/* A server closes a connection that is idle for long; and what a reply may take beyond --timeout.
 */
#define IDLE_NS (5 * NS_PER_SEC)
#define ANSWER_NS (20 * NS_PER_SEC)

int driver_fail(struct driver *d, int code, const char *fmt, ...)
{
    va_list ap;

    if (d->failed)
        return d->failed;
    va_start(ap, fmt);
    vsnprintf(d->failure, sizeof(d->failure), fmt, ap);
    va_end(ap);
    d->failed = code;
    atomic_store(d->stop, STOP_FAILED);
    return code;
}

/* ---- links ----------------------------------------------------------------------------------- */

static int link_failed(struct driver *d, const struct link *l, int err)
{
    int code = err == DFLOCK_ERR_AUTH ? EXIT_AUTH : l->up ? EXIT_BROKEN : EXIT_UNREACHABLE;

    if (l->up)
        return driver_fail(d, code, "%s", where_reason());
    return driver_fail(d, code, "%s (%" PRIu32 " of %" PRIu32 " connections had been made)",
                       where_reason(), d->dialled - d->dialling, d->links_n);
}

static int ask(struct driver *d, struct link *l, struct slot *slot, const char *command,
               const char *key, const char *arg)
{
    int err = link_ask(l, slot, command, key, arg);

    if (err)
        return link_failed(d, l, err);
    l->used = d->now;
    if (!l->unsent) {
        l->unsent = true;
        l->next = d->unsent;
        d->unsent = l;
    }
    return 0;
}

int driver_ask(struct driver *d, struct slot *slot, const char *command, const char *arg)
{
    slot->asked = d->now;
    d->requests++;
    return ask(d, slot->link, slot, command, slot->key->name, arg);
}

int driver_release(struct driver *d, struct slot *slot)
{
    slot->next_releasing = d->releasing;
    d->releasing = slot;
    return driver_ask(d, slot, "r", slot->wish.token);
}

/* The reply to a ping: the connection is up. */
static int alive(struct driver *d, struct link *l, bool was_up, const struct dflock_reply *reply)
{
    if (reply->status != 0)
        return driver_fail(
            d, reply->status == DFLOCK_ERR_AUTH ? EXIT_AUTH : EXIT_BROKEN,
            "%s: the server answered \"%.80s\" to %s%s", l->address, reply->text,
            d->s->http && !was_up ? "who wants a session" : "a ping",
            reply->status == DFLOCK_ERR_AUTH ? ": it wants a token; see --auth-token-file" : "");
    if (!was_up)
        d->dialling--;
    return 0;
}

static int serve(struct driver *d, struct link *l)
{
    struct dflock_reply reply;
    struct slot *slot;
    bool was_up = l->up;
    int ended = link_process(l), got;

    d->now = clock_boottime_ns();
    while ((got = link_reply(l, &slot, &reply)) == 1) {
        int err = slot ? op_answered(d, slot, &reply) : alive(d, l, was_up, &reply);

        if (err)
            return err;
        was_up = true;
    }
    if (ended || got < 0)
        return link_failed(d, l, ended ? ended : got);
    return 0;
}

/* A lock is held until its release is sent, which is when all that has come was read: so of two
 * grants that came together both are held. */
static int send_all(struct driver *d)
{
    for (; d->releasing; d->releasing = d->releasing->next_releasing)
        if (d->check)
            check_releasing(d->check, d->releasing->key, &d->releasing->wish, d->now);
    while (d->unsent) {
        struct link *l = d->unsent;
        int err;

        d->unsent = l->next;
        l->unsent = false;
        /* What came before the end says why. */
        if (link_process(l) && (err = serve(d, l)))
            return err;
    }
    return 0;
}

/* Not all at once: a server's backlog is short, and who does not fit in tries again after a second.
 */
static int dial_more(struct driver *d)
{
    while (d->dialled < d->links_n && d->dialling < DIALLING_MOST) {
        struct worker *w = &d->workers[d->dialled / d->s->connections];
        struct link *l = &d->links[d->dialled];
        int err = link_open(l, d->epfd, d->s->where.server[w->server], d->s->dial, d->s->http,
                            2 * d->s->pipeline + 2);

        d->dialled++;
        d->dialling++;
        if (err)
            return link_failed(d, l, err);
        err = ask(d, l, NULL, "ping", "", "");
        if (err)
            return err;
    }
    return 0;
}

/* ---- when operations begin ------------------------------------------------------------------- */

static int begin(struct driver *d, struct slot *slot, uint64_t when)
{
    d->busy++;
    slot->begun = when;
    return op_begin(d, slot);
}

/* Whether another round of this worker is due, in a closed loop. */
static bool next_round(struct driver *d, struct worker *w)
{
    if (atomic_load_explicit(d->stop, memory_order_relaxed))
        return false;
    if (d->measuring && d->s->duration)
        return d->now - d->began < d->s->duration;
    if (w->left == 0)
        return false;
    w->left--;
    return true;
}

static uint64_t due(const struct driver *d)
{
    return d->began + (uint64_t)((double)d->due_n * d->period);
}

static bool all_begun(struct driver *d)
{
    if (atomic_load_explicit(d->stop, memory_order_relaxed) ||
        (d->s->duration && due(d) - d->began >= d->s->duration))
        d->due_most = d->due_n;
    return d->due_n >= d->due_most;
}

static void set_timer(struct driver *d, uint64_t at)
{
    struct itimerspec t = {
        .it_value = {.tv_sec = (time_t)(at / NS_PER_SEC), .tv_nsec = (long)(at % NS_PER_SEC)}};

    if (at == d->timer_at)
        return;
    d->timer_at = at;
    (void)timerfd_settime(d->timerfd, TFD_TIMER_ABSTIME, &t, NULL);
}

/* Open loop: begins what is due. */
static int begin_due(struct driver *d)
{
    while (d->idle && !all_begun(d)) {
        struct slot *slot = d->idle;
        int err;

        if (due(d) > d->now) {
            set_timer(d, due(d));
            return 0;
        }
        d->idle = slot->next_idle;
        if (!d->idle)
            d->idle_end = &d->idle;
        err = begin(d, slot, due(d));
        d->due_n++;
        if (err)
            return err;
    }
    return 0;
}

static void rest(struct driver *d, struct slot *slot)
{
    slot->state = SLOT_IDLE;
    if (!d->open)
        return;
    slot->next_idle = NULL;
    *d->idle_end = slot;
    d->idle_end = &slot->next_idle;
}

void driver_done(struct driver *d, struct slot *slot)
{
    d->busy--;
    d->ended = d->now;
    if (d->measuring)
        histogram_add(d->latency, d->now - slot->begun);
    atomic_store_explicit(&d->done, atomic_load_explicit(&d->done, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (!d->open && next_round(d, slot->worker))
        (void)begin(d, slot, d->now); /* a failure is found in d->failed */
    else
        rest(d, slot);
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* A reply that is too long under way. Seldom: there may be very many slots. */
static int look_for_silence(struct driver *d)
{
    d->next_look = d->now + NS_PER_SEC;
    for (uint32_t i = 0; d->busy && i < d->slots_n; i++) {
        const struct slot *s = &d->slots[i];
        uint64_t most = ANSWER_NS;

        if (s->state == SLOT_IDLE)
            continue;
        if (s->state != SLOT_RELEASING)
            most += d->s->timeout * NS_PER_SEC;
        if (d->now - s->asked > most)
            return driver_fail(d, EXIT_BROKEN,
                               "worker %" PRIu32 ": key %s at %s: no answer for "
                               "%.0f s",
                               s->worker->id, s->key->name, s->link->address,
                               (double)(d->now - s->asked) * 1e-9);
    }
    return 0;
}

/* What has to be looked at now and then. */
static int tick(struct driver *d)
{
    d->next_tick = d->now + TICK_MS * NS_PER_MS;
    if (d->tell)
        d->tell(d->tell_arg);
    for (uint32_t i = 0; i < d->dialled; i++) {
        struct link *l = &d->links[i];
        int err = 0;

        if (!l->up && d->now - l->used > ANSWER_NS && link_timeout_ms(l) < 0)
            return driver_fail(d, EXIT_UNREACHABLE, "%s: connected, but no answer for %.0f s",
                               l->address, (double)(d->now - l->used) * 1e-9);
        else if (!l->up)
            err = serve(d, l);
        else if (l->n == 0 && d->now - l->used > IDLE_NS)
            err = ask(d, l, NULL, "ping", "", "");
        else if (l->n > 0 && l->asked[l->first & l->mask] == NULL && d->now - l->used > ANSWER_NS)
            return driver_fail(d, EXIT_BROKEN, "%s: no answer to a ping for %.0f s", l->address,
                               (double)(d->now - l->used) * 1e-9);
        if (err)
            return err;
    }
    return d->now < d->next_look ? 0 : look_for_silence(d);
}

static int wait_and_serve(struct driver *d)
{
    struct epoll_event got[EVENTS];
    bool behind = d->open && d->idle && !all_begun(d) && due(d) <= d->now;
    int n = epoll_wait(d->epfd, got, EVENTS, behind ? 0 : TICK_MS), err = 0;
    uint64_t expirations;

    if (n < 0 && errno != EINTR)
        return driver_fail(d, EXIT_BROKEN, "epoll_wait: %s", strerror(errno));
    for (int i = 0; i < n && !err; i++)
        if (got[i].data.ptr)
            err = serve(d, got[i].data.ptr);
        else
            (void)!read(d->timerfd, &expirations, sizeof(expirations));
    d->now = clock_boottime_ns();
    if (!err && d->now >= d->next_tick)
        err = tick(d);
    return err ? err : d->failed;
}

/* Nothing is under way, or nobody waits for it any more. */
static bool over(struct driver *d)
{
    int stop = atomic_load_explicit(d->stop, memory_order_relaxed);

    if (stop == STOP_FAILED || (stop && d->dialling))
        return true;
    return !d->busy && !d->dialling && (!d->open || all_begun(d));
}

static int drive(struct driver *d)
{
    int err = 0;

    for (;;) {
        if (d->open)
            err = begin_due(d);
        if (!err)
            err = send_all(d);
        if (err || over(d))
            return err;
        err = wait_and_serve(d);
        if (!err)
            err = dial_more(d);
        if (err)
            return err;
    }
}

int driver_dial(struct driver *d)
{
    int err;

    d->now = clock_boottime_ns();
    err = dial_more(d);
    return err ? err : drive(d);
}

/* Closed loop: as many rounds of each worker, or for the duration. */
static int go_round(struct driver *d, uint64_t rounds)
{
    int err = 0;

    d->open = false;
    d->now = d->began = clock_boottime_ns();
    for (uint32_t i = 0; i < d->workers_n; i++)
        d->workers[i].left = rounds;
    for (uint32_t i = 0; i < d->slots_n && !err; i++)
        if (next_round(d, d->slots[i].worker))
            err = begin(d, &d->slots[i], d->now);
    return err ? err : drive(d);
}

int driver_warm_up(struct driver *d)
{
    d->measuring = false;
    return go_round(d, d->s->warmup * d->s->pipeline);
}

int driver_measure(struct driver *d)
{
    d->measuring = true;
    d->requests = 0;
    atomic_store(&d->done, 0);
    if (d->s->rate == 0)
        return go_round(d, d->s->rounds);
    d->open = true;
    d->period = 1e9 / d->s->rate * d->s->workers / d->workers_n;
    d->due_n = 0;
    d->due_most = d->s->duration ? UINT64_MAX : d->s->rounds * d->workers_n;
    d->timer_at = 0;
    d->idle = NULL;
    d->idle_end = &d->idle;
    for (uint32_t i = 0; i < d->slots_n; i++)
        rest(d, &d->slots[i]);
    d->now = d->began = clock_boottime_ns();
    return drive(d);
}
