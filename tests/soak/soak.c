/*
 * tests/soak/soak.c - the load of the soak: some thousand connections in one process, what they saw
 * written down (history.h). Closed loop: a connection asks again when it has been answered; a cap
 * on requests a second bounds the history, a slow machine only makes it shorter.
 *
 *   soak PORT CONNECTIONS REQUESTS-A-SECOND PREFIX SEED
 *
 * Standard input: "k SIGNAL PID" a worker is about to get this signal; "end" ends the round, "stop"
 * ends it and the program (as does the end of the input). A round ends when all that was begun has
 * been answered and given back. Output: each second "p REQUESTS REPLIES GRANTS CONNECTIONS OPENED
 * WAITING", totals but the fourth and last; after a round "r FILE", its history.
 */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
    EVENTS = 256,
    WHEEL = 1 << 16, /* ms: longer than any timer */
    STALL_MS = 20,
    CORK_MS = 200,
    DRAIN_S = 150,
};
#define COMMANDS UINT64_MAX

struct list {
    struct conn *first, *last;
};

unsigned long long count_grants;
uint64_t highest_fence;
unsigned round_n;

static struct conn *conns;
static unsigned conns_n, conns_open, ids;
static struct list wheel[WHEEL], ready;
static uint64_t wheel_ms, seed;
static unsigned long long count_requests, count_replies, count_opened;
static int epfd;
static uint16_t port;
static FILE *history;
static bool draining, stopping;
static double budget;

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

unsigned chance(unsigned n)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return n ? (unsigned)(((seed * UINT64_C(2685821657736338717)) >> 33) % n) : 0;
}

bool percent(unsigned n)
{
    return chance(100) < n;
}

static void say(char what, uint64_t t, uint64_t number, const char *text)
{
    fprintf(history, "%c %llu %llu%s%s\n", what, (unsigned long long)t, (unsigned long long)number,
            *text ? " " : "", text);
}

static void list_add(struct list *l, struct conn *c)
{
    c->next = NULL;
    c->prev = l->last;
    *(l->last ? &l->last->next : &l->first) = c;
    l->last = c;
}

static void list_remove(struct list *l, struct conn *c)
{
    *(c->prev ? &c->prev->next : &l->first) = c->next;
    *(c->next ? &c->next->prev : &l->last) = c->prev;
}

/* The list that a connection is in. Ready to begin: in `ready`, with THEN_NOTHING. */
static struct list **where;

static void unlist(struct conn *c)
{
    struct list **l = &where[c - conns];

    if (*l)
        list_remove(*l, c);
    *l = NULL;
    c->then = THEN_NOTHING;
}

static void enlist(struct conn *c, enum then then, uint64_t due)
{
    struct list **l = &where[c - conns];

    unlist(c);
    if (then == THEN_BEGIN && due <= wheel_ms) {
        *l = &ready;
    } else {
        c->then = then;
        *l = &wheel[(due > wheel_ms ? due : wheel_ms + 1) % WHEEL];
    }
    list_add(*l, c);
}

void loop_timer(struct conn *c, enum then then, unsigned ms)
{
    enlist(c, then, wheel_ms + (ms < WHEEL ? ms : WHEEL - 1));
}

bool loop_draining(void)
{
    return draining;
}

static bool idle(const struct conn *c)
{
    return where[c - conns] == &ready;
}

struct conn *loop_idle(const struct conn * not )
{
    struct conn *c = ready.first;

    return c == not &&c ? c->next : c;
}

void loop_ask(struct conn *c, enum cmd cmd, const struct key *key, const char *arg, unsigned lease)
{
    struct ask *ask = &c->asked[(c->asked_at + c->asked_n) % ASKS];
    const char *name = key ? key->name : "";

    unlist(c);
    fprintf(history, "S %llu %u %s %s %s\n", (unsigned long long)now(), c->id, cmd_name[cmd],
            key ? name : "-", arg);
    memset(ask, 0, sizeof(*ask));
    ask->cmd = cmd;
    ask->lease = lease;
    if (key)
        ask->key = *key;
    c->asked_n++;
    c->out_n += (size_t)snprintf(c->out + c->out_n, OUT - c->out_n, "%s\n%s\n%s\n", cmd_name[cmd],
                                 name, arg);
    count_requests++;
    budget--;
}

/* False: the socket is full, or was ended by the other side, which its next event tells. */
static bool write_out(struct conn *c, size_t end, int flags)
{
    ssize_t n =
        send(c->fd, c->out + c->out_at, end - c->out_at, MSG_NOSIGNAL | MSG_DONTWAIT | flags);

    if (n > 0)
        c->out_at += (size_t)n;
    if (c->out_at == c->out_n)
        c->out_at = c->out_n = 0;
    return n > 0 || c->out_n == 0;
}

void loop_send(struct conn *c)
{
    enum cmd last = c->asked[(c->asked_at + c->asked_n - 1) % ASKS].cmd;
    /* A release may be for another connection, and the slot would stay taken. */
    bool leave = percent(4) && last != CMD_R && last != CMD_SR;
    size_t cut = percent(6) ? 1 + chance((unsigned)c->out_n - 1) : c->out_n;

    write_out(c, cut, 0);
    if (c->out_n)
        loop_timer(c, leave ? THEN_LEAVE : THEN_REST, percent(50) ? 0 : chance(30));
}

static void send_rest(struct conn *c)
{
    size_t left = c->out_n - c->out_at;

    write_out(c, percent(50) ? c->out_n : c->out_at + 1 + chance((unsigned)left), 0);
    if (c->out_n)
        loop_timer(c, THEN_REST, chance(10));
}

void loop_half_close(struct conn *c)
{
    bool together = c->out_n > 0;
    uint64_t t = now(), took;

    unlist(c);
    /* MSG_MORE: it waits for the FIN, which goes with it, for 200 ms. */
    if (together && (!write_out(c, c->out_n, MSG_MORE) || c->out_n)) {
        loop_leave(c, false);
        return;
    }
    shutdown(c->fd, SHUT_WR);
    took = now() - t;
    c->half = true;
    fprintf(history, "H %llu %u %llu\n", (unsigned long long)t, c->id,
            together && took < CORK_MS * NS_PER_MS ? 0 : (unsigned long long)took + 1);
}

static void open_conn(struct conn *c)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + chance(50))};
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.u64 = (uint64_t)(c - conns)};
    int one = 1;

    memset(c, 0, sizeof(*c));
    c->id = ++ids;
    c->connecting = true;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&from, sizeof(from)) < 0) {
        perror("soak: socket");
        exit(1);
    }
    say('O', now(), c->id, "");
    if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
        perror("soak: connect");
        exit(1);
    }
    epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &ev);
    conns_open++;
    count_opened++;
}

static void again(struct conn *c)
{
    unlist(c);
    script_gone(c);
    close(c->fd);
    conns_open--;
    open_conn(c);
}

void loop_leave(struct conn *c, bool reset)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};

    say('X', now(), c->id, reset ? "reset" : "close");
    if (reset)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    again(c);
}

static void ended(struct conn *c, const char *how)
{
    say('E', now(), c->id, how);
    again(c);
}

static void reply(struct conn *c)
{
    struct ask ask;

    if (c->line_n < LINE) {
        c->line[c->line_n] = 0;
    } else { /* an answer to stats */
        bool good = strncmp(c->line, "ok {\"connections\":", 18) == 0 && c->last == '}';

        snprintf(c->line, LINE, good ? "ok {%zu}" : "a line of %zu bytes", c->line_n);
    }
    c->line_n = 0;
    say('R', now(), c->id, c->line);
    count_replies++;
    if (c->asked_n == 0)
        return; /* the checker will object */
    ask = c->asked[c->asked_at];
    c->asked_at = (c->asked_at + 1) % ASKS;
    c->asked_n--;
    script_reply(c, &ask, c->line);
    if (c->asked_n == 0) {
        unlist(c);
        script_settle(c);
    }
}

static void readable(struct conn *c)
{
    static char buf[65536];
    ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
    unsigned id = c->id;

    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        ended(c, n == 0 ? "eof" : "reset");
        return;
    }
    for (ssize_t i = 0; i < n && c->id == id; i++) {
        if (buf[i] == '\n') {
            reply(c);
            continue;
        }
        if (c->line_n < LINE)
            c->line[c->line_n] = buf[i];
        c->last = buf[i];
        c->line_n++;
    }
}

static void connected(struct conn *c)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = (uint64_t)(c - conns)};
    int error = 0;
    socklen_t n = sizeof(error);

    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n);
    if (error) {
        ended(c, "refused");
        return;
    }
    c->connecting = false;
    epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &ev);
    say('C', now(), c->id, "");
    loop_timer(c, THEN_BEGIN, chance(50));
}

static void due(struct conn *c)
{
    enum then then = c->then;

    unlist(c);
    if (then == THEN_BEGIN)
        enlist(c, THEN_BEGIN, 0);
    else if (then == THEN_REST)
        send_rest(c);
    else
        script_then(c, then);
}

static void turn_wheel(uint64_t ms)
{
    while (wheel_ms < ms) {
        struct list *l = &wheel[++wheel_ms % WHEEL];

        while (l->first)
            due(l->first);
    }
}

static void commands(void)
{
    static char buf[4096];
    static size_t have;
    ssize_t n = read(STDIN_FILENO, buf + have, sizeof(buf) - 1 - have);
    char *at = buf, *lf;
    uint64_t sig, pid;

    if (n <= 0) {
        draining = stopping = true;
        epoll_ctl(epfd, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        return;
    }
    have += (size_t)n;
    buf[have] = 0;
    while ((lf = strchr(at, '\n'))) {
        *lf = 0;
        if (*at == 'k') {
            at += 2;
            if (history_number(&at, &sig) && history_number(&at, &pid))
                fprintf(history, "K %llu %llu %llu\n", (unsigned long long)now(),
                        (unsigned long long)sig, (unsigned long long)pid);
        } else if (*at == 'p') {
            at += 2;
            if (history_number(&at, &pid))
                fprintf(history, "P %llu %llu\n", (unsigned long long)now(),
                        (unsigned long long)pid);
        } else {
            draining = true;
            stopping = stopping || strcmp(at, "stop") == 0;
        }
        at = lf + 1;
    }
    have -= (size_t)(at - buf);
    memmove(buf, at, have);
}

static bool quiet(void)
{
    for (unsigned i = 0; i < conns_n; i++) {
        if (!idle(&conns[i]))
            return false;
    }
    return true;
}

static void progress(void)
{
    unsigned waiting = 0;

    for (unsigned i = 0; i < conns_n; i++)
        waiting += conns[i].asked_n > 0;
    printf("p %llu %llu %llu %u %llu %u\n", count_requests, count_replies, count_grants, conns_open,
           count_opened, waiting);
    fflush(stdout);
}

/* Says when this program did not run for long; returns the time. */
static uint64_t look(uint64_t looked)
{
    uint64_t t = now();

    if (t - looked > STALL_MS * NS_PER_MS)
        say('P', t, t - looked, "");
    return t;
}

/* One round, until it is told to end and all is quiet, or nothing more is to be hoped for. */
static void run(unsigned rate)
{
    uint64_t last = now(), shown = last, drain_began = 0, looked = last;
    struct epoll_event got[EVENTS];

    for (;;) {
        uint64_t t = now();
        int n;

        budget += (double)(t - last) * 1e-9 * rate;
        if (budget > rate * 0.02)
            budget = rate * 0.02;
        last = t;
        looked = look(looked);
        turn_wheel(t / NS_PER_MS);
        while (!draining && budget > 0 && ready.first) {
            struct conn *c = ready.first;

            unlist(c);
            script_begin(c);
        }
        if (t - shown > NS_PER_SEC) {
            shown = t;
            progress();
        }
        if (draining) {
            drain_began = drain_began ? drain_began : t;
            if (quiet() || t - drain_began > DRAIN_S * NS_PER_SEC)
                return;
        }
        looked = look(looked);
        n = epoll_wait(epfd, got, EVENTS, 1);
        looked = look(looked);
        for (int i = 0; i < n; i++) {
            struct conn *c = &conns[got[i].data.u64 % conns_n];

            if (got[i].data.u64 == COMMANDS)
                commands();
            else if (c->connecting)
                connected(c);
            else
                readable(c);
        }
    }
}

/* Keys and numbers of connections are new in each round, so that what an earlier one left behind,
   a lease that still runs, is not this one's. */
static void begin_round(const char *file)
{
    history = fopen(file, "w");
    if (!history) {
        perror(file);
        exit(1);
    }
    setvbuf(history, NULL, _IOFBF, 1 << 20);
    draining = stopping;
    say('B', now(), highest_fence, "");
    for (unsigned i = 0; count_opened && i < conns_n; i++) {
        conns[i].id = i + 1;
        say('C', now(), conns[i].id, "");
    }
    ids = count_opened ? conns_n : 0;
}

int main(int argc, char **argv)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = COMMANDS};
    struct rlimit limit;
    char file[4096];

    if (argc != 6 || atoi(argv[2]) < 1 || atoi(argv[3]) < 1) {
        fprintf(stderr, "usage: soak PORT CONNECTIONS REQUESTS-A-SECOND PREFIX SEED\n");
        return 1;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    port = (uint16_t)atoi(argv[1]);
    conns_n = (unsigned)atoi(argv[2]);
    seed = strtoull(argv[5], NULL, 10) * 2 + 1;
    conns = calloc(conns_n, sizeof(*conns));
    where = calloc(conns_n, sizeof(*where));
    epfd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epfd, EPOLL_CTL_ADD, STDIN_FILENO, &ev);
    wheel_ms = now() / NS_PER_MS;
    for (round_n = 1; !stopping; round_n++) {
        snprintf(file, sizeof(file), "%s.%u", argv[4], round_n);
        begin_round(file);
        for (unsigned i = 0; round_n == 1 && i < conns_n; i++)
            open_conn(&conns[i]);
        run((unsigned)atoi(argv[3]));
        progress();
        fprintf(history, "Z %llu\n", (unsigned long long)now());
        if (fclose(history) != 0) {
            perror(file);
            return 1;
        }
        printf("r %s\n", file);
        fflush(stdout);
    }
    return 0;
}
