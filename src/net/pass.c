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
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

int pass_send(int sock, const void *bytes, size_t n, int fd)
{
    struct iovec iov = {.iov_base = (void *)bytes, .iov_len = n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    union control control;
    ssize_t sent;

    if (fd >= 0) {
        struct cmsghdr *c;

        memset(&control, 0, sizeof(control));
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof(control.bytes);
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    do
        sent = SYS(PASS_SEND, sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT));
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

ssize_t pass_recv(int sock, void *bytes, size_t n, int *fd)
{
    struct iovec iov = {.iov_base = bytes, .iov_len = n};
    union control control;
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *c;
    ssize_t got;

    *fd = -1;
    do
        got = SYS(PASS_RECV, recvmsg(sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT));
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(fd, CMSG_DATA(c), sizeof(*fd));
    else if (m.msg_flags & MSG_CTRUNC)
        return -EMFILE;
    return got;
}
