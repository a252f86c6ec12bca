/*
 * http/process.c - the life of the HTTP worker. See http.h.
 *
 * A turn: sleep in libevent until something happens or half a second has passed; then, without
 * sleeping, all that has come by now; grants made by others; what is due. libevent does not say when
 * a sleep ends and serving begins, so a beat is given when a pass is over: see serving/silence.h.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/point.h"
#include "config/exitcode.h"
#include "core/leases.h"
#include "http/calls.h"
#include "http/guard.h"
#include "http/http.h"
#include "http/linger.h"
#include "http/link.h"
#include "http/metrics.h"
#include "http/polls.h"
#include "http/server.h"
#include "http/sessions.h"
#include "http/tasks.h"
#include "net/listen.h"
#include "net/pass.h"
#include "serving/newsettings.h"
#include "serving/repairs.h"
#include "serving/sandbox.h"
#include "serving/silence.h"
#include "shm/bell.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { MESSAGES_A_TURN = 16 };

#define ANSWERS_NS (500 * NS_PER_MS)
#define TICK_NS (250 * NS_PER_MS)
#define SERVE_NS (5 * NS_PER_MS) /* then grants are delivered, whatever comes */
#define SLEEP_NS (400 * NS_PER_MS) /* below a second, or the next beat would count as a silence */

/* ---- the master ---- */

static void master_speaks(evutil_socket_t fd, short what, void *arg);

static bool watch(struct http *h, struct event **e, int fd, event_callback_fn call)
{
    *e = event_new(h->base, fd, EV_READ | EV_PERSIST, call, h);
    return *e && event_add(*e, NULL) == 0;
}

static void unwatch(struct event **e)
{
    if (*e)
        event_free(*e);
    *e = NULL;
}

/* A new master is at the rendezvous. */
static void somebody_calls(evutil_socket_t rendezvous, short what, void *arg)
{
    struct http *h = arg;
    int fd = lifeline_answer(&h->life);

    (void)rendezvous, (void)what;
    if (fd < 0)
        return;
    unwatch(&h->channel);
    if (watch(h, &h->channel, fd, master_speaks))
        return;
    log_error("a new master cannot be listened to");
    lifeline_hang_up(&h->life);
    h->leaves = true; /* what is left to it would be to serve for ever */
}

static void master_is_gone(struct http *h)
{
    unwatch(&h->channel);
    if (!lifeline_lost(&h->life)) {
        h->leaves = true;
        return;
    }
    if (!watch(h, &h->channel, h->heritage->rendezvous, somebody_calls)) {
        log_error("the master is gone, and another one cannot be listened to: this worker ends");
        h->leaves = true;
        return;
    }
    log_warn("the master is gone, serving on");
}

static void master_speaks(evutil_socket_t fd, short what, void *arg)
{
    struct http *h = arg;

    (void)fd, (void)what;
    for (unsigned i = 0; i < MESSAGES_A_TURN; i++) {
        struct channel_message m = {0};
        int passed;
        ssize_t n = pass_recv(h->life.channel, &m, sizeof(m), &passed);

        if (n == -EAGAIN)
            return;
        if (pass_recv_again(n)) {
            log_error("the master cannot be heard, will try again", log_err("error", (int)n));
            return;
        }
        if (n == 0 || (n < 0 && n != -EMFILE)) {
            master_is_gone(h);
            return;
        }
        if (m.type == CHANNEL_LEAVE) {
            h->leaves = true;
        } else if (m.type == CHANNEL_SETTINGS) {
            h->new_settings = passed > 0 ? passed : 0; /* without it: it will be replaced */
            h->new_generation = (uint32_t)m.id;
        }
    }
}

/* All listeners at once: there are not more than a message takes. */
static unsigned show_listeners(void *arg, uint32_t *next, uint32_t *slot, int *fd)
{
    struct http *h = arg;
    unsigned n = 0;

    _Static_assert((int)LISTEN_MAX <= (int)CHANNEL_SLOTS, "one message");
    for (; *next == 1 && n < h->heritage->nlisteners; n++) {
        slot[n] = HERITAGE_LISTENER;
        fd[n] = h->heritage->listener[n];
    }
    *next = 2;
    return n;
}

/* ---- settings ---- */

static void take_new_settings(struct http *h)
{
    struct settings *s = malloc(sizeof(*s));
    struct served *all = newsettings_read(h->new_settings);

    h->new_settings = 0;
    if (s && all && server_use_tls(h, &all->tls_files) == 0) {
        *s = all->settings;
        POINT(HTTP_SETTINGS);
        h->settings = s;
        free(h->own_settings);
        h->own_settings = s;
        log_init(s->log_format, s->log_level);
        __atomic_store_n(&h->sh.slot->configured, h->new_generation, __ATOMIC_RELEASE);
    } else {
        log_error("new settings cannot be used, this worker will be replaced");
        free(s);
    }
    newsettings_free(all);
}

/* ---- turns ---- */

static void bell_heard(evutil_socket_t fd, short what, void *arg)
{
    uint64_t rings;

    (void)what, (void)arg;
    if (SYS(HTTP_BELL_READ, read(fd, &rings, sizeof(rings))) < 0 && errno != EAGAIN)
        log_error("bell cannot be read", log_err("error", -errno));
}

static void nothing(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg; /* the sleep is over */
}

static void sleep_until_something(struct http *h)
{
    struct timeval most = {.tv_usec = SLEEP_NS / 1000};

    if (!bell_park(h->r, h->sh.worker))
        return;
    evtimer_add(h->nudge, &most);
    event_base_loop(h->base, EVLOOP_ONCE);
    bell_unpark(h->r, h->sh.worker);
}

static void notice_drain(struct http *h)
{
    if (h->draining || !__atomic_load_n(&h->r->draining, __ATOMIC_RELAXED))
        return;
    h->draining = true;
    polls_drain(h);
}

static void notice_fences(struct http *h)
{
    uint32_t turn = __atomic_load_n(&h->r->fences_turn, __ATOMIC_ACQUIRE);

    if (turn == h->fences_turn)
        return;
    h->fences_turn = turn;
    polls_fences(h);
}

/*
 * Ends what has had its time. What a silence since the turn began kept from coming is not held against
 * anybody: the next turn finds the gap. It is not put off twice, or slow turns could go on for ever.
 */
static void tick(struct http *h, uint64_t began)
{
    if (h->now < h->next_tick)
        return;
    h->tick_waits = h->now - began > SILENCE_HANG_NS && !h->tick_waits;
    if (h->tick_waits)
        return;
    h->next_tick = h->now + TICK_NS;
    sessions_tick(h);
    polls_tick(h);
    guard_tick(h);
    links_tick(h);
    server_tick(h);
}

/*
 * Serves what has come. One pass of libevent takes what one look at the sockets shows it, and by
 * itself it would go on for as long as more comes. False: it goes on coming, in the next turn.
 */
static bool serve_all(struct http *h, uint64_t until)
{
    for (;;) {
        uint64_t before = h->heard;

        event_base_loop(h->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        if (h->heard == before)
            return true;
        if (clock_boottime_ns() >= until)
            return false;
    }
}

/* Returns whether there is more to do at once. */
static bool turn(struct http *h)
{
    bool marked = silence_marked(&h->sh), busy, all;
    uint64_t began, gap;

    began = h->now = clock_boottime_ns();
    notice_drain(h); /* before requests are served that came after it began */
    all = serve_all(h, began + SERVE_NS);
    gap = silence_served(&h->sh, began, marked && all);
    if (gap) {
        log_warn("did not run for a while", log_ms("gap", gap));
        sessions_extend(h, gap);
        silence_over(&h->sh);
    }
    h->now = clock_boottime_ns();
    server_mend(h);
    links_end(h);
    polls_deliver(h, bell_drain(h->r, h->sh.worker));
    notice_fences(h);
    tick(h, began);
    linger_turn(h);
    busy = !all;
    busy |= sessions_turn(h);
    busy |= tasks_turn(h);
    if (lifeline_telling(&h->life))
        lifeline_tell(&h->life, show_listeners, h);
    silence_ring(&h->sh);
    repairs_log(&h->sh);
    if (h->new_settings)
        take_new_settings(h);
    return busy;
}

/* ---- start ---- */

/* Watches that go and come again between two sleeps, as they do around each answer, cost no call. */
static struct event_base *make_base(void)
{
    struct event_config *config;
    struct event_base *base = NULL;

    server_prepare();
    config = event_config_new();
    if (config && event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) == 0)
        base = event_base_new_with_config(config);
    if (config)
        event_config_free(config);
    return base;
}

static int prepare(struct http *h, const struct heritage *heritage)
{
    int err, landlock;

    point_http();
    h->heritage = heritage;
    h->settings = heritage->settings;
    h->r = heritage->region;
    h->now = clock_boottime_ns();
    shared_attach(&h->sh, h->r, heritage->worker);
    lifeline_init(&h->life, heritage);
    usage_init(&h->usage);
    metrics_init(h);
    h->base = make_base();
    h->efd = SYS(HTTP_EVENTFD, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!h->base || h->efd < 0)
        return -ENOMEM;
    h->nudge = evtimer_new(h->base, nothing, h);
    if (!h->nudge || !watch(h, &h->bell, h->efd, bell_heard) ||
        !watch(h, &h->channel, h->life.channel, master_speaks))
        return -ENOMEM;
    err = tasks_init(h);
    if (!err)
        err = sessions_init(h);
    if (!err)
        err = guard_init(h);
    if (!err)
        err = links_init(h);
    if (!err)
        err = linger_init(h);
    if (!err)
        err = server_use_tls(h, heritage->tls_files);
    if (err)
        return err;
    landlock = sandbox_start();
    err = bell_start_thread(h->r, heritage->worker, h->efd);
    if (!err)
        err = sandbox_seal(landlock, http_calls, http_ncalls);
    return err ? err : server_start(h);
}

/* What the last HTTP worker left; the first finds nothing. */
static void take_over(struct http *h)
{
    uint64_t down = __atomic_load_n(&h->r->down_since[h->sh.worker], __ATOMIC_ACQUIRE);
    uint64_t gap = 0;

    shared_recover(&h->sh);
    POINT(HTTP_RECOVERED);
    bell_unpark(h->r, h->sh.worker);
    h->now = clock_boottime_ns();
    if (down && h->now > down)
        gap = h->now - down < LEASES_GRACE_NS ? h->now - down : LEASES_GRACE_NS;
    sessions_take_over(h, gap);
    silence_over(&h->sh);
    POINT(HTTP_ADOPTED);
    polls_deliver(h, UINT64_MAX);
    h->sh.slot->suspect = 0;
    h->sh.slot->settled = h->sh.slot->generation;
    POINT(HTTP_SETTLED);
    if (down)
        log_audit("took over", log_uint("sessions", h->r->nsessions), log_ms("gap", gap));
}

/* The last answers, such as those that say that the server is ending; nothing more is served. Who does
   not read them is not waited for. */
static void finish_answers(struct http *h)
{
    uint64_t until = clock_boottime_ns() + ANSWERS_NS;
    struct timeval step = {.tv_usec = 10000};

    while (links_writing(h) && clock_boottime_ns() < until) {
        evtimer_add(h->nudge, &step);
        event_base_loop(h->base, EVLOOP_ONCE);
    }
}

int http_run(const struct heritage *heritage)
{
    static struct http http;
    struct http *h = &http;
    int err = prepare(h, heritage);
    bool busy = false;

    if (err) {
        log_error("HTTP worker cannot start", log_err("error", err));
        return EXITCODE_FAIL;
    }
    take_over(h);
    while (!h->leaves) {
        if (!busy)
            sleep_until_something(h);
        busy = turn(h);
    }
    finish_answers(h);
    return EXITCODE_OK;
}
