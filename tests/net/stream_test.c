/*
 * tests/net/stream_test.c - how far a stream got, by the kernel's count, against what was really
 * read and written; and what recv and send say.
 */
#include "net/stream.h"

#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct stream stream; /* the accepted end */
static int ours, theirs;     /* its socket, and the client's */
static uint64_t rd, wr;  /* what our application has read and written */

static void set_up(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int l = socket(AF_INET, SOCK_STREAM, 0);

    theirs = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(l, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(l, 1) < 0 ||
        getsockname(l, (struct sockaddr *)&sa, &len) < 0 ||
        connect(theirs, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        bail_out("connect: %s", strerror(errno));
    ours = accept4(l, NULL, NULL, SOCK_NONBLOCK);
    close(l);
    if (ours < 0)
        bail_out("accept: %s", strerror(errno));
    stream_plain(&stream, ours);
    stream_tune(ours);
    rd = wr = 0;
}

static void tear_down(void)
{
    close(ours);
    close(theirs);
}

static void they_send(size_t n)
{
    static char bytes[1 << 16];

    if (send(theirs, bytes, n, 0) != (ssize_t)n)
        bail_out("send");
}

static void wait_readable(void)
{
    struct pollfd p = {.fd = ours, .events = POLLIN};

    if (poll(&p, 1, 10000) != 1)
        bail_out("nothing arrives");
}

/* Until the peer's reset is here. */
static void wait_reset(void)
{
    struct pollfd p = {.fd = ours};

    if (poll(&p, 1, 10000) != 1)
        bail_out("no reset arrives");
}

/* Until the peer's n bytes are all here, read or not. */
static void wait_arrived(uint64_t n)
{
    uint64_t until = proc_now() + PROC_DEADLINE_NS;

    for (;;) {
        static char peek[1 << 18];
        ssize_t got = recv(ours, peek, sizeof(peek), MSG_PEEK | MSG_DONTWAIT);

        if (rd + (uint64_t)(got > 0 ? got : 0) >= n)
            return;
        if (proc_now() > until)
            bail_out("bytes do not arrive");
    }
}

static void we_read(size_t n)
{
    static char bytes[1 << 17];
    ssize_t got;

    wait_readable();
    got = stream_plain_ops.recv(&stream, bytes, n);
    if (got > 0)
        rd += (uint64_t)got;
}

static void we_write(size_t n)
{
    static char bytes[1 << 17];
    ssize_t sent = stream_plain_ops.send(&stream, bytes, n);

    if (sent > 0)
        wr += (uint64_t)sent;
}

static bool exact(const char *when)
{
    uint64_t r = 0, w = 0;
    int err = stream_position(ours, &r, &w);

    if (err == 0 && r == rd && w == wr)
        return true;
    diag("%s: error %d, read %" PRIu64 " of %" PRIu64 ", written %" PRIu64 " of %" PRIu64, when,
         err, r, rd, w, wr);
    return false;
}

static void test_known(void)
{
    static char bytes[1000];
    int on;
    socklen_t len = sizeof(on);

    set_up();
    ok(exact("start"), "a new connection: nothing read, nothing written");
    ok(getsockopt(ours, SOL_SOCKET, SO_OOBINLINE, &on, &len) == 0 && on == 1,
       "urgent data comes in line");
    ok(getsockopt(ours, IPPROTO_TCP, TCP_NODELAY, &on, &len) == 0 && on == 1, "no delay");
    ok(getsockopt(ours, SOL_SOCKET, SO_KEEPALIVE, &on, &len) == 0 && on == 1, "keepalive");
    ok(getsockopt(ours, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &on, &len) == 0 && on == 128 << 10,
       "the kernel takes little that it cannot send");
    they_send(1000);
    wait_arrived(1000);
    ok(exact("unread"), "arrived and not read");
    we_read(300);
    ok(rd == 300 && exact("half read"), "half read");
    we_read(1000);
    ok(rd == 1000 && exact("read"), "all read");
    we_write(5000);
    ok(wr == 5000 && exact("written"), "written, the peer has not read it");
    if (recv(theirs, bytes, sizeof(bytes), MSG_WAITALL) != 1000)
        bail_out("recv");
    ok(exact("taken"), "the peer has read some of it");
    send(theirs, "u", 1, MSG_OOB);
    wait_arrived(rd + 1);
    ok(exact("urgent"), "an urgent byte");
    we_read(10);
    ok(rd == 1001 && exact("urgent read"), "read as any other");
    they_send(50);
    shutdown(theirs, SHUT_WR);
    wait_arrived(rd + 50);
    ok(exact("FIN, unread"), "FIN behind unread bytes");
    we_read(20);
    ok(exact("FIN, half read"), "half read before the FIN");
    we_read(100);
    wait_readable(); /* not before the FIN is here */
    ok(rd == 1051 && exact("FIN next"), "all read, the FIN is next");
    is_int(stream_plain_ops.recv(&stream, bytes, 10), STREAM_END, "the end");
    ok(exact("FIN read"), "the FIN is read");
    we_write(77);
    ok(wr == 5077 && exact("half-closed"), "a half-closed connection is written to");
    tear_down();
}

static void test_full(void)
{
    static char bytes[1 << 17];
    ssize_t n;

    set_up();
    do {
        n = stream_plain_ops.send(&stream, bytes, sizeof(bytes));
        if (n > 0)
            wr += (uint64_t)n;
    } while (n > 0);
    is_int(n, STREAM_AGAIN, "a peer that does not read: not now");
    ok(wr > 100000 && exact("full"), "%" PRIu64 " bytes written, most of them still here", wr);
    is_int(stream_plain_ops.recv(&stream, bytes, 1), STREAM_AGAIN, "nothing to read: not now");
    for (unsigned i = 0; i < 20; i++)
        if (recv(theirs, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
            we_write(1000);
    ok(exact("moving"), "while acknowledgements come in");
    tear_down();
}

static void test_reset(void)
{
    struct linger hard = {.l_onoff = 1};
    uint64_t r, w;
    char c[20];

    set_up();
    they_send(10);
    wait_arrived(10);
    setsockopt(theirs, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(theirs);
    theirs = -1;
    wait_reset();
    ok(stream_position(ours, &r, &w) < 0, "a reset connection has no position");
    is_int(stream_plain_ops.recv(&stream, c, sizeof(c)), 10, "what came before can be read");
    is_int(stream_plain_ops.recv(&stream, c, sizeof(c)), STREAM_RESET, "then it is said to be dead");
    is_int(stream_plain_ops.send(&stream, "x", 1), STREAM_RESET, "without a signal");
    close(ours);
    ok(stream_position(ours, &r, &w) == -EBADF, "a descriptor that is none");
    set_up();
    close(ours);
    ours = socket(AF_UNIX, SOCK_STREAM, 0);
    ok(stream_position(ours, &r, &w) < 0, "a Unix socket has no such counts");
    tear_down();
}

static void test_random(void)
{
    unsigned bad = 0;

    for (unsigned conn = 0; conn < 40; conn++) {
        uint64_t sent = 0;
        bool fin = false;

        set_up();
        for (unsigned i = 0; i < 60; i++) {
            static char bytes[1 << 16];
            size_t n = 1 + proc_below(proc_below(3) ? 100 : 40000);

            switch (proc_below(4)) {
            case 0:
                if (!fin && sent - rd < 50000) {
                    they_send(n);
                    sent += n;
                }
                break;
            case 1:
                if (sent > rd)
                    we_read(n);
                break;
            case 2:
                we_write(n);
                break;
            default:
                if (recv(theirs, bytes, n, MSG_DONTWAIT) < 0 && errno != EAGAIN)
                    bad++;
                if (!fin && proc_below(20) == 0) {
                    shutdown(theirs, SHUT_WR);
                    fin = true;
                }
            }
            bad += !exact("random");
        }
        tear_down();
    }
    is_u64(bad, 0, "2400 random steps on 40 connections, position exact after each");
}

int main(void)
{
    proc_seed();
    test_known();
    test_full();
    test_reset();
    test_random();
    return done_testing();
}
