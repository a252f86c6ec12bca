/*
 * net/pass.c - see pass.h. Runs in master and workers.
 */
#include "net/pass.h"

#include "base/point.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int pass_pair(int fds[2])
{
    int type = SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC;

    return SYS(PASS_PAIR, socketpair(AF_UNIX, type, 0, fds)) < 0 ? -errno : 0;
}

union control {
    char bytes[CMSG_SPACE(PASS_FDS * sizeof(int))];
    struct cmsghdr align;
};

int pass_send_fds(int sock, const void *bytes, size_t n, const int *fds, unsigned nfds)
{
    struct iovec iov = {.iov_base = (void *)bytes, .iov_len = n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    union control control;
    ssize_t sent;

    if (nfds > PASS_FDS)
        return -EINVAL;
    if (nfds) {
        struct cmsghdr *c = &control.align;

        memset(&control, 0, CMSG_SPACE(nfds * sizeof(int)));
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    do
        sent = SYS(PASS_SEND, sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT));
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

int pass_send(int sock, const void *bytes, size_t n, int fd)
{
    return pass_send_fds(sock, bytes, n, &fd, fd >= 0);
}

ssize_t pass_recv_fds(int sock, void *bytes, size_t n, int fds[PASS_FDS], unsigned *nfds)
{
    struct iovec iov = {.iov_base = bytes, .iov_len = n};
    union control control;
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *c;
    ssize_t got;

    *nfds = 0;
    do
        got = SYS(PASS_RECV, recvmsg(sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT));
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        *nfds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), *nfds * sizeof(int));
    }
    if (!(m.msg_flags & MSG_CTRUNC))
        return got;
    while (*nfds > 0)
        SYS(PASS_PARTLY, close(fds[--*nfds]));
    return -EMFILE;
}

bool pass_recv_again(ssize_t n)
{
    return n == -ENOMEM || n == -ENOBUFS;
}

ssize_t pass_recv(int sock, void *bytes, size_t n, int *fd)
{
    int fds[PASS_FDS];
    unsigned nfds;
    ssize_t got = pass_recv_fds(sock, bytes, n, fds, &nfds);

    *fd = nfds > 0 ? fds[0] : -1;
    while (nfds > 1)
        SYS(PASS_STRAY, close(fds[--nfds]));
    return got;
}
