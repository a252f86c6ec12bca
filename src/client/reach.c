/*
 * client/reach.c - see reach.h
 */
#include "client/reach.h"
#include "base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint64_t local_retry_ns = 10 * 1000 * 1000; /* a Unix socket whose queue is full */

/* ---- the plain transport -------------------------------------------------------------------- */

static ssize_t plain_read(struct transport *t, void *buf, size_t n, struct failure *f)
{
    ssize_t got;

    do
        got = recv(t->fd, buf, n, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got >= 0)
        return got;
    if (errno == EAGAIN) {
        t->wants = POLLIN;
        return TRANSPORT_AGAIN;
    }
    return failure_set(f, DFLOCK_ERR_CONNECT, "%s", error_errno(errno));
}

static ssize_t plain_write(struct transport *t, const void *buf, size_t n, struct failure *f)
{
    ssize_t sent;

    do
        sent = send(t->fd, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return sent;
    if (errno == EAGAIN) {
        t->wants = POLLOUT;
        return TRANSPORT_AGAIN;
    }
    return failure_set(f, DFLOCK_ERR_CONNECT, "%s", error_errno(errno));
}

static int plain_handshake(struct transport *t, struct failure *f)
{
    (void)t, (void)f;
    return 0;
}

static bool plain_pending(const struct transport *t)
{
    (void)t;
    return false;
}

static void plain_close(struct transport *t)
{
    (void)t;
}

const struct transport_ops transport_plain = {
    .read = plain_read,
    .write = plain_write,
    .handshake = plain_handshake,
    .pending = plain_pending,
    .close = plain_close,
};

/* ---- connecting ------------------------------------------------------------------------------ */

void reach_init(struct reach *r, const struct dflock_options *o)
{
    *r = (struct reach){.o = o, .t = {.fd = -1, .ops = &transport_plain}};
}

void reach_begin(struct reach *r, const struct addr *name, const struct addr_list *to, uint64_t now)
{
    r->name = name;
    r->to = to;
    r->at = 0;
    r->until = now + (uint64_t)(r->o->connect_timeout * 1e9);
    r->connected = false;
    failure_clear(&r->attempt);
}

void reach_close(struct reach *r, bool reset)
{
    const struct linger none = {.l_onoff = 1, .l_linger = 0};

    if (r->t.fd < 0)
        return;
    if (reset)
        (void)setsockopt(r->t.fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    r->t.ops->close(&r->t);
    r->t.ops = &transport_plain;
    (void)close(r->t.fd);
    r->t.fd = -1;
}

static void tune(int fd)
{
    int on = 1, idle = 15, interval = 5, count = 3;

    /* Unix sockets refuse some: then they do not need them. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

/* Sockets for the addresses in turn until one connects. 0 connected, TRANSPORT_AGAIN under way, or
 * failed. */
static int connect_step(struct reach *r, uint64_t now, struct failure *f)
{
    while (r->at < r->to->n) {
        const struct sockaddr *sa = (const struct sockaddr *)&r->to->at[r->at].addr;

        if (r->t.fd < 0) {
            uint64_t left = now < r->until ? r->until - now : 0;

            r->t.fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            if (r->t.fd < 0)
                return failure_set(f, DFLOCK_ERR_SYSTEM, "no socket: %s", error_errno(errno));
            r->attempt_until = now + left / (r->to->n - r->at);
        }
        /* Asked again, connect() says how the first call ended. */
        if (connect(r->t.fd, sa, r->to->at[r->at].len) == 0 || errno == EISCONN) {
            tune(r->t.fd);
            return 0;
        }
        if (errno == EINPROGRESS || errno == EALREADY || errno == EINTR || errno == EAGAIN) {
            r->t.wants = errno == EAGAIN ? 0 : POLLOUT;
            if (now < r->attempt_until || (r->at + 1 == r->to->n && now < r->until))
                return TRANSPORT_AGAIN;
            errno = ETIMEDOUT;
        }
        failure_clear(&r->attempt);
        failure_set(&r->attempt, DFLOCK_ERR_CONNECT, "%s", error_errno(errno));
        reach_close(r, false);
        r->at++;
    }
    if (r->to->n == 0)
        failure_set(&r->attempt, DFLOCK_ERR_CONNECT, "it has no address");
    return failure_set(f, r->attempt.code, "%s", r->attempt.text);
}

static int begin_tls(struct reach *r, struct failure *f)
{
    const char *name = r->o->tls_server_name;

    if (!r->o->tls)
        return 0;
    if (!name)
        name = r->name->local ? "localhost" : r->name->host;
    return tls_start(&r->t, r->o->tls, name, f);
}

int reach_step(struct reach *r, uint64_t now, struct failure *f)
{
    if (!r->connected) {
        int err = connect_step(r, now, f);

        if (err == 0)
            err = begin_tls(r, f);
        if (err)
            return err;
        r->connected = true;
    }
    return r->t.ops->handshake(&r->t, f);
}

uint64_t reach_deadline(const struct reach *r)
{
    if (r->connected)
        return r->until;
    if (r->t.fd < 0 || r->t.wants == 0)
        return clock_boottime_ns() + (r->t.fd < 0 ? 0 : local_retry_ns);
    return r->attempt_until;
}
