/*
 * cli/link.c - see link.h.
 */
#include "cli/link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Room for one descriptor, aligned as the kernel wants it. */
union control {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
};

int link_pair(int fd[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) != 0)
        return -errno;
    return 0;
}

int link_send(int fd, enum link_kind kind, int value, int passed)
{
    struct link_message m = {.kind = (int32_t)kind, .value = value};
    struct iovec part = {.iov_base = &m, .iov_len = sizeof(m)};
    union control control = {.room = {0}};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (passed >= 0) {
        struct cmsghdr *c = &control.header;

        message.msg_control = &control;
        message.msg_controllen = sizeof(control.room);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(passed));
        memcpy(CMSG_DATA(c), &passed, sizeof(passed));
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int link_receive(int fd, struct link_message *m, int *passed)
{
    struct iovec part = {.iov_base = m, .iov_len = sizeof(*m)};
    union control control;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control.room)};
    const struct cmsghdr *c;
    ssize_t n;

    *passed = -1;
    do
        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    /* Without memory it is there still: again when poll(2) says so. */
    if (n < 0)
        return errno == EAGAIN || errno == ENOMEM || errno == ENOBUFS ? 0 : -errno;
    if (n == 0)
        return -EPIPE;
    c = CMSG_FIRSTHDR(&message);
    if (c != NULL && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(*passed)))
        memcpy(passed, CMSG_DATA(c), sizeof(*passed));
    return n == sizeof(*m) ? 1 : -EPROTO;
}
