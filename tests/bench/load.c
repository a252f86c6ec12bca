/*
 * tests/bench/load.c - a load: connections that acquire and release a lock each, one request in
 * flight (or `depth` pairs pipelined), for a given time. Prints requests and seconds.
 *
 *   load PORT CONNECTIONS SECONDS [DEPTH]
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, MOST = 20000, BUF = 65536 };

struct client {
    int fd;
    unsigned waiting; /* replies still to come */
    bool acquired;
    size_t n;
    char token[33];
    char in[256];
};

static struct client *clients;
static unsigned depth;
static unsigned long long replies;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void put(const struct client *c, const char *bytes, size_t n)
{
    if (send(c->fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n) {
        perror("load: send");
        exit(1);
    }
}

/* Depth 1: acquire, then release with the token. Deeper: tries on keys of its own and pings, so
   that nothing has to be known from a reply. */
static void next(struct client *c, unsigned id)
{
    static char out[BUF];
    size_t n = 0;

    if (depth > 1) {
        for (unsigned i = 0; i < depth; i++)
            n += (size_t)snprintf(out + n, sizeof(out) - n, "l\nbench-%u\n0\n", id);
        c->waiting = depth;
    } else {
        n = (size_t)(c->acquired ? snprintf(out, sizeof(out), "r\nbench-%u\n%s\n", id, c->token)
                                 : snprintf(out, sizeof(out), "l\nbench-%u\n30\n", id));
        c->waiting = 1;
    }
    put(c, out, n);
}

static void line(struct client *c, const char *s, size_t n)
{
    replies++;
    c->waiting--;
    if (depth > 1)
        return;
    if (c->acquired && n == 2) {
        c->acquired = false;
    } else if (!c->acquired && n > 35 && memcmp(s, "ok ", 3) == 0) {
        memcpy(c->token, s + 3, 32);
        c->acquired = true;
    } else {
        fprintf(stderr, "load: unexpected reply: %.*s\n", (int)n, s);
        exit(1);
    }
}

static void readable(struct client *c, unsigned id)
{
    static char buf[BUF];
    ssize_t got;
    char *at = buf, *lf;

    memcpy(buf, c->in, c->n);
    got = recv(c->fd, buf + c->n, sizeof(buf) - c->n, MSG_DONTWAIT);
    if (got <= 0) {
        fprintf(stderr, "load: the server closed a connection\n");
        exit(1);
    }
    got += (ssize_t)c->n;
    while ((lf = memchr(at, '\n', (size_t)(buf + got - at)))) {
        line(c, at, (size_t)(lf - at));
        at = lf + 1;
    }
    c->n = (size_t)(buf + got - at);
    memcpy(c->in, at, c->n);
    if (c->waiting == 0)
        next(c, id);
}

int main(int argc, char **argv)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : 100;
    double seconds = argc > 3 ? atof(argv[3]) : 2, begun, end;
    struct epoll_event got[EVENTS];
    int epfd = epoll_create1(0);

    if (argc < 2 || n < 1 || n > MOST) {
        fprintf(stderr, "usage: load PORT CONNECTIONS SECONDS [DEPTH]\n");
        return 1;
    }
    depth = argc > 4 ? (unsigned)atoi(argv[4]) : 1;
    addr.sin_port = htons((unsigned short)atoi(argv[1]));
    clients = calloc(n, sizeof(*clients));
    for (unsigned i = 0; i < n; i++) {
        struct epoll_event ev = {.events = EPOLLIN, .data.u32 = i};
        int one = 1;

        clients[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(clients[i].fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
            perror("load: connect");
            return 1;
        }
        setsockopt(clients[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        epoll_ctl(epfd, EPOLL_CTL_ADD, clients[i].fd, &ev);
    }
    for (unsigned i = 0; i < n; i++)
        next(&clients[i], i);
    begun = now();
    end = begun + seconds;
    while (now() < end) {
        int k = epoll_wait(epfd, got, EVENTS, 100);

        for (int i = 0; i < k; i++)
            readable(&clients[got[i].data.u32], got[i].data.u32);
    }
    printf("%llu %.6f\n", replies, now() - begun);
    return 0;
}
