/*
 * client/conn.c - the low level of dflock.h: one connection, one command a call, by blocking or by an
 * event loop of the caller's.
 *
 * A call holds the connection's mutex while it blocks, so calls take turns. Who cancels or closes does
 * not wait for that: he raises a flag and shuts the socket down, which wakes the one who polls. The
 * descriptor is closed under `fd_lock` only, so it is the right one that is shut down.
 */
#include "base/clock.h"
#include "client/channel.h"

#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GRACE_MS_MAX = 3600 * 1000 };

struct dflock_conn {
    pthread_mutex_t lock;    /* of all but what follows */
    pthread_mutex_t fd_lock; /* of closing the socket, and `blocked` */
    bool blocked;            /* a call polls */
    atomic_bool cancelled;   /* that call is to end */
    atomic_bool closed;
    bool dropped; /* it has ended, and the socket is closed; under `lock` */

    struct dflock_options *o;
    struct addr name;
    struct addr_list to;
    struct channel *channel;
};

static uint64_t later(uint64_t now, double seconds)
{
    uint64_t ns = (uint64_t)(seconds * 1e9);

    return ns < UINT64_MAX - now ? now + ns : UINT64_MAX;
}

/* Milliseconds for poll(), rounded up. */
static int ms_until(uint64_t deadline, uint64_t now)
{
    uint64_t ms;

    if (deadline <= now)
        return 0;
    ms = (deadline - now + 999999) / 1000000;
    return ms > GRACE_MS_MAX ? GRACE_MS_MAX : (int)ms;
}

static void drop_socket(struct dflock_conn *c)
{
    pthread_mutex_lock(&c->fd_lock);
    channel_close(c->channel);
    pthread_mutex_unlock(&c->fd_lock);
    c->dropped = true;
}

static bool is_closed(const struct dflock_conn *c)
{
    return atomic_load(&c->closed) || c->dropped;
}

static int closed(const char *call)
{
    return error_raise(DFLOCK_ERR_CLOSED, call, "the connection was closed");
}

/* ---- making and ending ----------------------------------------------------------------------- */

void dflock_conn_free(dflock_conn *c)
{
    if (!c)
        return;
    channel_free(c->channel);
    addr_free(&c->name);
    dflock_options_free(c->o);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->fd_lock);
    free(c);
}

static int start(dflock_conn **out, const char *address, const dflock_options *o, const char *call)
{
    struct failure f = {0};
    struct dflock_conn *c;

    *out = NULL;
    if (!address)
        return error_raise(DFLOCK_ERR_INVALID, call, "no address");
    c = calloc(1, sizeof(*c));
    if (!c)
        return error_raise(DFLOCK_ERR_SYSTEM, call, "no memory");
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->fd_lock, NULL);
    c->o = options_copy(o);
    c->channel = c->o ? channel_new(c->o) : NULL;
    if (!c->channel)
        failure_set(&f, DFLOCK_ERR_SYSTEM, "no memory");
    else if (addr_parse(&c->name, address, strlen(address), &f) == 0 &&
             addr_resolve(&c->name, &c->to, &f) == 0)
        channel_dial(c->channel, &c->name, &c->to, clock_boottime_ns());
    if (f.code) {
        dflock_conn_free(c);
        return failure_raise(&f, call);
    }
    *out = c;
    return 0;
}

int dflock_dial_start(dflock_conn **out, const char *address, const dflock_options *o)
{
    return start(out, address, o, __func__);
}

/* Polls once; false if the call is to end. */
static bool wait_for_event(struct dflock_conn *c, uint64_t deadline, uint64_t now)
{
    uint64_t own = channel_deadline(c->channel);
    struct pollfd p = {.fd = channel_fd(c->channel), .events = channel_events(c->channel)};

    (void)poll(&p, 1, ms_until(own < deadline ? own : deadline, now));
    return !atomic_load(&c->cancelled);
}

int dflock_dial(dflock_conn **out, const char *address, const dflock_options *o)
{
    struct dflock_conn *c;
    int err = start(&c, address, o, __func__);

    *out = NULL;
    while (!err && !channel_is_ready(c->channel)) {
        uint64_t now = clock_boottime_ns();

        err = channel_process(c->channel, now);
        if (err)
            failure_raise(channel_failure(c->channel), __func__);
        else if (!channel_is_ready(c->channel))
            (void)wait_for_event(c, UINT64_MAX, now);
    }
    if (err) {
        dflock_conn_free(c);
        return err;
    }
    *out = c;
    return 0;
}

static bool shut_down(struct dflock_conn *c, bool only_blocked)
{
    bool blocked;

    pthread_mutex_lock(&c->fd_lock);
    blocked = c->blocked;
    if (blocked || !only_blocked) {
        atomic_store(&c->cancelled, true);
        if (channel_fd(c->channel) >= 0)
            (void)shutdown(channel_fd(c->channel), SHUT_RDWR);
    }
    pthread_mutex_unlock(&c->fd_lock);
    return blocked;
}

int dflock_conn_cancel(dflock_conn *c)
{
    if (atomic_load(&c->closed))
        return closed(__func__);
    if (!shut_down(c, true))
        return error_raise(DFLOCK_ERR_STATE, __func__, "no call blocks on this connection");
    return 0;
}

void dflock_conn_close(dflock_conn *c)
{
    atomic_store(&c->closed, true);
    shut_down(c, false);
    pthread_mutex_lock(&c->lock);
    drop_socket(c);
    pthread_mutex_unlock(&c->lock);
}

/* ---- one request, one reply ------------------------------------------------------------------ */

static void mark_blocked(struct dflock_conn *c, bool on)
{
    pthread_mutex_lock(&c->fd_lock);
    c->blocked = on;
    if (on)
        atomic_store(&c->cancelled, false);
    pthread_mutex_unlock(&c->fd_lock);
}

static int await(struct dflock_conn *c, uint64_t deadline, bool own_deadline,
                 struct dflock_reply *reply, const char *call)
{
    for (;;) {
        uint64_t now = clock_boottime_ns();
        int err = channel_process(c->channel, now);

        if (channel_reply(c->channel, reply))
            return reply->status;
        if (atomic_load(&c->cancelled))
            return error_raise(DFLOCK_ERR_CANCELLED, call, "cancelled");
        if (err)
            return failure_raise(channel_failure(c->channel), call);
        if (now >= deadline)
            return own_deadline ? DFLOCK_ERR_TIMEOUT
                                : error_raise(DFLOCK_ERR_CONNECT, call,
                                              "%s: no answer from the server", c->name.text);
        (void)wait_for_event(c, deadline, now);
    }
}

/* Words for what the server answered. */
static int refused(struct dflock_conn *c, const struct dflock_reply *reply, const char *key,
                   const char *call)
{
    const char *what = wire_words(reply->status);

    if (what)
        return error_raise(reply->status, call, "%s: %s: %s", c->name.text, key, what);
    return error_raise(reply->status, call, "%s: %s: the server answered \"%.80s\"", c->name.text,
                       key, reply->text);
}

struct ask {
    const char *call, *command, *key, *arg;
    double wait;       /* how long the server may take on top; < 0: not at all */
    const char *secret; /* instead of arg */
};

static bool is_document(const struct dflock_reply *reply)
{
    return reply->len >= 5 && reply->text[3] == '{';
}

static int converse(struct dflock_conn *c, const struct ask *ask, struct dflock_reply *reply)
{
    uint64_t now = clock_boottime_ns(), deadline = later(now, c->o->connect_timeout);
    bool own = false;
    int err;

    if (ask->wait > 0) {
        own = ask->wait < ceil(ask->wait);
        deadline = own ? later(now, ask->wait) : later(deadline, ask->wait);
    }
    err = ask->secret ? channel_authenticate(c->channel, ask->secret)
                      : channel_request(c->channel, ask->command, ask->key, ask->arg);
    if (err)
        return error_raise(err, ask->call, err == DFLOCK_ERR_INVALID
                                               ? "a line is too long, or has a line end in it"
                                               : "no memory");
    mark_blocked(c, true);
    err = await(c, deadline, own, reply, ask->call);
    mark_blocked(c, false);
    if (atomic_load(&c->closed) && err == DFLOCK_ERR_CANCELLED)
        err = closed(ask->call);
    if (err == 0 && !is_document(reply) && wire_expect(ask->command) == EXPECT_TEXT)
        err = reply->status = DFLOCK_ERR_PROTOCOL;
    if (err < 0 && (channel_outstanding(c->channel) || channel_failure(c->channel)->code ||
                    err == DFLOCK_ERR_PROTOCOL))
        drop_socket(c);
    if (err == DFLOCK_ERR_TIMEOUT && reply->status != err)
        return error_raise(err, ask->call, "%s: %s: not got in time", c->name.text, ask->key);
    return err < 0 && err == reply->status ? refused(c, reply, ask->key, ask->call) : err;
}

static int command(struct dflock_conn *c, const struct ask *ask, struct dflock_reply *reply)
{
    int err;

    memset(reply, 0, sizeof(*reply));
    pthread_mutex_lock(&c->lock);
    if (is_closed(c))
        err = closed(ask->call);
    else if (channel_outstanding(c->channel))
        err = error_raise(DFLOCK_ERR_STATE, ask->call,
                          "requests were submitted whose replies have not been taken");
    else
        err = converse(c, ask, reply);
    pthread_mutex_unlock(&c->lock);
    return err;
}

/* ---- the commands ---------------------------------------------------------------------------- */

/* "A", "A B", "A B C" of what is not negative; a lease of 0 is left out. */
enum { ARG_MAX_LEN = 64 };

/* Whole seconds: the server does not know fractions. */
static int put_timeout(char *arg, double timeout)
{
    return snprintf(arg, ARG_MAX_LEN, "%.0f", ceil(timeout));
}

static void put_lease(char *arg, int at, uint64_t lease)
{
    if (lease)
        (void)snprintf(arg + at, (size_t)(ARG_MAX_LEN - at), "%s%llu", at ? " " : "",
                       (unsigned long long)lease);
}

static void fill(struct dflock_grant *grant, const struct dflock_reply *reply)
{
    if (!grant)
        return;
    memcpy(grant->token, reply->token, sizeof(grant->token));
    grant->fence = dflock_token_fence(reply->token);
    grant->lease = reply->seconds;
}

static int acquire(dflock_conn *c, const char *call, const char *key, double timeout,
                   const uint32_t *limit, uint64_t lease, struct dflock_grant *grant)
{
    struct failure f = {0};
    struct dflock_reply reply;
    char arg[ARG_MAX_LEN];
    int at, err;

    if (wire_check_key(key, &f) || wire_check_timeout(timeout, &f) ||
        wire_check_lease(lease, &f) || (limit && wire_check_limit(*limit, &f)))
        return failure_raise(&f, call);
    at = put_timeout(arg, timeout);
    if (limit)
        at += snprintf(arg + at, sizeof(arg) - (size_t)at, " %u", *limit);
    put_lease(arg, at, lease);
    err = command(c, &(struct ask){call, limit ? "sl" : "l", key, arg, timeout, NULL}, &reply);
    if (err == 0)
        fill(grant, &reply);
    return err;
}

int dflock_conn_acquire(dflock_conn *c, const char *key, double timeout, uint64_t lease,
                        struct dflock_grant *grant)
{
    return acquire(c, __func__, key, timeout, NULL, lease, grant);
}

int dflock_conn_sem_acquire(dflock_conn *c, const char *key, double timeout, uint32_t limit,
                            uint64_t lease, struct dflock_grant *grant)
{
    return acquire(c, __func__, key, timeout, &limit, lease, grant);
}

static int with_token(dflock_conn *c, const char *call, const char *name, const char *key,
                      const char *token, uint64_t lease, uint64_t *left)
{
    struct failure f = {0};
    struct dflock_reply reply;
    char arg[ARG_MAX_LEN];
    int err;

    if (wire_check_key(key, &f) || wire_check_token(token, &f) || wire_check_lease(lease, &f))
        return failure_raise(&f, call);
    put_lease(arg, snprintf(arg, sizeof(arg), "%s", token), lease);
    err = command(c, &(struct ask){call, name, key, arg, -1, NULL}, &reply);
    if (err == 0 && left)
        *left = reply.seconds;
    return err;
}

int dflock_conn_release(dflock_conn *c, const char *key, const char *token)
{
    return with_token(c, __func__, "r", key, token, 0, NULL);
}

int dflock_conn_sem_release(dflock_conn *c, const char *key, const char *token)
{
    return with_token(c, __func__, "sr", key, token, 0, NULL);
}

int dflock_conn_renew(dflock_conn *c, const char *key, const char *token, uint64_t lease,
                      uint64_t *left)
{
    return with_token(c, __func__, "n", key, token, lease, left);
}

int dflock_conn_sem_renew(dflock_conn *c, const char *key, const char *token, uint64_t lease,
                          uint64_t *left)
{
    return with_token(c, __func__, "sn", key, token, lease, left);
}

static int enqueue(dflock_conn *c, const char *call, const char *key, const uint32_t *limit,
                   uint64_t lease, struct dflock_grant *grant)
{
    struct failure f = {0};
    struct dflock_reply reply;
    char arg[ARG_MAX_LEN] = "";
    int at = 0, err;

    if (wire_check_key(key, &f) || wire_check_lease(lease, &f) ||
        (limit && wire_check_limit(*limit, &f)))
        return failure_raise(&f, call);
    if (limit)
        at = snprintf(arg, sizeof(arg), "%u", *limit);
    put_lease(arg, at, lease);
    err = command(c, &(struct ask){call, limit ? "se" : "e", key, arg, -1, NULL}, &reply);
    if (err == DFLOCK_HELD)
        fill(grant, &reply);
    return err;
}

int dflock_conn_enqueue(dflock_conn *c, const char *key, uint64_t lease,
                        struct dflock_grant *grant)
{
    return enqueue(c, __func__, key, NULL, lease, grant);
}

int dflock_conn_sem_enqueue(dflock_conn *c, const char *key, uint32_t limit, uint64_t lease,
                            struct dflock_grant *grant)
{
    return enqueue(c, __func__, key, &limit, lease, grant);
}

static int wait_for(dflock_conn *c, const char *call, const char *name, const char *key,
                    double timeout, struct dflock_grant *grant)
{
    struct failure f = {0};
    struct dflock_reply reply;
    char arg[ARG_MAX_LEN];
    int err;

    if (wire_check_key(key, &f) || wire_check_timeout(timeout, &f))
        return failure_raise(&f, call);
    put_timeout(arg, timeout);
    err = command(c, &(struct ask){call, name, key, arg, timeout, NULL}, &reply);
    if (err == 0)
        fill(grant, &reply);
    return err;
}

int dflock_conn_wait(dflock_conn *c, const char *key, double timeout, struct dflock_grant *grant)
{
    return wait_for(c, __func__, "w", key, timeout, grant);
}

int dflock_conn_sem_wait(dflock_conn *c, const char *key, double timeout,
                         struct dflock_grant *grant)
{
    return wait_for(c, __func__, "sw", key, timeout, grant);
}

int dflock_conn_authenticate(dflock_conn *c, const char *token)
{
    struct failure f = {0};
    struct dflock_reply reply;

    if (wire_check_secret(token, &f))
        return failure_raise(&f, __func__);
    return command(c, &(struct ask){__func__, "auth", "the secret", NULL, -1, token}, &reply);
}

int dflock_conn_ping(dflock_conn *c)
{
    struct dflock_reply reply;

    return command(c, &(struct ask){__func__, "ping", "_", "", -1, NULL}, &reply);
}

/* ---- what the server says of itself ---------------------------------------------------------- */

static int document(dflock_conn *c, const struct ask *ask, const char **json, size_t *len)
{
    struct dflock_reply reply;
    int err = command(c, ask, &reply);

    if (err)
        return err;
    *json = reply.text + 3;
    if (len)
        *len = reply.len - 3;
    return 0;
}

int dflock_conn_stats(dflock_conn *c, const char **json, size_t *len)
{
    return document(c, &(struct ask){__func__, "stats", "_", "", -1, NULL}, json, len);
}

int dflock_conn_list(dflock_conn *c, const char *prefix, const char *cursor, const char **json,
                     size_t *len)
{
    struct failure f = {0};
    const char *key = prefix && *prefix ? prefix : "*";

    if (wire_check_key(key, &f))
        return failure_raise(&f, __func__);
    return document(c, &(struct ask){__func__, "list", key, cursor ? cursor : "", -1, NULL}, json,
                    len);
}

static const char *kind_name(enum dflock_kind kind)
{
    return kind == DFLOCK_SEMAPHORE ? "sem" : "lock";
}

static int check_kind(enum dflock_kind kind, struct failure *f)
{
    if (kind != DFLOCK_LOCK && kind != DFLOCK_SEMAPHORE)
        return failure_set(f, DFLOCK_ERR_INVALID, "%d is neither lock nor semaphore", (int)kind);
    return 0;
}

int dflock_conn_show(dflock_conn *c, const char *key, enum dflock_kind kind, const char **json,
                     size_t *len)
{
    struct failure f = {0};

    if (wire_check_key(key, &f) || check_kind(kind, &f))
        return failure_raise(&f, __func__);
    return document(c, &(struct ask){__func__, "show", key, kind_name(kind), -1, NULL}, json, len);
}

int dflock_conn_evict(dflock_conn *c, const char *key, enum dflock_kind kind, uint64_t fence)
{
    struct failure f = {0};
    struct dflock_reply reply;
    char arg[ARG_MAX_LEN];

    if (wire_check_key(key, &f) || check_kind(kind, &f))
        return failure_raise(&f, __func__);
    put_lease(arg, snprintf(arg, sizeof(arg), "%s", kind_name(kind)), fence);
    return command(c, &(struct ask){__func__, "evict", key, arg, -1, NULL}, &reply);
}

/* ---- an event loop --------------------------------------------------------------------------- */

int dflock_conn_submit(dflock_conn *c, const char *name, const char *key, const char *arg)
{
    int err;

    if (!name || !key || !arg)
        return error_raise(DFLOCK_ERR_INVALID, __func__, "a line is missing");
    pthread_mutex_lock(&c->lock);
    if (is_closed(c))
        err = closed(__func__);
    else
        err = channel_request(c->channel, name, key, arg);
    pthread_mutex_unlock(&c->lock);
    if (err == DFLOCK_ERR_INVALID)
        return error_raise(err, __func__, "a line is too long, or has a line end in it");
    return err;
}

int dflock_conn_process(dflock_conn *c)
{
    int err;

    pthread_mutex_lock(&c->lock);
    if (is_closed(c)) {
        err = closed(__func__);
    } else {
        err = channel_process(c->channel, clock_boottime_ns());
        if (err)
            failure_raise(channel_failure(c->channel), __func__);
    }
    pthread_mutex_unlock(&c->lock);
    return err;
}

int dflock_conn_next(dflock_conn *c, struct dflock_reply *reply)
{
    int got = 1;

    pthread_mutex_lock(&c->lock);
    if (is_closed(c))
        got = closed(__func__);
    else if (!channel_reply(c->channel, reply))
        got = channel_failure(c->channel)->code
                  ? failure_raise(channel_failure(c->channel), __func__)
                  : 0;
    pthread_mutex_unlock(&c->lock);
    return got;
}

/* Reading locks, and a lock is changed by that. */
static struct dflock_conn *locked(const dflock_conn *c)
{
    struct dflock_conn *own = (struct dflock_conn *)(uintptr_t)c;

    pthread_mutex_lock(&own->lock);
    return own;
}

int dflock_conn_fd(const dflock_conn *c)
{
    struct dflock_conn *own = locked(c);
    int fd = channel_fd(own->channel);

    pthread_mutex_unlock(&own->lock);
    return fd;
}

int dflock_conn_events(const dflock_conn *c)
{
    struct dflock_conn *own = locked(c);
    int events = channel_events(own->channel);

    pthread_mutex_unlock(&own->lock);
    return events;
}

int dflock_conn_timeout_ms(const dflock_conn *c)
{
    struct dflock_conn *own = locked(c);
    uint64_t deadline = channel_deadline(own->channel);

    pthread_mutex_unlock(&own->lock);
    return deadline == UINT64_MAX ? -1 : ms_until(deadline, clock_boottime_ns());
}
