/*
 * tests/loadgen/simulation_test.c - the check against a server that is simulated, with a network
 * that delays requests and replies for longer than a lease now and then, holders that come too
 * late, and a clock that goes faster than the clients': it objects to nothing. Then the server is
 * given one fault at a time: it objects to each.
 *
 * DFLOCKD_TEST_SEED repeats a run.
 */
#include "bench/check.h"

#include "base/clock.h"

#include "tests/tap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CLIENTS = 12, LEASE = 10, GRANTS = 20000, NOBODY = -1, EVENTS = 8 * CLIENTS };
#define MS NS_PER_MS
/* By the clients' clocks; the server's goes faster by less than a thousandth. */
#define LEASE_NS (LEASE * NS_PER_SEC - LEASE * NS_PER_SEC / 2000)

enum fault { NONE, TWICE, LAST_FIRST, OLD_FENCE, EARLY };

enum kind { ASK, AT_SERVER, QUEUED, GRANT, GIVE_BACK, BACK_AT_SERVER, BACK, LEASE_ENDS };

struct event {
    uint64_t t, nth;
    enum kind kind;
    int client;
    uint64_t fence;
    bool refused;
};

struct client {
    struct check_wish wish;
    bool two_steps;
    uint64_t heard; /* replies do not overtake each other */
};

static struct check check;
static struct check_key key;
static struct client clients[CLIENTS];
static struct event events[EVENTS];
static unsigned events_n;
static uint64_t now, nth, state, fence, received;

/* The server. */
static enum fault fault;
static int holder, queue[CLIENTS], queue_n;
static uint64_t holder_fence;

static uint64_t next_random(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % below;
}

static bool one_in(uint64_t n)
{
    return next_random(n) == 0;
}

/* Mostly short, now and then long, seldom longer than a lease. */
static uint64_t some_time(void)
{
    if (one_in(200))
        return next_random(12 * NS_PER_SEC);
    return one_in(10) ? next_random(500 * MS) : next_random(2 * MS);
}

static struct event *at(uint64_t t, enum kind kind, int client)
{
    if (events_n == EVENTS)
        bail_out("too many events");
    events[events_n] = (struct event){.t = t, .nth = nth++, .kind = kind, .client = client};
    return &events[events_n++];
}

static struct event *reply(enum kind kind, int client)
{
    struct client *c = &clients[client];
    uint64_t t = now + some_time();

    c->heard = t > c->heard ? t : c->heard;
    return at(c->heard, kind, client);
}

static struct event next_event(void)
{
    unsigned first = 0;
    struct event e;

    for (unsigned i = 1; i < events_n; i++)
        if (events[i].t < events[first].t ||
            (events[i].t == events[first].t && events[i].nth < events[first].nth))
            first = i;
    e = events[first];
    events[first] = events[--events_n];
    return e;
}

/* ---- the server ------------------------------------------------------------------------------ */

/* Only the last one granted has a lease that matters. */
static void drop_lease(void)
{
    for (unsigned i = 0; i < events_n; i++)
        if (events[i].kind == LEASE_ENDS) {
            events[i] = events[--events_n];
            return;
        }
}

static void grant(int client)
{
    drop_lease();
    holder = client;
    holder_fence = fault == OLD_FENCE && one_in(20) && fence > 2 ? fence - 1 : ++fence;
    reply(GRANT, client)->fence = holder_fence;
    at(now + (fault == EARLY && one_in(20) ? LEASE_NS / 10 : LEASE_NS), LEASE_ENDS, client)->fence =
        holder_fence;
}

static void promote(void)
{
    int i = fault == LAST_FIRST && one_in(20) ? queue_n - 1 : 0;
    int client;

    holder = NOBODY;
    if (queue_n == 0)
        return;
    client = queue[i];
    memmove(&queue[i], &queue[i + 1], (size_t)(--queue_n - i) * sizeof(queue[0]));
    grant(client);
}

static void serve_acquire(int client)
{
    if (holder == NOBODY || (fault == TWICE && one_in(20))) {
        grant(client);
        return;
    }
    queue[queue_n++] = client;
    if (clients[client].two_steps)
        reply(QUEUED, client);
}

static void serve_release(const struct event *e)
{
    bool held = holder == e->client && holder_fence == e->fence;

    reply(BACK, e->client)->refused = !held;
    if (held)
        promote();
}

/* ---- the clients ----------------------------------------------------------------------------- */

static void ask(int client)
{
    struct client *c = &clients[client];

    c->two_steps = one_in(2);
    check_asked(&check, &c->wish, (uint32_t)client, received, now);
    at(now + some_time(), AT_SERVER, client);
}

static void hear_grant(const struct event *e)
{
    char token[33];

    snprintf(token, sizeof(token), "%016" PRIx64 "0000000000000000", e->fence);
    check_granted(&check, &key, &clients[e->client].wish, token, e->fence, LEASE, now);
    if (e->fence > received)
        received = e->fence;
    at(now + some_time(), GIVE_BACK, e->client)->fence = e->fence;
}

static void give_back(const struct event *e)
{
    check_releasing(&check, &key, &clients[e->client].wish, now);
    at(now + some_time(), BACK_AT_SERVER, e->client)->fence = e->fence;
}

static void happen(const struct event *e)
{
    now = e->t;
    switch (e->kind) {
    case ASK:
        ask(e->client);
        return;
    case AT_SERVER:
        serve_acquire(e->client);
        return;
    case QUEUED:
        check_queued(&check, &key, &clients[e->client].wish);
        return;
    case GRANT:
        hear_grant(e);
        return;
    case GIVE_BACK:
        give_back(e);
        return;
    case BACK_AT_SERVER:
        serve_release(e);
        return;
    case BACK:
        if (e->refused)
            check_refused(&check, &key, &clients[e->client].wish, now);
        at(now + some_time(), ASK, e->client);
        return;
    case LEASE_ENDS:
        if (holder == e->client && holder_fence == e->fence)
            promote();
        return;
    }
}

/* How many violations there were. */
static uint64_t simulate(enum fault which, uint64_t seed)
{
    uint64_t violations;

    check_init(&check, false, 0);
    key = (struct check_key){.name = "key"};
    memset(clients, 0, sizeof(clients));
    events_n = 0;
    now = nth = fence = received = 0;
    holder = NOBODY;
    queue_n = 0;
    fault = which;
    state = seed;
    for (int i = 0; i < CLIENTS; i++)
        at(now + some_time(), ASK, i);
    while (check.grants < GRANTS) {
        struct event e = next_event();

        happen(&e);
    }
    for (uint64_t i = 0; fault == NONE && i < check.violations && i < CHECK_SHOWN; i++)
        diag("%s", check.text[i]);
    if (check.violations)
        diag("for instance: %s", check.text[0]);
    violations = check.violations;
    check_destroy(&check);
    return violations;
}

int main(void)
{
    const char *given = getenv("DFLOCKD_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0)
                          : (uint64_t)time(NULL) * UINT64_C(1000000007) ^ (uint64_t)clock();

    diag("DFLOCKD_TEST_SEED=%" PRIu64, seed);
    for (uint64_t i = 0; i < 10; i++)
        is_u64(simulate(NONE, seed + i * 2 + 1), 0,
               "a server that keeps its promises, run %" PRIu64, i + 1);
    ok(simulate(TWICE, seed | 1) > 0, "a lock is granted twice");
    ok(simulate(LAST_FIRST, seed | 1) > 0, "the last in the queue comes first");
    ok(simulate(OLD_FENCE, seed | 1) > 0, "a fence comes again");
    ok(simulate(EARLY, seed | 1) > 0, "leases end early");
    return done_testing();
}
