/*
 * tests/bench/loadrun.c - a thread of the load client: its event loop.
 *
 * As light as can be, for it shares the machine with the server that it measures: an event is one
 * recv(), one look at the clock, one send() for all that the replies lead to, and no memory is
 * allocated. Edge-triggered, or the kernel would look at each socket once more in vain; over TLS
 * not, for to see that the socket is empty would need one more recv().
 */
#include "load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

enum { EVENTS = 256 };

#define NS_PER_SEC UINT64_C(1000000000)
#define LAST_WAIT (5 * NS_PER_SEC) /* for the replies that are under way when the time is over */

uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

void runner_error(struct runner *r, const char *fmt, ...)
{
    va_list ap;

    if (r->errors++ > 0)
        return;
    va_start(ap, fmt);
    vsnprintf(r->complaint, sizeof(r->complaint), fmt, ap);
    va_end(ap);
}

/* --- connections */

static void watch(struct runner *r, struct conn *c)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = c};

    if (!c->ssl)
        ev.events |= EPOLLET;
    if (c->unsent && link_full(c))
        ev.events |= EPOLLOUT;
    if (epoll_ctl(r->epfd, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &ev) < 0)
        runner_error(r, "epoll_ctl: %s", strerror(errno));
    c->watched = true;
}

static void leave(struct conn *c)
{
    link_close(c);
    free(c->unsent);
    c->unsent = NULL;
    c->watched = false;
    c->kept = 0;
}

/* One that the server has ended; its replies will not come. */
static void lose(struct runner *r, struct conn *c)
{
    runner_error(r, "connection %u: ended by the server: %s", c->index,
                 errno ? strerror(errno) : "closed");
    r->errors += c->under_way;
    r->under_way -= c->under_way;
    r->live--;
    leave(c);
}

bool runner_connect(struct runner *r)
{
    r->epfd = epoll_create1(EPOLL_CLOEXEC);
    r->live = r->nconns;
    for (unsigned i = 0; i < r->nconns && !r->plan->work->once; i++) {
        if (!link_open(&r->conn[i], r->plan, true)) {
            fprintf(stderr,
                    "load: connection %u: %s; does the server run, and may it have that many?\n",
                    r->conn[i].index, strerror(errno));
            return false;
        }
        watch(r, &r->conn[i]);
    }
    return true;
}

/* --- bytes out */

void runner_ask(struct runner *r, struct conn *c, const char *request, size_t n)
{
    memcpy(r->out + r->out_n, request, n);
    r->out_n += n;
    c->under_way++;
    r->under_way++;
}

/* Room for all requests that a connection can have under way, and one. */
static size_t out_room(const struct plan *plan)
{
    return ((size_t)plan->depth + 1) * LOAD_REQUEST_MAX;
}

/* Keeps what the socket did not take until it does. */
static void keep(struct runner *r, struct conn *c, const char *bytes, size_t n)
{
    if (!c->unsent) {
        c->unsent = malloc(out_room(r->plan));
        c->unsent_n = 0;
        if (!c->unsent)
            abort();
        if (c->watched)
            watch(r, c);
    }
    memcpy(c->unsent + c->unsent_n, bytes, n);
    c->unsent_n += n;
}

/* False when the connection has ended. */
static bool send_kept(struct runner *r, struct conn *c)
{
    ssize_t n = link_send(c, c->unsent, c->unsent_n);

    if (n < 0)
        return false;
    c->unsent_n -= (size_t)n;
    memmove(c->unsent, c->unsent + n, c->unsent_n);
    if (c->unsent_n == 0) {
        free(c->unsent);
        c->unsent = NULL;
    }
    watch(r, c);
    return true;
}

static bool send_out(struct runner *r, struct conn *c)
{
    size_t n = r->out_n;
    ssize_t sent;

    if (n == 0)
        return true;
    r->out_n = 0;
    sent = c->unsent ? 0 : link_send(c, r->out, n);
    if (sent < 0)
        return false;
    if ((size_t)sent < n)
        keep(r, c, r->out + sent, n - (size_t)sent);
    return true;
}

/* --- lines in */

/* The n bytes of r->in. False when they are more than a reply can be. */
static bool read_lines(struct runner *r, struct conn *c, size_t n, uint64_t now)
{
    char *at = r->in, *end = r->in + n, *lf;

    while ((lf = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        if (c->under_way == 0) {
            runner_error(r, "connection %u: a reply too many: %.*s", c->index, (int)(lf - at), at);
        } else {
            c->under_way--;
            r->under_way--;
            r->plan->work->reply(r, c, at, (size_t)(lf - at), now);
        }
        at = lf + 1;
    }
    c->kept = (uint8_t)(end - at);
    if (end - at > LOAD_REPLY_MAX)
        return false;
    memcpy(c->rest, at, c->kept);
    r->ended = now;
    return true;
}

/* In the place of one that has had its say. `now` counts as its beginning. */
static void replace(struct runner *r, struct conn *c)
{
    uint64_t now = now_ns();

    if (c->fd >= 0)
        leave(c);
    c->leaves = false;
    if (r->stopping) {
        r->live--;
        return;
    }
    if (!link_open(c, r->plan, false)) {
        runner_error(r, "connection %u: %s", c->index, strerror(errno));
        r->live--;
        return;
    }
    r->plan->work->ask(r, c, now);
    if (send_out(r, c))
        watch(r, c);
    else
        lose(r, c);
}

static void handle(struct runner *r, struct conn *c, uint32_t events)
{
    bool ends = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR), more;

    errno = 0;
    if (c->unsent && !send_kept(r, c)) {
        lose(r, c);
        return;
    }
    do {
        size_t room = sizeof(r->in) - c->kept;
        ssize_t n;
        uint64_t now;

        memcpy(r->in, c->rest, c->kept);
        n = link_recv(c, r->in + c->kept, room);
        if (n == 0)
            return;
        now = now_ns();
        if (n > 0 && !read_lines(r, c, c->kept + (size_t)n, now))
            n = -1;
        if (n > 0 && !c->leaves)
            r->plan->work->ask(r, c, now);
        if (n < 0 || !send_out(r, c)) {
            lose(r, c);
            return;
        }
        if (c->leaves) {
            replace(r, c);
            return;
        }
        /* Less than there was room for was all that there was, unless an end lies behind it. */
        more = (size_t)n == room || ends || link_more(c);
    } while (more);
}

/* --- the loop */

/* Open loop: each request that has become due is owed by the next connection in turn. */
static void make_due(struct runner *r, uint64_t now)
{
    while (r->began + r->due * r->interval <= now) {
        struct conn *c = &r->conn[r->due++ % r->nconns];

        if (c->fd < 0)
            continue;
        c->owed++;
        r->plan->work->ask(r, c, now);
        if (!send_out(r, c))
            lose(r, c);
    }
}

static void ask_all(struct runner *r, uint64_t now)
{
    for (unsigned i = 0; i < r->nconns; i++) {
        struct conn *c = &r->conn[i];

        if (c->fd < 0)
            continue;
        r->plan->work->ask(r, c, now);
        if (!send_out(r, c))
            lose(r, c);
    }
}

static void begin(struct runner *r)
{
    r->began = r->ended = now_ns();
    if (r->plan->work->once)
        for (unsigned i = 0; i < r->nconns; i++)
            replace(r, &r->conn[i]);
    else if (r->interval == 0)
        ask_all(r, r->began);
}

/* Until something happens, a request becomes due, or the time is over. */
static int wait_for_events(struct runner *r, struct epoll_event *ev, uint64_t until, uint64_t now)
{
    struct timespec ts;

    if (r->interval > 0 && !r->stopping && r->began + r->due * r->interval < until)
        until = r->began + r->due * r->interval;
    until = until > now ? until - now : 0;
    ts.tv_sec = (time_t)(until / NS_PER_SEC);
    ts.tv_nsec = (long)(until % NS_PER_SEC);
    return epoll_pwait2(r->epfd, ev, EVENTS, &ts, NULL);
}

void runner_run(struct runner *r)
{
    struct epoll_event ev[EVENTS];
    uint64_t now, until;

    begin(r);
    until = r->began + (uint64_t)(r->plan->seconds * (double)NS_PER_SEC);
    while (r->live > 0) {
        now = now_ns();
        if (!r->stopping && now >= until) {
            r->stopping = true;
            until = now + LAST_WAIT;
            if (!r->plan->work->once)
                ask_all(r, now); /* locks that are held are released */
        }
        if (r->stopping && (r->under_way == 0 || now >= until))
            break;
        if (r->interval > 0 && !r->stopping)
            make_due(r, now);
        for (int i = 0, n = wait_for_events(r, ev, until, now); i < n; i++)
            handle(r, ev[i].data.ptr, ev[i].events);
    }
    if (r->under_way > 0) {
        runner_error(r, "%llu replies are missing", (unsigned long long)r->under_way);
        r->errors += r->under_way - 1;
    }
}
