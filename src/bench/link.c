/*
 * bench/link.c - see link.h.
 */
#include "bench/link.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>

_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT, "dflock_conn_events() is epoll's, too");

/* A connection that is being made may change its socket, even for one of the same number. */
static int watch(struct link *l)
{
    int fd = dflock_conn_fd(l->conn), events = dflock_conn_events(l->conn);
    struct epoll_event ev = {.events = (uint32_t)events, .data.ptr = l};

    if (fd < 0 || (l->up && fd == l->fd && events == l->events))
        return 0;
    if (epoll_ctl(l->epfd, EPOLL_CTL_MOD, fd, &ev) != 0 &&
        (errno != ENOENT || epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) != 0))
        return DFLOCK_ERR_SYSTEM;
    l->fd = fd;
    l->events = events;
    return 0;
}

int link_open(struct link *l, int epfd, const char *address, const dflock_options *o, uint32_t most)
{
    uint32_t size = 1;

    while (size < most)
        size *= 2;
    *l = (struct link){.address = address, .epfd = epfd, .fd = -1, .mask = size - 1};
    l->asked = calloc(size, sizeof(*l->asked));
    return l->asked ? dflock_dial_start(&l->conn, address, o) : DFLOCK_ERR_SYSTEM;
}

void link_close(struct link *l)
{
    dflock_conn_free(l->conn);
    free(l->asked);
    *l = (struct link){.fd = -1};
}

int link_ask(struct link *l, struct slot *slot, const char *command, const char *key,
             const char *arg)
{
    int err = dflock_conn_submit(l->conn, command, key, arg);

    if (!err)
        l->asked[(l->first + l->n++) & l->mask] = slot;
    return err;
}

int link_process(struct link *l)
{
    int err = dflock_conn_process(l->conn);

    return err ? err : watch(l);
}

int link_reply(struct link *l, struct slot **slot, struct dflock_reply *reply)
{
    int got = dflock_conn_next(l->conn, reply);

    if (got == 1) {
        l->up = true;
        *slot = l->asked[l->first++ & l->mask];
        l->n--;
    }
    return got;
}
