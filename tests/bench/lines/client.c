/*
 * tests/bench/lines/client.c - the connections of a worker, and the system calls of its loop,
 * without sockets: requests come out of the air when the worker asks for events, answers are read
 * here.
 *
 * Each connection acquires a key and releases it, again and again, one request at a time. When it
 * waits for a grant it has nothing to say; when all do, the worker sleeps until its bell is rung.
 */
#include "sim.h"

#include "net/stream.h"
#include "serving/sandbox.h"
#include "shm/bell.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_A_TURN = 1, REQUEST_ROOM = 400, TOKEN_LEN = 32 };

struct client {
    char key[KEY_MAX + 1];
    char token[TOKEN_LEN + 1]; /* "": it holds nothing */
    bool asked;                /* and waits for the answer */
    char request[REQUEST_ROOM];
    size_t sent, length; /* of the request */
    char answer[REQUEST_ROOM];
    size_t received;
    uint32_t made; /* of its keys */
    uint64_t random;
};

static struct client clients[1024];
static uint32_t next_client;

void client_init(void)
{
    for (uint32_t i = 0; i < sim->connections; i++)
        clients[i].random = (uint64_t)sim_worker << 32 | (i + 1);
}

static struct client *client_of(int fd, uint32_t *number)
{
    uint32_t slot = (uint32_t)(fd - SIM_FDS);

    *number = slot - 1 - sim_worker * sim->connections;
    return &clients[*number];
}

static uint32_t any(struct client *c, uint32_t below)
{
    c->random = c->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((c->random >> 33) % below);
}

static void choose_key(struct client *c, uint32_t number)
{
    uint32_t n = 0;

    if (sim->workload == WORKLOAD_NEW)
        n = (uint32_t)sim->next_key++;
    else if (sim->workload != WORKLOAD_HOT)
        n = c->made < sim->keys ? c->made++ : any(c, sim->keys);
    world_key(sim_worker, number, n, c->key, sizeof(c->key));
}

/* The server has received a request: what makes the simulation go on, and end. */
static void count_request(void)
{
    sim->requests += sim->cold == 0;
    if (++sim->seat[sim_worker].requests != sim->warm || --sim->cold > 0)
        return;
    cache_count_from_now();
    for (uint32_t i = 0; i < sim->workers; i++) {
        if (sim->seat[i].time > sim->started)
            sim->started = sim->seat[i].time;
        sim->seat[i].locked_out = sim->seat[i].sleeps = 0;
    }
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
int __wrap_epoll_pwait2(int fd, struct epoll_event *ev, int most, const struct timespec *timeout,
                        const sigset_t *mask);
int __wrap_epoll_ctl(int set, int how, int fd, struct epoll_event *ev);
int __wrap_bell_start_thread(struct region *r, uint32_t worker, int efd);
int __wrap_sandbox_start(void);
int __wrap_sandbox_seal(int landlock, const struct confine_call *calls, size_t n);
int __wrap_stream_position(int fd, uint64_t *in, uint64_t *out);

static void ask(struct client *c, uint32_t number)
{
    char text[REQUEST_ROOM];

    if (!c->token[0])
        choose_key(c, number);
    c->length = (size_t)(c->token[0] ? snprintf(text, sizeof(text), "r\n%s\n%s\n", c->key, c->token)
                                     : snprintf(text, sizeof(text), "l\n%s\n600\n", c->key));
    memcpy(c->request, text, c->length);
    c->sent = c->received = 0;
    c->asked = true;
    if (sim->spoil) {
        trace_count(&sim_region->nconns);
        trace_count(&sim_region->tickets[sim_worker % 32]);
    }
    count_request();
}

/* A request comes in two parts when the ring ends in it. */
static ssize_t receive(int fd, void *buf, size_t n)
{
    uint32_t number;
    struct client *c = client_of(fd, &number);

    baton_spend(sim->costs.receive);
    if (!c->asked)
        ask(c, number);
    if (c->sent == c->length) {
        errno = EAGAIN;
        return -1;
    }
    if (n > c->length - c->sent)
        n = c->length - c->sent;
    memcpy(buf, c->request + c->sent, n);
    c->sent += n;
    return (ssize_t)n;
}

static void hear(struct client *c)
{
    c->asked = false;
    if (c->token[0] && strcmp(c->answer, "ok\n") == 0) {
        c->token[0] = '\0';
    } else if (!c->token[0] && strncmp(c->answer, "ok ", 3) == 0 && c->received > 3 + TOKEN_LEN) {
        memcpy(c->token, c->answer + 3, TOKEN_LEN);
    } else {
        fprintf(stderr, "lines: an answer that was not expected: %s", c->answer);
        exit(EXIT_FAILURE);
    }
}

static ssize_t answer(int fd, const void *buf, size_t n)
{
    uint32_t number;
    struct client *c = client_of(fd, &number);

    baton_spend(sim->costs.send);
    if (c->received + n >= sizeof(c->answer))
        n = sizeof(c->answer) - 1 - c->received;
    memcpy(c->answer + c->received, buf, n);
    c->received += n;
    c->answer[c->received] = '\0';
    if (c->received > 0 && c->answer[c->received - 1] == '\n')
        hear(c);
    return (ssize_t)n;
}

/* net/stream.c makes its calls so. */
long __wrap_syscall(long number, ...)
{
    long arg[6];
    va_list all;

    va_start(all, number);
    for (unsigned i = 0; i < 6; i++)
        arg[i] = va_arg(all, long);
    va_end(all);
    if (number == SYS_recvfrom)
        return receive((int)arg[0], (void *)arg[1], (size_t)arg[2]);
    if (number == SYS_sendto)
        return answer((int)arg[0], (const void *)arg[1], (size_t)arg[2]);
    return __real_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

static int gather(struct epoll_event *ev, int most)
{
    int n = 0;

    for (uint32_t i = 0; i < sim->connections && n < most && n < EVENTS_A_TURN; i++) {
        uint32_t number = next_client++ % sim->connections;
        uint32_t slot = 1 + sim_worker * sim->connections + number;

        if (clients[number].asked)
            continue;
        ev[n].events = EPOLLIN;
        ev[n].data.u64 =
            (uint64_t)slot << 32 | slot; /* main.c gives connections their slots as ids */
        n++;
    }
    return n;
}

static bool all_asked(void)
{
    for (uint32_t i = 0; i < sim->connections; i++)
        if (!clients[i].asked)
            return false;
    return true;
}

int __wrap_epoll_pwait2(int fd, struct epoll_event *ev, int most, const struct timespec *timeout,
                        const sigset_t *mask)
{
    struct seat *me = &sim->seat[sim_worker];
    bool may_sleep = timeout->tv_sec > 0 || timeout->tv_nsec > 0;

    (void)fd, (void)mask;
    baton_spend(sim->costs.wait);
    baton_pass(may_sleep && all_asked() && !me->rung ? RUNNER_IDLE : RUNNER_READY);
    if (sim->requests >= sim->end)
        baton_pass(RUNNER_ENDED);
    if (me->rung) {
        me->rung = false;
        ev[0] = (struct epoll_event){.events = EPOLLIN, .data.u64 = 1}; /* SOURCE_BELL */
        return 1;
    }
    return gather(ev, most);
}

int __wrap_epoll_ctl(int set, int how, int fd, struct epoll_event *ev)
{
    (void)set, (void)how, (void)fd, (void)ev;
    return 0;
}

int __wrap_bell_start_thread(struct region *r, uint32_t worker, int efd)
{
    (void)r, (void)worker, (void)efd;
    return 0;
}

int __wrap_sandbox_start(void)
{
    return -1;
}

int __wrap_sandbox_seal(int landlock, const struct confine_call *calls, size_t n)
{
    (void)landlock, (void)calls, (void)n;
    return 0;
}

int __wrap_stream_position(int fd, uint64_t *in, uint64_t *out)
{
    (void)fd;
    *in = *out = 0;
    return 0;
}
