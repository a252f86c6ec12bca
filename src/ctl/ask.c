/*
 * ctl/ask.c - see ask.h.
 */
#include "ctl/ask.h"

#include "base/clock.h"
#include "ctl/text.h"
#include "where/where.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void asks_init(struct asks *all, const char *const *servers, size_t n,
               const dflock_options *options, double timeout)
{
    *all = (struct asks){.options = options,
                         .timeout = timeout,
                         .n = n,
                         .at = text_memory(calloc(n, sizeof(*all->at)))};
    for (size_t i = 0; i < n; i++)
        all->at[i].server = servers[i];
}

static void hang_up(struct ask *a)
{
    dflock_conn_free(a->conn);
    a->conn = NULL;
}

void asks_hang_up(struct asks *all)
{
    for (size_t i = 0; i < all->n; i++)
        hang_up(&all->at[i]);
}

void asks_free(struct asks *all)
{
    asks_hang_up(all);
    free(all->at);
    memset(all, 0, sizeof(*all));
}

enum ask_next ask_submit(struct ask *a, const char *command, const char *key, const char *arg)
{
    int error = dflock_conn_submit(a->conn, command, key, arg);

    a->sent_at = clock_boottime_ns();
    return error != 0 ? ask_fail(a, error, "%s: %s", a->server, where_reason()) : ASK_MORE;
}

enum ask_next ask_fail(struct ask *a, int error, const char *format, ...)
{
    va_list args;

    a->error = error;
    va_start(args, format);
    vsnprintf(a->why, sizeof(a->why), format, args);
    va_end(args);
    return ASK_DONE;
}

static uint64_t deadline(const struct asks *all)
{
    return clock_boottime_ns() + (uint64_t)(all->timeout * 1e9);
}

/* A step of the conversation; it may be the last. */
static void go_on(struct asks *all, struct ask *a, const struct dflock_reply *reply)
{
    a->until = deadline(all);
    if (all->step(a, reply, all->arg) == ASK_MORE)
        return;
    a->busy = false;
    if (a->error != 0)
        hang_up(a);
}

static void begin(struct asks *all, struct ask *a)
{
    a->error = 0;
    a->why[0] = '\0';
    a->kept = a->conn != NULL && clock_boottime_ns() - a->sent_at > NS_PER_SEC;
    a->busy = true;
    if (a->conn == NULL) {
        int error = dflock_dial_start(&a->conn, a->server, all->options);

        if (error != 0) {
            ask_fail(a, error, "%s", where_reason());
            a->busy = false;
            return;
        }
    }
    go_on(all, a, NULL);
}

/* The connection has ended, or says what it should not. Without `why` the library knows. */
static void broken(struct asks *all, struct ask *a, int error, const char *why)
{
    bool again = a->kept; /* ended since the last conversation: servers do that to who is idle */

    if (why != NULL)
        ask_fail(a, error, "%s: %s", a->server, why);
    else
        ask_fail(a, error, "%s", where_reason());
    hang_up(a);
    if (again)
        begin(all, a);
    else
        a->busy = false;
}

static void talk(struct asks *all, struct ask *a)
{
    struct dflock_reply reply;
    int error, got = 0;

    error = dflock_conn_process(a->conn);
    while (a->busy && a->conn != NULL && (got = dflock_conn_next(a->conn, &reply)) == 1) {
        if (reply.status == DFLOCK_ERR_PROTOCOL || (reply.status < 0 && a->kept)) {
            broken(all, a, DFLOCK_ERR_PROTOCOL, "the answer is none that a dflockd gives");
            return;
        }
        if (reply.status == DFLOCK_ERR_AUTH) {
            broken(all, a, reply.status, "the server wants another token");
            return;
        }
        a->kept = false;
        go_on(all, a, &reply);
    }
    if (!a->busy || a->conn == NULL)
        return;
    if (error == 0 && got < 0)
        error = got;
    if (error != 0)
        broken(all, a, error, NULL);
    else if (clock_boottime_ns() >= a->until)
        broken(all, a, DFLOCK_ERR_CONNECT, "the server does not answer");
}

void asks_begin(struct asks *all, ask_step_fn *step, void *arg)
{
    all->step = step;
    all->arg = arg;
    for (size_t i = 0; i < all->n; i++)
        begin(all, &all->at[i]);
}

static int earlier(int a, int b)
{
    if (a < 0 || b < 0)
        return a < 0 ? b : a;
    return a < b ? a : b;
}

int asks_poll(const struct asks *all, struct pollfd *fds)
{
    uint64_t now = clock_boottime_ns();
    int timeout = -1;

    for (size_t i = 0; i < all->n; i++) {
        const struct ask *a = &all->at[i];
        uint64_t ms = a->until > now ? (a->until - now) / NS_PER_MS + 1 : 0;

        fds[i] = (struct pollfd){.fd = -1};
        if (!a->busy)
            continue;
        fds[i].fd = dflock_conn_fd(a->conn);
        fds[i].events = (short)dflock_conn_events(a->conn);
        timeout = earlier(timeout, dflock_conn_timeout_ms(a->conn));
        timeout = earlier(timeout, ms > 60000 ? 60000 : (int)ms);
    }
    return timeout;
}

bool asks_process(struct asks *all)
{
    bool busy = false;

    for (size_t i = 0; i < all->n; i++) {
        if (all->at[i].busy)
            talk(all, &all->at[i]);
        busy = busy || all->at[i].busy;
    }
    return busy;
}

static void finish(struct asks *all)
{
    struct pollfd *fds = text_memory(calloc(all->n, sizeof(*fds)));

    while (asks_process(all)) {
        int timeout = asks_poll(all, fds);

        poll(fds, (nfds_t)all->n, timeout);
    }
    free(fds);
}

void asks_run(struct asks *all, ask_step_fn *step, void *arg)
{
    asks_begin(all, step, arg);
    finish(all);
}

void asks_run_one(struct asks *all, size_t i, ask_step_fn *step, void *arg)
{
    struct asks one = *all;

    one.at = &all->at[i];
    one.n = 1;
    asks_run(&one, step, arg);
}
