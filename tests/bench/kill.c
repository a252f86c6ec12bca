/*
 * tests/bench/kill.c - clients that see what a worker's death costs. Half of the connections are
 * active: each acquires a lock of its own, thinks, releases it, thinks. Of the others every second
 * one holds a lock all the time. kill.py kills workers meanwhile.
 *
 *   kill PORT CONNECTIONS THINK_MS FILE
 *
 * Prints "ready" when all are connected and the idle ones hold their locks; at the end of its
 * standard input it stops, then asks each connection once more, and prints
 *   connections lost, replies lost, replies doubled, locks lost
 * FILE gets a record for each reply: client's port, ns on the monotonic clock when the request was
 * sent, ns until the reply was there.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, MOST = 30000, BUCKETS = 8192, ACTIVE = 0, HOLDS = 1, IDLE = 2 };

#define MS INT64_C(1000000)
#define LAST_WAIT (10000 * MS) /* for replies, at the end */

struct client {
    int fd; /* -1: lost */
    int kind;
    uint32_t port;
    int64_t sent; /* 0: no request is under way */
    bool acquired;
    size_t n;
    char token[33];
    char in[128];
    struct client *next; /* of those that think until the same ms */
};

struct record {
    uint64_t port;
    int64_t sent, took;
};

static struct client *clients;
static struct client *bucket[BUCKETS];
static unsigned nclients, think_ms;
static unsigned lost_conns, lost_replies, doubled, lost_locks;
static bool finishing;
static FILE *out;
static int64_t at_ms;

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 * MS + t.tv_nsec;
}

static void drop(struct client *c)
{
    lost_conns++;
    lost_replies += c->sent != 0;
    lost_locks += c->kind == HOLDS;
    c->sent = 0;
    close(c->fd);
    c->fd = -1;
}

static void ask(struct client *c, const char *cmd, const char *arg)
{
    char text[128];
    int n = snprintf(text, sizeof(text), "%s\nkill-%u\n%s\n", cmd, (unsigned)(c - clients), arg);

    c->sent = now();
    if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
        drop(c);
}

/* From half to one and a half of the usual time, or those that waited together would go on so. */
static void think(struct client *c)
{
    uint64_t ms = think_ms / 2 + (uint64_t)random() % (think_ms + 1) + 1;
    struct client **b = &bucket[(uint64_t)(at_ms + (int64_t)ms) % BUCKETS];

    c->next = *b;
    *b = c;
}

static void next_request(struct client *c)
{
    if (c->fd < 0)
        return;
    if (c->acquired)
        ask(c, "r", c->token);
    else
        ask(c, "l", c->kind == HOLDS ? "10 3600" : "10 60");
}

static void line(struct client *c, const char *s, size_t n, int64_t when)
{
    struct record r = {.port = c->port, .sent = c->sent, .took = when - c->sent};

    if (!c->sent) {
        doubled++;
        return;
    }
    c->sent = 0;
    if (finishing) {
        /* A holder's release, and everybody else's ping. */
        lost_locks += n != 2 || memcmp(s, "ok", 2) != 0;
        return;
    }
    fwrite(&r, sizeof(r), 1, out);
    if (c->acquired && n == 2 && memcmp(s, "ok", 2) == 0) {
        c->acquired = false;
    } else if (!c->acquired && n > 35 && memcmp(s, "ok ", 3) == 0) {
        memcpy(c->token, s + 3, 32);
        c->acquired = true;
    } else {
        fprintf(stderr, "kill: unexpected reply: %.*s\n", (int)n, s);
        exit(1);
    }
    if (c->kind == ACTIVE)
        think(c);
}

static void readable(struct client *c)
{
    ssize_t got = recv(c->fd, c->in + c->n, sizeof(c->in) - c->n, MSG_DONTWAIT);
    int64_t when = now();
    char *lf;

    if (got <= 0) {
        drop(c);
        return;
    }
    c->n += (size_t)got;
    while ((lf = memchr(c->in, '\n', c->n))) {
        size_t n = (size_t)(lf - c->in);

        line(c, c->in, n, when);
        c->n -= n + 1;
        memmove(c->in, lf + 1, c->n);
    }
}

/* One round of events. False when standard input has ended. */
static bool turn(int epfd)
{
    struct epoll_event got[EVENTS];
    int k = epoll_wait(epfd, got, EVENTS, 1);
    bool more = true;

    for (int i = 0; i < k; i++) {
        if (got[i].data.u32 == nclients)
            more = false;
        else if (clients[got[i].data.u32].fd >= 0)
            readable(&clients[got[i].data.u32]);
    }
    return more;
}

static void run_thinkers(void)
{
    int64_t until = now() / MS;

    for (; at_ms < until; at_ms++) {
        struct client *c = bucket[at_ms % BUCKETS];

        bucket[at_ms % BUCKETS] = NULL;
        while (c) {
            struct client *next = c->next;

            next_request(c);
            c = next;
        }
    }
}

static bool all_answered(void)
{
    for (unsigned i = 0; i < nclients; i++)
        if (clients[i].sent)
            return false;
    return true;
}

static void wait_for_replies(int epfd)
{
    int64_t until = now() + LAST_WAIT;

    while (!all_answered() && now() < until)
        turn(epfd);
    for (unsigned i = 0; i < nclients; i++) {
        lost_replies += clients[i].sent != 0;
        clients[i].sent = 0;
    }
}

static void connect_all(int epfd, const struct sockaddr_in *addr)
{
    for (unsigned i = 0; i < nclients; i++) {
        struct epoll_event ev = {.events = EPOLLIN, .data.u32 = i};
        struct client *c = &clients[i];
        struct sockaddr_in own;
        socklen_t len = sizeof(own);
        int one = 1;

        c->kind = i % 2 == 0 ? ACTIVE : i % 4 == 1 ? HOLDS : IDLE;
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ||
            getsockname(c->fd, (struct sockaddr *)&own, &len) < 0) {
            perror("kill: connect");
            exit(1);
        }
        c->port = ntohs(own.sin_port);
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &ev);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event in = {.events = EPOLLIN};
    int epfd = epoll_create1(0);

    if (argc != 5 || atoi(argv[2]) < 4 || atoi(argv[2]) > MOST || atoi(argv[3]) < 1 ||
        atoi(argv[3]) > BUCKETS / 2 || !(out = fopen(argv[4], "w"))) {
        fprintf(stderr, "usage: kill PORT CONNECTIONS THINK_MS FILE\n");
        return 1;
    }
    addr.sin_port = htons((unsigned short)atoi(argv[1]));
    nclients = (unsigned)atoi(argv[2]);
    think_ms = (unsigned)atoi(argv[3]);
    clients = calloc(nclients, sizeof(*clients));
    connect_all(epfd, &addr);
    for (unsigned i = 0; i < nclients; i++)
        if (clients[i].kind == HOLDS)
            next_request(&clients[i]);
    wait_for_replies(epfd);
    puts("ready");
    fflush(stdout);
    at_ms = now() / MS;
    for (unsigned i = 0; i < nclients; i++)
        if (clients[i].kind == ACTIVE)
            think(&clients[i]);
    in.data.u32 = nclients;
    epoll_ctl(epfd, EPOLL_CTL_ADD, STDIN_FILENO, &in);
    while (turn(epfd))
        run_thinkers();
    epoll_ctl(epfd, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
    wait_for_replies(epfd);
    finishing = true;
    for (unsigned i = 0; i < nclients; i++)
        if (clients[i].fd >= 0)
            ask(&clients[i], clients[i].acquired ? "r" : "ping", clients[i].token);
    wait_for_replies(epfd);
    fclose(out);
    printf("%u %u %u %u\n", lost_conns, lost_replies, doubled, lost_locks);
    return 0;
}
