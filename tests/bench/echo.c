/*
 * tests/bench/echo.c - the limit: a bare epoll server that reads the same requests and writes
 * replies of the same sizes as dflockd, and does nothing else.
 *
 *   echo WORKERS [SOCKET [yield]]     prints its port, serves it and the Unix socket until killed
 *
 * With `yield` it does before it sleeps what dflockd does: lets others run, and looks once more.
 */
#include "echo.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256 };

static bool yields;
static struct echo_request requests[ECHO_CONNS];

/* Edge-triggered: what is less than was asked for was all. Else the kernel would look at each
   socket once more in vain. A reply that the socket does not take ends the connection: it does not
   happen. */
static void serve(int fd, uint32_t events)
{
    static char in[ECHO_IN], out[ECHO_OUT];
    ssize_t n;
    size_t len;

    do {
        n = recv(fd, in, sizeof(in), 0);
        if (n < 0 && errno == EAGAIN)
            return;
        len = n > 0 ? echo_answers(&requests[fd], in, (size_t)n, out) : 0;
        if (n <= 0 || (len > 0 && send(fd, out, len, MSG_NOSIGNAL) != (ssize_t)len)) {
            close(fd);
            return;
        }
    } while (n == sizeof(in) || events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
}

static void take(int epfd, int listener, int local)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
    int fd = echo_accept(listener, local);

    if (fd < 0)
        return;
    ev.data.fd = fd;
    memset(&requests[fd], 0, sizeof(requests[fd]));
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);
}

static void watch_listener(int epfd, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.fd = fd};

    if (fd >= 0)
        epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);
}

static void work(int tcp, int local)
{
    int epfd = epoll_create1(0);
    struct epoll_event got[EVENTS];
    bool look = false;

    watch_listener(epfd, tcp);
    watch_listener(epfd, local);
    for (;;) {
        int n;

        if (look)
            sched_yield();
        n = epoll_wait(epfd, got, EVENTS, look ? 0 : -1);
        look = yields && n > 0;
        for (int i = 0; i < n; i++) {
            int fd = got[i].data.fd;

            if (fd == tcp || fd == local)
                take(epfd, fd, local);
            else
                serve(fd, got[i].events);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: echo WORKERS [SOCKET [yield]]\n", stderr);
        return 2;
    }
    yields = argc > 3;
    return echo_serve((unsigned)atoi(argv[1]), argc > 2 ? argv[2] : NULL, work);
}
