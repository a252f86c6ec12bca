/*
 * tests/bench/client.c - what libdflock costs: acquire and release through it beside a bare socket
 * that says the same, and the memory of a handle.
 *
 *     client PORT [ROUNDS]
 *
 * In turns of a hundred, so that what disturbs the machine disturbs both; compared is what a tenth
 * of the turns stayed below, which were disturbed least.
 */
#include <dflock.h>

#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TURN = 100, HANDLES = 1000 };

static void give_up(const char *what)
{
    fprintf(stderr, "client: %s: %s\n", what, dflock_error_text());
    exit(1);
}

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int dial(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        give_up("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void ask(int fd, const char *request, size_t n, char *reply, size_t size)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    size_t len = 0;

    if (send(fd, request, n, MSG_NOSIGNAL) != (ssize_t)n)
        give_up("send");
    do {
        ssize_t got = poll(&p, 1, 10000) == 1 ? recv(fd, reply + len, size - 1 - len, 0) : -1;

        if (got <= 0)
            give_up("recv");
        len += (size_t)got;
    } while (reply[len - 1] != '\n');
    reply[len] = '\0';
}

static void bare(int fd)
{
    char reply[128], request[128];
    int n;

    ask(fd, "l\nbench-bare\n10\n", 16, reply, sizeof reply);
    n = snprintf(request, sizeof request, "r\nbench-bare\n%.32s\n", reply + 3);
    ask(fd, request, (size_t)n, reply, sizeof reply);
    if (strcmp(reply, "ok\n") != 0)
        give_up(reply);
}

static void library(dflock *l)
{
    if (dflock_acquire(l) != DFLOCK_HELD || dflock_release(l) != 0)
        give_up("library");
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double undisturbed(double *at, size_t n)
{
    qsort(at, n, sizeof *at, by_size);
    return at[n / 10];
}

static void latency(int port, dflock_options *o, size_t rounds)
{
    double *us[2] = {calloc(rounds, sizeof(double)), calloc(rounds, sizeof(double))}, m[2];
    dflock *l = dflock_lock_new("bench-lib", o);
    int fd = dial(port);

    if (us[0] == NULL || us[1] == NULL || l == NULL)
        give_up("memory");
    for (int i = 0; i < TURN; i++) {
        bare(fd);
        library(l);
    }
    for (size_t i = 0; i < rounds; i++) {
        for (int which = 0; which < 2; which++) {
            double start = now_us();

            for (int j = 0; j < TURN; j++) {
                if (which == 0)
                    bare(fd);
                else
                    library(l);
            }
            us[which][i] = (now_us() - start) / TURN;
        }
    }
    m[0] = undisturbed(us[0], rounds);
    m[1] = undisturbed(us[1], rounds);
    printf("acquire and release: bare %.2f us, libdflock %.2f us, ratio %.3f\n", m[0], m[1],
           m[1] / m[0]);
    dflock_free(l);
    close(fd);
    free(us[0]);
    free(us[1]);
}

static void memory(const dflock_options *o)
{
    static dflock *all[HANDLES];
    size_t before = mallinfo2().uordblks, made, used;
    char key[32];

    for (int i = 0; i < HANDLES; i++) {
        snprintf(key, sizeof key, "bench-%d", i);
        all[i] = dflock_lock_new(key, o);
        if (all[i] == NULL)
            give_up("new");
    }
    made = mallinfo2().uordblks - before;
    for (int i = 0; i < HANDLES; i++)
        library(all[i]);
    used = mallinfo2().uordblks - before;
    printf("memory of an idle handle: %zu bytes, connected %zu\n", made / HANDLES, used / HANDLES);
    for (int i = 0; i < HANDLES; i++)
        dflock_free(all[i]);
}

int main(int argc, char **argv)
{
    dflock_options *o = dflock_options_new();
    char servers[32];

    if (argc < 2 || o == NULL) {
        fprintf(stderr, "usage: client PORT [ROUNDS]\n");
        return 2;
    }
    snprintf(servers, sizeof servers, "127.0.0.1:%s", argv[1]);
    dflock_options_set_servers(o, servers);
    latency(atoi(argv[1]), o, argc > 2 ? strtoul(argv[2], NULL, 10) : 200);
    memory(o);
    dflock_options_free(o);
    return 0;
}
