/*
 * http/link.c - see link.h. Runs in the HTTP worker.
 *
 * libevent makes the connection itself, right after it has asked for a bufferevent; what it has made
 * is known a moment later, before anything is read: the argument of the bufferevent's callbacks is
 * the connection.
 */
#include "http/link.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/point.h"
#include "http/call.h"
#include "http/guard.h"
#include "http/http.h"
#include "http/linger.h"
#include "http/memory.h"
#include "http/metrics.h"
#include "http/secure.h"
#include "net/stream.h"
#include "net/tls.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum { PIECES = 8 };

struct links {
    struct link *first[LINK_PHASES], *tail[LINK_PHASES];
    struct link **by_fd;
    size_t room;         /* of by_fd */
    struct event *soon;  /* LINK_NEW and LINK_CLOSING */
    struct event *ended; /* of those watched, by epfd */
    int epfd;
    bool missed; /* one that waits could not be watched */
};

/* ---- phases ---- */

static void unlist(struct link *l)
{
    struct links *all = l->h->links;

    if (l->prev)
        l->prev->next = l->next;
    else
        all->first[l->phase] = l->next;
    if (l->next)
        l->next->prev = l->prev;
    else
        all->tail[l->phase] = l->prev;
}

static void list(struct link *l, enum link_phase phase)
{
    struct links *all = l->h->links;

    l->phase = phase;
    l->since = clock_boottime_ns();
    l->next = NULL;
    l->prev = all->tail[phase];
    if (l->prev)
        l->prev->next = l;
    else
        all->first[phase] = l;
    all->tail[phase] = l;
}

static void enter(struct link *l, enum link_phase phase)
{
    unlist(l);
    list(l, phase);
}

static void close_soon(struct link *l)
{
    enter(l, LINK_CLOSING);
    event_active(l->h->links->soon, EV_TIMEOUT, 0);
}

/* ---- its end ---- */

static void forget(struct link *l)
{
    unlist(l);
    free(l);
}

static void unwatch(struct link *l)
{
    if (l->watched)
        SYS(HTTP_LINK_UNWATCH, epoll_ctl(l->h->links->epfd, EPOLL_CTL_DEL, l->fd, NULL));
    l->watched = false;
}

/* Known when the first bytes come, or at the connection's end. Who only looks whether the port is open
   has not begun one. */
static void count_handshake(struct link *l)
{
    int far;

    if (!l->tls || l->shaken)
        return;
    far = secure_handshake(l->b);
    l->shaken = true;
    if (far != TLS_NOT_BEGUN)
        metrics_handshake(l->h, far == TLS_DONE);
}

static void bytes_came(struct evbuffer *in, const struct evbuffer_cb_info *info, void *arg);
static void bytes_went(struct evbuffer *out, const struct evbuffer_cb_info *info, void *arg);

/* libevent closes the connection, for whatever reason. A request that is being answered is freed with
   it, or libevent has parted with it already. */
static void closes(struct evhttp_connection *conn, void *arg)
{
    struct link *l = arg;
    struct call *c = l->call;

    (void)conn;
    unwatch(l);
    l->h->links->by_fd[l->fd] = NULL;
    /* It may be in the middle of a write over TLS, and drains the buffer when the link is gone. */
    evbuffer_remove_cb(bufferevent_get_input(l->b), bytes_came, l);
    evbuffer_remove_cb(bufferevent_get_output(l->b), bytes_went, l);
    guard_disconnect(l->h, &l->from);
    owed_less(l->h, &l->owed, l->owed.left);
    count_handshake(l);
    if (l->tls)
        secure_goodbye(l->b);
    if (l->said)
        linger(l->h, l->b);
    if (c) {
        struct evhttp_request *req = c->req;
        bool ours = !evhttp_request_get_connection(req);

        l->call = NULL;
        call_client_left(c);
        if (ours)
            evhttp_request_free(req);
    }
    forget(l);
}

static void end_heard(evutil_socket_t epfd, short what, void *arg)
{
    struct http *h = arg;

    (void)epfd, (void)what;
    links_end(h);
}

/* It has only ended its side, and hears the answer. */
static bool half_closed(struct link *l, uint32_t events)
{
    struct epoll_event ev = {.data.ptr = l}; /* a reset is told in any case */

    if (events & (EPOLLERR | EPOLLHUP) || l->call->waits ||
        clock_boottime_ns() - l->call->began > LINK_HALF_NS)
        return false;
    return SYS(HTTP_LINK_HALF, epoll_ctl(l->h->links->epfd, EPOLL_CTL_MOD, l->fd, &ev)) == 0;
}

void links_end(struct http *h)
{
    struct epoll_event ev;

    /* One at a time: who leaves may cause another to be answered. */
    while (SYS(HTTP_LINK_ENDED, epoll_wait(h->links->epfd, &ev, 1, 0)) == 1) {
        struct link *l = ev.data.ptr;

        if (!half_closed(l, ev.events))
            evhttp_connection_free(l->conn);
    }
}

bool link_has_left(const struct link *l)
{
    struct pollfd p = {.fd = l->fd, .events = POLLRDHUP};

    return SYS(HTTP_LINK_LOOK, poll(&p, 1, 0)) == 1;
}

void link_end(struct link *l)
{
    evhttp_connection_free(l->conn);
}

/* ---- what comes and goes ---- */

/* The head of a request, in the bytes from `from` on. */
static void read_head(struct link *l, struct evbuffer *in, size_t from)
{
    size_t length = evbuffer_get_length(in);
    struct evbuffer_iovec piece[PIECES];
    struct evbuffer_ptr at;

    while (from < length && !l->head.ended) {
        int n;

        if (evbuffer_ptr_set(in, &at, from, EVBUFFER_PTR_SET) != 0)
            return;
        n = evbuffer_peek(in, -1, &at, piece, PIECES);
        for (int i = 0; i < n && i < PIECES; i++) {
            framing_feed(&l->head, piece[i].iov_base, piece[i].iov_len);
            from += piece[i].iov_len;
        }
    }
    if (l->head.ended)
        enter(l, LINK_BODY);
}

static void begin_head(struct link *l)
{
    framing_begin(&l->head);
    enter(l, LINK_HEAD);
}

static void bytes_came(struct evbuffer *in, const struct evbuffer_cb_info *info, void *arg)
{
    struct link *l = arg;

    if (info->n_added == 0)
        return;
    l->h->heard++;
    count_handshake(l);
    if (l->phase == LINK_IDLE)
        begin_head(l);
    if (l->phase == LINK_HEAD)
        read_head(l, in, evbuffer_get_length(in) - info->n_added);
}

static void bytes_went(struct evbuffer *out, const struct evbuffer_cb_info *info, void *arg)
{
    struct link *l = arg;

    (void)out;
    if (info->n_deleted == 0)
        return;
    if (l->phase == LINK_ANSWER) {
        enter(l, LINK_ANSWER);
        l->unacked = -1; /* not looked at */
        owed_less(l->h, &l->owed, info->n_deleted);
        if (owed_too_long(l->h, &l->owed, l->since))
            close_soon(l);
    } else if (l->phase == LINK_HEAD || l->phase == LINK_BODY) {
        l->said = true; /* libevent, in its own words: see framing.h */
    }
}

/* The answer is written. Behind the request there may be others already. */
static void answered(struct evhttp_request *req, void *arg)
{
    struct link *l = arg;
    struct evbuffer *in = bufferevent_get_input(l->b);

    (void)req;
    if (l->phase != LINK_ANSWER)
        return; /* it is to be closed */
    l->said = l->last || evbuffer_get_length(in) > 0;
    if (l->last) {
        evbuffer_drain(in, evbuffer_get_length(in));
        close_soon(l);
    } else if (evbuffer_get_length(in) > 0) {
        begin_head(l);
        read_head(l, in, 0);
    } else {
        enter(l, LINK_IDLE);
    }
}

/* ---- its beginning ---- */

bool link_expect(struct http *h, struct bufferevent *b, bool tls)
{
    struct link *l = calloc(1, sizeof(*l));

    if (!l)
        return false;
    l->h = h;
    l->b = b;
    l->tls = tls;
    h->heard++;
    bufferevent_incref(b); /* libevent may think better of it */
    list(l, LINK_NEW);
    event_active(h->links->soon, EV_TIMEOUT, 0);
    return true;
}

static bool make_room(struct links *all, size_t fd)
{
    size_t room = all->room ? all->room : 64;
    struct link **more;

    while (room <= fd)
        room *= 2;
    if (room == all->room)
        return true;
    more = realloc(all->by_fd, room * sizeof(struct link *));
    if (!more)
        return false;
    memset(more + all->room, 0, (room - all->room) * sizeof(struct link *));
    all->by_fd = more;
    all->room = room;
    return true;
}

static bool find_address(struct link *l)
{
    struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(ss);

    if (SYS(HTTP_LINK_PEER, getpeername(l->fd, (struct sockaddr *)&ss, &len)) != 0)
        return false; /* it has left already */
    address_from(&ss, &l->from);
    return true;
}

static bool admit(struct link *l)
{
    char text[64];

    if (!find_address(l))
        return false;
    if (!guard_connect(l->h, &l->from)) {
        metrics_refused(l->h);
        log_warn("connection refused", log_str("limit", "http-max-connections-per-ip"),
                 log_int("max", l->h->settings->http_max_connections_per_ip),
                 log_str("peer", link_peer_text(l, text, sizeof(text))));
        return false;
    }
    if (l->from.family != AF_UNIX)
        stream_tune(l->fd);
    if (make_room(l->h->links, (size_t)l->fd) &&
        evbuffer_add_cb(bufferevent_get_input(l->b), bytes_came, l) &&
        evbuffer_add_cb(bufferevent_get_output(l->b), bytes_went, l))
        return true;
    log_error("no memory for a connection");
    guard_disconnect(l->h, &l->from);
    return false;
}

static void begin(struct link *l)
{
    struct bufferevent *b = l->b;
    void *conn = NULL;

    bufferevent_getcb(b, NULL, NULL, NULL, &conn);
    l->conn = conn;
    l->fd = conn ? bufferevent_getfd(b) : -1;
    if (l->fd < 0) {
        forget(l); /* libevent could not serve it, and has closed it */
    } else if (!admit(l)) {
        forget(l);
        evhttp_connection_free(conn);
    } else {
        l->h->links->by_fd[l->fd] = l;
        evhttp_connection_set_closecb(l->conn, closes, l);
        begin_head(l);
    }
    bufferevent_decref(b);
}

static void soon(evutil_socket_t fd, short what, void *arg)
{
    struct links *all = ((struct http *)arg)->links;

    (void)fd, (void)what;
    while (all->first[LINK_NEW])
        begin(all->first[LINK_NEW]);
    while (all->first[LINK_CLOSING])
        evhttp_connection_free(all->first[LINK_CLOSING]->conn);
}

int links_init(struct http *h)
{
    struct links *all = calloc(1, sizeof(*all));

    h->links = all;
    if (!all)
        return -ENOMEM;
    all->epfd = SYS(HTTP_LINKS, epoll_create1(EPOLL_CLOEXEC));
    if (all->epfd < 0)
        return -errno;
    all->soon = evtimer_new(h->base, soon, h);
    all->ended = event_new(h->base, all->epfd, EV_READ | EV_PERSIST, end_heard, h);
    return all->soon && all->ended && event_add(all->ended, NULL) == 0 ? 0 : -ENOMEM;
}

/* ---- calls ---- */

struct link *link_of(const struct http *h, struct evhttp_connection *conn)
{
    int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(conn));

    return fd >= 0 && (size_t)fd < h->links->room ? h->links->by_fd[fd] : NULL;
}

void link_serves(struct link *l, struct call *c)
{
    POINT(HTTP_REQUEST);
    l->call = c;
    l->said = false;
    enter(l, LINK_CALL);
    evhttp_request_set_on_complete_cb(c->req, answered, l);
}

void link_waits(struct http *h, int fd)
{
    struct link *l = h->links->by_fd[fd];
    struct epoll_event ev = {.events = EPOLLRDHUP, .data.ptr = l};

    if (!l || !l->call)
        return;
    l->watched = SYS(HTTP_LINK_WATCH, epoll_ctl(h->links->epfd, EPOLL_CTL_ADD, fd, &ev)) == 0;
    if (l->watched)
        return;
    h->links->missed = true;
    log_warn("a connection cannot be watched, will try again", log_err("error", -errno));
}

/* Or it would be noticed late that a client has left. */
static void watch_missed(struct http *h)
{
    h->links->missed = false;
    for (struct link *l = h->links->first[LINK_CALL]; l; l = l->next)
        if (!l->watched)
            link_waits(h, l->fd);
}

void link_served(struct link *l)
{
    l->call = NULL;
    l->starved = memory_missed();
    unwatch(l);
    enter(l, LINK_ANSWER);
}

void link_send(struct link *l, struct evhttp_request *req, int status, const char *reason,
               struct evbuffer *body, bool lent)
{
    struct links *all = l->h->links;
    int fd = l->fd;

    POINT(HTTP_ANSWER);
    evhttp_send_reply(req, status, reason, body);
    /* libevent would read on while it writes: without a bound, and a FIN would end the answer. It
       begins to read again by itself. Over TLS the connection may be gone by now, or all written. */
    if (all->by_fd[fd] != l || l->phase != LINK_ANSWER)
        return;
    if (memory_missed() != l->starved) {
        /* It would be sent without what there was no memory for, be it the status line. */
        log_error("no memory for an answer, its connection ends without it");
        bufferevent_disable(l->b, EV_READ | EV_WRITE);
        close_soon(l);
        return;
    }
    bufferevent_disable(l->b, EV_READ);
    owed_begin(l->h, &l->owed, evbuffer_get_length(bufferevent_get_output(l->b)), !lent);
}

void link_last(struct link *l)
{
    l->last = true;
}

/* ---- deadlines ---- */

/* libevent has not written for a while, but the peer's kernel may have taken what the socket had. */
static bool moves(struct link *l, uint64_t now)
{
    int before = l->unacked;

    if (l->phase != LINK_ANSWER || owed_too_long(l->h, &l->owed, now))
        return false;
    l->unacked = stream_unacked(l->fd);
    return l->unacked != before;
}

static void end_overdue(struct links *all, enum link_phase phase, uint64_t limit, uint64_t now)
{
    struct link *l;

    while (limit && (l = all->first[phase]) != NULL && now > l->since && now - l->since >= limit)
        if (moves(l, now))
            enter(l, phase);
        else
            evhttp_connection_free(l->conn);
}

/* There is more to be read than may be. What was lent is freed with the last of its readers, so
   some more of them may be ended now than is needed, or in the next tick. */
static void end_slow(struct http *h, uint64_t now)
{
    uint64_t ended = 0;

    for (struct link *l = h->links->first[LINK_ANSWER], *next; l; l = next) {
        next = l->next;
        if (h->unread <= OWED_MAX + ended)
            return;
        if (!owed_slow(&l->owed, now))
            continue;
        ended += l->owed.own ? 0 : l->owed.left;
        log_warn("too much of answers is unread, one that is read slowly is given up",
                 log_uint("unread", h->unread), log_uint("left", l->owed.left));
        evhttp_connection_free(l->conn);
    }
}

void links_tick(struct http *h)
{
    uint64_t now = clock_boottime_ns();

    if (h->links->missed)
        watch_missed(h);
    if (owed_crowded(h))
        end_slow(h, now);

    end_overdue(h->links, LINK_HEAD, LINK_HEAD_NS, now);
    end_overdue(h->links, LINK_BODY, seconds_to_ns(h->settings->read_timeout), now);
    end_overdue(h->links, LINK_ANSWER, seconds_to_ns(h->settings->write_timeout), now);
    end_overdue(h->links, LINK_IDLE, LINK_IDLE_NS, now);
}

static void read_again(struct link *l)
{
    for (; l; l = l->next)
        bufferevent_trigger(l->b, EV_READ, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

void links_read_again(struct http *h)
{
    read_again(h->links->first[LINK_HEAD]);
    read_again(h->links->first[LINK_BODY]);
}

bool links_writing(const struct http *h)
{
    return h->links->first[LINK_ANSWER] != NULL;
}

const char *link_peer_text(const struct link *l, char *buf, size_t n)
{
    struct conn c = {.family = l->from.family, .port = l->from.port};

    memcpy(c.addr, l->from.addr, sizeof(c.addr));
    return conns_peer_text(&c, buf, n);
}
