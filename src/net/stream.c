/*
 * net/stream.c - see stream.h. Runs in workers.
 */
#include "net/stream.h"

#include "base/point.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TCP_STATE_CLOSE_WAIT = 8, TCP_STATE_LAST_ACK = 9, TCP_STATE_CLOSING = 11,
       TCP_STATE_TIME_WAIT = 6, TCP_STATE_CLOSE = 7 };

enum { UNSENT_MAX = 128 << 10 }; /* bytes */

static ssize_t result(ssize_t n)
{
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EWOULDBLOCK ? STREAM_AGAIN : STREAM_RESET;
}

/*
 * The two calls that each request makes, without the libc's wrappers: those are points where a thread
 * may be cancelled, and in a process that has had a second thread they pay for it each time.
 */
static ssize_t plain_recv(struct stream *s, void *buf, size_t n)
{
    ssize_t got;

    do
        got = SYS(STREAM_RECV,
                  syscall(SYS_recvfrom, s->fd, buf, n, MSG_DONTWAIT, NULL, NULL));
    while (got < 0 && errno == EINTR);
    return result(got);
}

static ssize_t plain_send(struct stream *s, const void *buf, size_t n)
{
    ssize_t sent;

    do
        sent = SYS(STREAM_SEND, syscall(SYS_sendto, s->fd, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0));
    while (sent < 0 && errno == EINTR);
    return result(sent);
}

static int plain_finish(struct stream *s)
{
    SYS(STREAM_FIN, shutdown(s->fd, SHUT_WR));
    return 0;
}

/* The master holds a duplicate: the peer would hear nothing until it closes that one as well. */
static void plain_close(struct stream *s)
{
    SYS(STREAM_SHUTDOWN, shutdown(s->fd, SHUT_RDWR));
    SYS(STREAM_CLOSE, close(s->fd));
    s->fd = 0;
}

static void plain_abandon(struct stream *s)
{
    (void)s;
}

const struct stream_ops stream_plain_ops = {
    .recv = plain_recv, .send = plain_send, .finish = plain_finish, .close = plain_close,
    .abandon = plain_abandon};

void stream_plain(struct stream *s, int fd)
{
    *s = (struct stream){.ops = &stream_plain_ops, .fd = fd, .open = true};
}

static void set(int fd, int level, int name, int value)
{
    SYS(STREAM_OPTION, setsockopt(fd, level, name, &value, sizeof(value)));
}

/* Whether it has the last of the options, from the listener that it came from. */
static bool tuned(int fd)
{
    int unsent = 0;
    socklen_t len = sizeof(unsent);

    return SYS(STREAM_TUNED, getsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, &len)) == 0 &&
           unsent == UNSENT_MAX;
}

void stream_tune(int fd)
{
    if (tuned(fd))
        return;
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 15);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    /* One urgent byte out of line would falsify stream_position(). */
    set(fd, SOL_SOCKET, SO_OOBINLINE, 1);
    /* The kernel would take megabytes of a long answer to a peer that has no room for them. */
    set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_MAX);
}

int stream_unacked(int fd)
{
    int n = 0;

    return SYS(STREAM_OUTQ, ioctl(fd, SIOCOUTQ, &n)) < 0 ? 0 : n;
}

struct reading {
    uint64_t read, written;
    bool still; /* nothing was under way, either way: no second reading can differ */
};

/*
 * In this order. Nobody reads or writes the stream meanwhile, so when nothing is unacknowledged
 * before TCP_INFO, the acknowledged bytes are all; and when nothing is unread after it, all that it
 * says has been received has been read, whatever comes now.
 */
static int read_once(int fd, struct reading *out)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    int unread = 0, unacked = 0;
    bool fin;

    memset(&info, 0, sizeof(info));
    if (SYS(STREAM_OUTQ, ioctl(fd, SIOCOUTQ, &unacked)) < 0 ||
        SYS(STREAM_INFO, getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len)) < 0 ||
        SYS(STREAM_INQ, ioctl(fd, SIOCINQ, &unread)) < 0)
        return -errno;
    /* The FIN counts as one byte received. */
    fin = info.tcpi_state == TCP_STATE_CLOSE_WAIT || info.tcpi_state == TCP_STATE_LAST_ACK ||
          info.tcpi_state == TCP_STATE_CLOSING || info.tcpi_state == TCP_STATE_TIME_WAIT ||
          info.tcpi_state == TCP_STATE_CLOSE;
    if (info.tcpi_state == TCP_STATE_CLOSE)
        return -ENOTCONN;
    out->read = info.tcpi_bytes_received - (uint64_t)unread - fin;
    out->written = info.tcpi_bytes_acked + (uint64_t)unacked;
    out->still = unread == 0 && unacked == 0;
    return 0;
}

int stream_position(int fd, uint64_t *rd, uint64_t *wr)
{
    struct reading before, now;
    int err = read_once(fd, &before);

    now = before;
    /* Packets arrive between the calls: read until two readings agree. */
    for (unsigned tries = 0; !err && !now.still; tries++) {
        if (tries == 1000)
            return -EBUSY;
        err = read_once(fd, &now);
        if (!err && now.read == before.read && now.written == before.written)
            break;
        before = now;
    }
    *rd = now.read;
    *wr = now.written;
    return err;
}

int stream_last_heard(int fd, uint64_t *ago)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);

    memset(&info, 0, sizeof(info));
    if (SYS(STREAM_HEARD, getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len)) < 0)
        return -errno;
    *ago = (uint64_t)info.tcpi_last_ack_recv * UINT64_C(1000000);
    return 0;
}
