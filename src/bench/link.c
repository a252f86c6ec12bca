/*
 * bench/link.c - see link.h.
 */
#include "bench/link.h"

#include "bench/web.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>

_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT, "dflock_conn_events() is epoll's, too");

/* A connection that is being made may change its socket, even for one of the same number. */
static int watch(struct link *l)
{
    int fd = l->web ? web_fd(l->web) : dflock_conn_fd(l->conn);
    int events = l->web ? web_events(l->web) : dflock_conn_events(l->conn);
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

int link_open(struct link *l, int epfd, const char *address, const dflock_options *o, bool http,
              uint32_t most)
{
    uint32_t size = 1;

    while (size < most)
        size *= 2;
    *l = (struct link){.address = address, .epfd = epfd, .fd = -1, .mask = size - 1};
    l->asked = calloc(size, sizeof(*l->asked));
    if (!l->asked)
        return DFLOCK_ERR_SYSTEM;
    return http ? web_open(&l->web, address, o) : dflock_dial_start(&l->conn, address, o);
}

void link_close(struct link *l)
{
    dflock_conn_free(l->conn);
    web_free(l->web);
    free(l->asked);
    *l = (struct link){.fd = -1};
}

int link_ask(struct link *l, struct slot *slot, const char *command, const char *key,
             const char *arg)
{
    int err = l->web ? web_submit(l->web, command, key, arg)
                     : dflock_conn_submit(l->conn, command, key, arg);

    if (!err)
        l->asked[(l->first + l->n++) & l->mask] = slot;
    return err;
}

int link_process(struct link *l)
{
    int err = l->web ? web_process(l->web) : dflock_conn_process(l->conn);

    return err ? err : watch(l);
}

int link_reply(struct link *l, struct slot **slot, struct dflock_reply *reply)
{
    int got = l->web ? web_next(l->web, reply) : dflock_conn_next(l->conn, reply);

    if (got == 1) {
        l->up = true;
        *slot = l->asked[l->first++ & l->mask];
        l->n--;
        /* HTTP has one request under way: it is the next one's turn. An error comes up again. */
        if (l->web && l->n > 0)
            (void)link_process(l);
    }
    return got;
}

int link_timeout_ms(const struct link *l)
{
    return l->web ? web_timeout_ms(l->web) : dflock_conn_timeout_ms(l->conn);
}
