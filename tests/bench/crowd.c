/*
 * tests/bench/crowd.c - one process with thousands of connections to a dflockd, which then does at
 * once what it is told.
 *
 *   crowd PORT idle N         N connections that ask for nothing
 *   crowd PORT hold N L [S]   they hold L locks, keys of 64 bytes; with S all leases end within the
 *                             same second, S seconds after the start
 *   crowd PORT queue N        the first holds a lock, the others wait for it
 *   crowd PORT ring N         for tests/bench/echo, where nobody waits: the token goes round
 *
 * When all is as it should be it prints {"ready": SECONDS, "ends_ns": when the second begins in
 * which the leases end, on the monotonic clock}. Then it takes commands from its standard input:
 *   vanish      ends at once: the kernel closes all sockets
 *   cut K       closes K connections that wait, anywhere in the queue
 *   late        puts as many back, at its end, to wait for 2 s; answers when all wait, and
 *               again when all have heard of their timeout
 *   fill        makes those wait again that do not, at its end
 *   pass S      for S seconds whoever gets the lock gives it back and waits again, at once;
 *               prints {"hand_overs": …, "seconds": …}
 * and answers the others than `vanish` with a line when it is done. It ends with its input.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, WINDOW = 128, REQUEST_MAX = 128, DESCRIPTORS = 16, HALF_CLOSE_MS = 300 };

#define SEC INT64_C(1000000000)
#define WAIT "crowd\n3600 3600\n"
#define WAIT_SHORTLY "l\ncrowd\n2 3600\n"

struct client {
    int fd;         /* -1: closed */
    uint32_t first; /* of its locks */
    uint32_t want, asked, got;
    bool idle;  /* it should wait in the queue, and does not */
    uint32_t n; /* bytes in `in` */
    char in[64];
};

enum mode { IDLE, HOLD, QUEUE, RING, MODES };

static const char *const mode_name[MODES] = {"idle", "hold", "queue", "ring"};
static struct client *clients;
static uint32_t nclients, holder, nidle;
static struct sockaddr_in server, own;
static char token[33]; /* of the queue's lock */
static int64_t ends, filled;
static int epfd;

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SEC + t.tv_nsec;
}

static void give_up(const char *what)
{
    fprintf(stderr, "crowd: %s: %s\n", what, errno ? strerror(errno) : "not what was expected");
    exit(1);
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0)
        give_up("socket");
    /* An address of its own, or the ports that the crowds before it have used up were missing. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (bind(fd, (const struct sockaddr *)&own, sizeof(own)) < 0 ||
        connect(fd, (const struct sockaddr *)&server, sizeof(server)) < 0)
        give_up("connect");
    return fd;
}

static void join(uint32_t i)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = i};

    clients[i].fd = dial();
    clients[i].n = 0;
    if (epoll_ctl(epfd, EPOLL_CTL_ADD, clients[i].fd, &ev) < 0)
        give_up("epoll_ctl");
}

/* Waits for room: a server that is overloaded is none that is broken. */
static void say(const struct client *c, const char *text, size_t n)
{
    if (send(c->fd, text, n, MSG_NOSIGNAL) != (ssize_t)n)
        give_up("send");
}

static void ask_to_wait(uint32_t i)
{
    say(&clients[i], "l\n" WAIT, strlen("l\n" WAIT));
}

/* A second and not more is between the ends of the first and the last. */
static unsigned lease(void)
{
    int64_t left = ends - now();

    if (ends == 0)
        return 3600;
    if (left <= 0) {
        errno = 0;
        give_up("the leases end before all locks are held: more SECONDS are needed");
    }
    return (unsigned)((left + SEC - 1) / SEC);
}

static void ask_for_locks(struct client *c)
{
    char text[WINDOW * REQUEST_MAX];
    size_t n = 0;
    unsigned s = lease();

    for (; c->asked < c->want && c->asked - c->got < WINDOW; c->asked++)
        n += (size_t)snprintf(text + n, REQUEST_MAX, "l\ncrowd-%058u\n0 %u\n", c->first + c->asked,
                              s);
    if (n > 0)
        say(c, text, n);
}

/* Reads what is there and calls `line` for each reply, without its LF. */
static void read_replies(uint32_t i, void (*line)(uint32_t, const char *, size_t))
{
    struct client *c = &clients[i];
    char text[sizeof(c->in) + 16384], *at = text, *lf;
    ssize_t got;
    size_t n = c->n;

    memcpy(text, c->in, n);
    got = recv(c->fd, text + n, sizeof(text) - n, MSG_DONTWAIT);
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN)
            return;
        errno = got == 0 ? ECONNRESET : errno;
        give_up("a connection ends");
    }
    n += (size_t)got;
    while ((lf = memchr(at, '\n', n))) {
        size_t len = (size_t)(lf - at);

        line(i, at, len);
        n -= len + 1;
        at = lf + 1;
    }
    if (n > sizeof(c->in))
        give_up("a reply is too long");
    memcpy(c->in, at, n);
    c->n = (uint32_t)n;
}

static bool is_grant(const char *s, size_t n)
{
    return n > 35 && memcmp(s, "ok ", 3) == 0;
}

static void expect_grant(const char *s, size_t n)
{
    if (!is_grant(s, n)) {
        fprintf(stderr, "crowd: the server says: %.*s\n", (int)n, s);
        exit(1);
    }
}

static void locked(uint32_t i, const char *s, size_t n)
{
    expect_grant(s, n);
    clients[i].got++;
}

static uint64_t passes;
static int64_t pass_until;
static bool passing, is_ring;

/* Back it goes, and behind all others. */
static void pass_on(uint32_t i)
{
    char text[REQUEST_MAX];
    int n = snprintf(text, sizeof(text), "r\ncrowd\n%s\nl\n" WAIT, token);

    say(&clients[i], text, (size_t)n);
}

static void granted(uint32_t i, const char *s, size_t n)
{
    if (n == 2 && memcmp(s, "ok", 2) == 0)
        return; /* the release */
    expect_grant(s, n);
    memcpy(token, s + 3, 32);
    holder = is_ring ? (i + 1) % nclients : i;
    passes++;
    passing = now() < pass_until;
    if (passing)
        pass_on(holder);
}

static void turn(void (*line)(uint32_t, const char *, size_t))
{
    struct epoll_event got[EVENTS];
    int n = epoll_wait(epfd, got, EVENTS, 10000);

    if (n <= 0) {
        errno = n == 0 ? ETIMEDOUT : errno;
        give_up("no answer");
    }
    for (int k = 0; k < n; k++)
        read_replies(got[k].data.u32, line);
}

static void hold_all(uint32_t locks)
{
    uint64_t left = locks;

    for (uint32_t i = 0; i < nclients; i++) {
        clients[i].first = (uint32_t)((uint64_t)locks * i / nclients);
        clients[i].want = (uint32_t)((uint64_t)locks * (i + 1) / nclients) - clients[i].first;
        ask_for_locks(&clients[i]);
    }
    while (left > 0) {
        turn(locked);
        left = 0;
        for (uint32_t i = 0; i < nclients; i++) {
            struct client *c = &clients[i];

            if (c->asked < c->want && c->asked - c->got <= WINDOW / 2)
                ask_for_locks(c);
            left += c->want - c->got;
        }
    }
}

/* Until the server says that all others wait. */
static void wait_for_queue(uint32_t waiters)
{
    char sought[32], text[65536];
    int fd = dial(), len = snprintf(sought, sizeof(sought), "\"waiters\":%u,", waiters);
    int64_t until = now() + 20 * SEC;
    bool there = false;

    while (!there) {
        size_t n = 0;

        if (send(fd, "show\ncrowd\nlock\n", 16, MSG_NOSIGNAL) != 16)
            give_up("send");
        do {
            ssize_t got = recv(fd, text + n, sizeof(text) - n, 0);

            if (got <= 0)
                give_up("show");
            n += (size_t)got;
        } while (n == 0 || text[n - 1] != '\n');
        there = memmem(text, n, sought, (size_t)len) != NULL;
        if (now() > until) {
            errno = ETIMEDOUT;
            give_up("the queue is not as long as it should be");
        }
    }
    close(fd);
}

static void queue_all(void)
{
    pass_until = 0;
    ask_to_wait(0);
    while (passes == 0)
        turn(granted);
    for (uint32_t i = 1; i < nclients; i++)
        ask_to_wait(i);
    wait_for_queue(nclients - 1);
    filled = now();
}

/* Any connections but the holder's: a step that has no divisor in common with their number. */
static void cut(uint32_t k)
{
    struct timespec ms = {.tv_nsec = 10000000};
    uint32_t step = 7919, i = 0;

    if (k > nclients - 1 - nidle)
        give_up("cut: there are not so many");
    while (nclients % step == 0)
        step += 2;
    while (now() < filled + HALF_CLOSE_MS * SEC / 1000) /* or it would count as a half-close */
        nanosleep(&ms, NULL);
    while (k > 0) {
        i = (i + step) % nclients;
        if (i == holder || clients[i].idle)
            continue;
        close(clients[i].fd);
        clients[i].fd = -1;
        clients[i].idle = true;
        nidle++;
        k--;
    }
    wait_for_queue(nclients - 1 - nidle);
    puts("{\"cut\": true}");
}

static uint32_t ntold;

static void told_of_timeout(uint32_t i, const char *s, size_t n)
{
    (void)i;
    if (n != 7 || memcmp(s, "timeout", 7) != 0)
        give_up("no timeout");
    ntold++;
}

/* Before those who come back ask to wait again. */
static void join_again(void)
{
    for (uint32_t i = 0; i < nclients; i++)
        if (clients[i].fd < 0)
            join(i);
}

static void late(void)
{
    join_again();
    for (uint32_t i = 0; i < nclients; i++)
        if (clients[i].idle)
            say(&clients[i], WAIT_SHORTLY, strlen(WAIT_SHORTLY));
    wait_for_queue(nclients - 1);
    puts("{\"waiting\": true}");
    fflush(stdout);
    for (ntold = 0; ntold < nidle;)
        turn(told_of_timeout);
    puts("{\"late\": true}");
}

static void fill(void)
{
    join_again();
    for (uint32_t i = 0; i < nclients; i++) {
        if (!clients[i].idle)
            continue;
        ask_to_wait(i);
        clients[i].idle = false;
    }
    nidle = 0;
    wait_for_queue(nclients - 1);
    filled = now();
    puts("{\"filled\": true}");
}

static void pass(double seconds)
{
    int64_t began = now();

    passes = 0;
    passing = true;
    pass_until = began + (int64_t)(seconds * (double)SEC);
    pass_on(holder);
    while (passing)
        turn(granted);
    filled = now(); /* by who has just given the lock back */
    printf("{\"hand_overs\": %llu, \"seconds\": %.6f}\n", (unsigned long long)passes,
           (double)(now() - began) / (double)SEC);
}

static void obey(void)
{
    char text[64];

    while (fgets(text, sizeof(text), stdin)) {
        if (strcmp(text, "vanish\n") == 0)
            _exit(0);
        if (strncmp(text, "cut ", 4) == 0)
            cut((uint32_t)strtoul(text + 4, NULL, 10));
        else if (strcmp(text, "late\n") == 0)
            late();
        else if (strcmp(text, "fill\n") == 0)
            fill();
        else if (strncmp(text, "pass ", 5) == 0)
            pass(strtod(text + 5, NULL));
        else
            give_up("no such command");
        fflush(stdout);
    }
}

static void usage(void)
{
    fprintf(stderr, "usage: crowd PORT idle|queue|ring CONNECTIONS\n"
                    "       crowd PORT hold CONNECTIONS LOCKS [SECONDS]\n");
    exit(2);
}

static uint32_t number(const char *text, uint32_t most)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (*end || n < 1 || n > most)
        usage();
    return (uint32_t)n;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    int64_t began = now();
    enum mode mode = IDLE;

    while (mode < MODES && (argc < 4 || strcmp(argv[2], mode_name[mode]) != 0))
        mode++;
    if (mode == MODES || argc < 4 + (mode == HOLD) || argc > 4 + 2 * (mode == HOLD))
        usage();
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    nclients = number(argv[3], UINT32_MAX);
    if (nclients + DESCRIPTORS > files.rlim_max) {
        fprintf(stderr,
                "crowd: %u connections need more descriptors than the limit, %llu: raise it "
                "with ulimit -Hn, or ask for fewer\n",
                nclients, (unsigned long long)files.rlim_max);
        return 1;
    }
    server = own =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    server.sin_port = htons((uint16_t)number(argv[1], 65535));
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + ((uint32_t)getpid() % 250 + 1) * 256);
    clients = calloc(nclients, sizeof(*clients));
    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (!clients || epfd < 0)
        give_up("memory");
    for (uint32_t i = 0; i < nclients; i++)
        join(i);
    if (argc == 6)
        ends = began + number(argv[5], 3600) * SEC;
    if (mode == HOLD)
        hold_all(number(argv[4], UINT32_MAX));
    else if (mode == QUEUE)
        queue_all();
    is_ring = mode == RING;
    memset(token, '0', is_ring ? 32 : 0);
    printf("{\"ready\": %.3f, \"ends_ns\": %lld}\n", (double)(now() - began) / (double)SEC,
           (long long)ends);
    fflush(stdout);
    obey();
    return 0;
}
