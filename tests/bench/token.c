/*
 * tests/bench/token.c - the limit of a hand-over: two processes that pass a token to each other
 * through a socket, each of them asleep in recv() until it comes.
 *
 *   token [--relay] [--unix] [SECONDS]      prints its figures as one line of JSON
 *
 * Over TCP on loopback, or Unix sockets. With --relay a third process passes the token on, as a
 * server must that is between two clients. Latency is that of one pass, from before it is sent
 * until it has been received.
 */
#include "bench/histogram.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* As long as the reply that says a lock is granted. */
struct token {
    uint64_t sent; /* ns; 0: it was the last one */
    char rest[31];
};

static void give_up(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Two ends of a TCP connection on loopback. */
static void tcp_pair(int end[2])
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    end[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || end[0] < 0 || bind(listener, (struct sockaddr *)&addr, len) < 0 ||
        listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&addr, &len) < 0 ||
        connect(end[0], (struct sockaddr *)&addr, len) < 0 ||
        (end[1] = accept(listener, NULL, NULL)) < 0)
        give_up("token: a TCP connection on loopback");
    for (int i = 0; i < 2; i++)
        setsockopt(end[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    close(listener);
}

static void make_pair(int end[2], bool local)
{
    if (!local)
        tcp_pair(end);
    else if (socketpair(AF_UNIX, SOCK_STREAM, 0, end) < 0)
        give_up("token: socketpair");
}

static void get(int fd, struct token *t)
{
    if (recv(fd, t, sizeof(*t), MSG_WAITALL) != sizeof(*t))
        give_up("token: recv");
}

static void put(int fd, const struct token *t)
{
    if (send(fd, t, sizeof(*t), MSG_NOSIGNAL) != sizeof(*t))
        give_up("token: send");
}

/* Until the time is over, for who began; until the last token has come, for the other. */
static void play(int fd, struct histogram *h, uint64_t until, bool begins)
{
    struct token t = {.sent = now_ns()};

    if (begins)
        put(fd, &t);
    for (;;) {
        uint64_t now;

        get(fd, &t);
        now = now_ns();
        if (t.sent == 0)
            return;
        histogram_add(h, now - t.sent);
        t.sent = begins && now >= until ? 0 : now;
        put(fd, &t);
        if (t.sent == 0)
            return;
    }
}

static void relay(int a, int b)
{
    struct token t;

    for (;;) {
        get(a, &t);
        put(b, &t);
        if (t.sent == 0)
            return;
        get(b, &t);
        put(a, &t);
    }
}

/* True in a new process. */
static bool another(void)
{
    pid_t pid = fork();

    if (pid < 0)
        give_up("token: fork");
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid == 0;
}

int main(int argc, char **argv)
{
    struct histogram *h =
        mmap(NULL, 2 * sizeof(*h), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool local = false, relayed = false;
    double seconds = 1;
    uint64_t began;
    int a[2], b[2], status = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--unix") == 0)
            local = true;
        else if (strcmp(argv[i], "--relay") == 0)
            relayed = true;
        else
            seconds = strtod(argv[i], NULL);
    }
    if (h == MAP_FAILED)
        give_up("token: memory");
    if (seconds <= 0) {
        fputs("usage: token [--relay] [--unix] [SECONDS]\n", stderr);
        return 2;
    }
    make_pair(a, local);
    if (relayed) {
        make_pair(b, local);
        if (another()) {
            relay(a[1], b[0]);
            return 0;
        }
        a[1] = b[1];
    }
    if (another()) {
        play(a[1], &h[1], 0, false);
        return 0;
    }
    began = now_ns();
    play(a[0], &h[0], began + (uint64_t)(seconds * 1e9), true);
    seconds = (double)(now_ns() - began) / 1e9;
    while (wait(&status) > 0)
        if (status != 0)
            return 1;
    histogram_merge(&h[0], &h[1]);
    printf("{\"requests\": %llu, \"seconds\": %.6f, \"requests_per_s\": %.1f, "
           "\"latency_ns\": {\"p50\": %llu, \"p99\": %llu, \"max\": %llu}}\n",
           (unsigned long long)h[0].n, seconds, (double)h[0].n / seconds,
           (unsigned long long)histogram_quantile(&h[0], 50, 100),
           (unsigned long long)histogram_quantile(&h[0], 99, 100), (unsigned long long)h[0].max);
    return 0;
}
