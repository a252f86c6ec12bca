/*
 * tests/soak/script.c - what a connection of the soak does next, at random: acquires of both kinds
 * and phases, renewals, leases that run out, pipelines, half-closes, disconnects at bad moments.
 *
 * Keys: a few hot ones with queues, some that are shared now and then, and private ones, named
 * after the connection, on which nothing may ever be refused.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOT = 6, SHARED = 100, HOT_QUEUE = 40, LONG = 40 };

static unsigned hot_asked[2][HOT]; /* asked for and not answered, so that not all wait there */

static unsigned *hot_count(const struct key *key)
{
    return &hot_asked[key->limit != 0][(unsigned)(key->name[1] - '0') % HOT];
}

static struct key some_key(const struct conn *c, bool sem)
{
    struct key key = {.name = "", .limit = 0, .hot = false};
    unsigned n = chance(HOT), r = chance(100);

    if (r < 30 && hot_asked[sem][n] < HOT_QUEUE) {
        snprintf(key.name, sizeof(key.name), "h%u-%u", n, round_n);
        key.hot = true;
    } else if (r < 60) {
        n = chance(SHARED);
        snprintf(key.name, sizeof(key.name), "s%u-%u", n, round_n);
    } else {
        n = c->id;
        snprintf(key.name, sizeof(key.name), "p%u-%u", n, round_n);
    }
    if (sem)
        key.limit = 1 + n % 5;
    return key;
}

static unsigned some_timeout(void)
{
    unsigned r = chance(100);

    return r < 20 ? 0 : r < 40 ? 1 + chance(3) : LONG;
}

/* 0: none is asked for. */
static unsigned some_lease(const struct key *key)
{
    unsigned r = chance(100);

    if (r < (key->hot ? 2 : 15))
        return 1 + chance(2);
    return r < 50 ? 30 + chance(31) : 0;
}

static void acquire(struct conn *c, const struct key *key, unsigned timeout, unsigned lease)
{
    char arg[64];
    int n = snprintf(arg, sizeof(arg), "%u", timeout);

    if (key->limit)
        n += snprintf(arg + n, sizeof(arg) - (size_t)n, " %u", key->limit);
    if (lease)
        snprintf(arg + n, sizeof(arg) - (size_t)n, " %u", lease);
    if (key->hot)
        ++*hot_count(key);
    loop_ask(c, key->limit ? CMD_SL : CMD_L, key, arg, lease);
}

static void enqueue(struct conn *c, const struct key *key)
{
    char arg[64] = "";
    int n = 0;
    unsigned lease = some_lease(key);

    if (key->limit)
        n = snprintf(arg, sizeof(arg), "%u ", key->limit);
    if (lease)
        snprintf(arg + n, sizeof(arg) - (size_t)n, "%u", lease);
    loop_ask(c, key->limit ? CMD_SE : CMD_E, key, arg, lease);
}

static void wait_for(struct conn *c, const struct key *key, unsigned lease, unsigned timeout)
{
    char arg[16];

    snprintf(arg, sizeof(arg), "%u", timeout);
    if (key->hot)
        ++*hot_count(key);
    loop_ask(c, key->limit ? CMD_SW : CMD_W, key, arg, lease);
}

/* Tries on one key of its own, questions between: more than there are slots are refused. */
static void pipeline(struct conn *c)
{
    struct key key = {.name = "", .limit = percent(60) ? 1 + chance(5) : 0, .hot = false};

    snprintf(key.name, sizeof(key.name), "q%u-%u-%u", c->id, round_n, key.limit);
    for (unsigned n = 2 + chance(7); n; n--) {
        if (percent(15))
            loop_ask(c, CMD_PING, NULL, "", 0);
        else if (percent(1))
            loop_ask(c, CMD_STATS, NULL, "", 0);
        else
            acquire(c, &key, 0, 0);
    }
    loop_send(c);
}

static void half_close(struct conn *c)
{
    struct key key = some_key(c, percent(30));

    for (unsigned n = chance(3); n; n--)
        loop_ask(c, CMD_PING, NULL, "", 0);
    acquire(c, &key, some_timeout(), 0);
    if (percent(30))
        loop_send(c);
    loop_half_close(c);
}

/* A blocked request is sometimes given up. */
static void perhaps_leave(struct conn *c, unsigned timeout)
{
    if (timeout && percent(4))
        loop_timer(c, percent(25) ? THEN_HALF : THEN_LEAVE, chance(300));
}

void script_begin(struct conn *c)
{
    unsigned r = chance(100), timeout = some_timeout();
    struct key key = some_key(c, chance(100) < 35);

    if (r < 52) {
        acquire(c, &key, timeout, some_lease(&key));
    } else if (r < 80) {
        enqueue(c, &key);
        timeout = 0;
    } else if (r < 88) {
        pipeline(c);
        return;
    } else if (r < 92) {
        half_close(c);
        return;
    } else if (r < 94) {
        loop_leave(c, percent(50));
        return;
    } else {
        loop_ask(c, CMD_PING, NULL, "", 0);
        timeout = 0;
    }
    loop_send(c);
    if (c->out_n == 0)
        perhaps_leave(c, timeout);
}

static void note_grant(struct conn *c, const struct ask *ask, const char *token)
{
    char digits[17] = "";
    struct hold *h;
    uint64_t fence;

    memcpy(digits, token, 16);
    fence = strtoull(digits, NULL, 16);
    if (fence > highest_fence)
        highest_fence = fence;
    count_grants++;
    if (c->held == HOLDS)
        return;
    for (unsigned i = 0; i < c->held; i++) {
        if (memcmp(c->holds[i].token, token, 32) == 0) {
            c->holds[i].acquired = false; /* w after acquired */
            return;
        }
    }
    h = &c->holds[c->held++];
    h->key = ask->key;
    memcpy(h->token, token, 32);
    h->token[32] = 0;
    h->lease = ask->lease;
    h->renewed = 0;
    h->acquired = ask->cmd == CMD_E || ask->cmd == CMD_SE;
}

void script_reply(struct conn *c, const struct ask *ask, const char *line)
{
    switch (ask->cmd) {
    case CMD_L:
    case CMD_SL:
    case CMD_W:
    case CMD_SW:
        if (ask->key.hot)
            --*hot_count(&ask->key);
        if (strncmp(line, "ok ", 3) == 0 && strlen(line) > 35)
            note_grant(c, ask, line + 3);
        break;
    case CMD_E:
    case CMD_SE:
        if (strcmp(line, "queued") == 0 || percent(30)) {
            c->queued = ask->key; /* w may follow acquired, too */
            c->queued_lease = ask->lease;
        }
        if (strncmp(line, "acquired ", 9) == 0 && strlen(line) > 41)
            note_grant(c, ask, line + 9);
        break;
    default:
        break;
    }
}

static void renew(struct conn *c)
{
    struct hold *h = &c->holds[chance(c->held)];
    char arg[64];

    if (h->lease && percent(80))
        h->lease = 1 + chance(2);
    else
        h->lease = percent(50) ? 30 + chance(31) : 0;
    snprintf(arg, sizeof(arg), h->lease ? "%s %u" : "%s", h->token, h->lease);
    h->renewed++;
    loop_ask(c, h->key.limit ? CMD_SN : CMD_N, &h->key, arg, h->lease);
    loop_send(c);
}

static void release_into(struct conn *c, const struct hold *h)
{
    loop_ask(c, h->key.limit ? CMD_SR : CMD_R, &h->key, h->token, 0);
}

/* All that it holds, sometimes one of them twice. */
static void release(struct conn *c)
{
    for (unsigned i = 0; i < c->held && c->asked_n < ASKS; i++)
        release_into(c, &c->holds[i]);
    if (percent(4) && c->asked_n < ASKS)
        release_into(c, &c->holds[0]);
    c->held = 0;
    loop_send(c);
}

/* Another connection gives it back. */
static void release_by(struct conn *c, struct conn *other)
{
    release_into(other, &c->holds[0]);
    c->held = 0;
    loop_send(other);
    loop_timer(c, THEN_BEGIN, 1 + chance(20));
}

static void hold_on(struct conn *c)
{
    struct hold *h = &c->holds[0];
    unsigned r = chance(100);
    struct conn *other;

    if (loop_draining()) {
        release(c);
    } else if (h->lease && h->lease < 10 && r < 60) {
        if (r < 20) /* it runs out */
            loop_timer(c, THEN_RELEASE, h->lease * 1000 + chance(600));
        else if (h->renewed < 4)
            loop_timer(c, THEN_RENEW, h->lease * 1000 * (20 + chance(50)) / 100);
        else
            release(c);
    } else if (r < 55) {
        release(c);
    } else if (r < 80) {
        loop_timer(c, THEN_RELEASE, chance(h->key.hot ? 4 : 60));
    } else if (r < 88 && h->renewed < 4) {
        renew(c);
    } else if (r < 92) {
        loop_leave(c, percent(50));
    } else if (r < 96 && c->held == 1 && !h->acquired && (other = loop_idle(c))) {
        release_by(c, other);
    } else if (r >= 96 && h->lease && h->lease < 10 && !h->acquired) {
        c->held = 0; /* forgotten: the lease will end */
        loop_timer(c, THEN_BEGIN, 0);
    } else {
        release(c);
    }
}

void script_settle(struct conn *c)
{
    if (c->half)
        return; /* its end is all that can come */
    if (c->queued.name[0] && !loop_draining() && percent(3))
        loop_leave(c, percent(50));
    else if (c->queued.name[0])
        loop_timer(c, THEN_WAIT, percent(50) ? 0 : chance(20));
    else if (c->held)
        hold_on(c);
    else
        loop_timer(c, THEN_BEGIN, percent(70) ? 0 : chance(100));
}

void script_then(struct conn *c, enum then then)
{
    unsigned timeout = some_timeout();
    struct key key = c->queued;

    switch (then) {
    case THEN_WAIT:
        c->queued.name[0] = 0;
        wait_for(c, &key, c->queued_lease, timeout);
        loop_send(c);
        if (c->out_n == 0)
            perhaps_leave(c, timeout);
        break;
    case THEN_RENEW:
        renew(c);
        break;
    case THEN_RELEASE:
        release(c);
        break;
    case THEN_LEAVE:
        loop_leave(c, percent(50));
        break;
    case THEN_HALF:
        loop_half_close(c);
        break;
    default:
        break;
    }
}

void script_gone(struct conn *c)
{
    for (unsigned i = 0; i < c->asked_n; i++) {
        const struct ask *ask = &c->asked[(c->asked_at + i) % ASKS];

        if (ask->key.hot && ask->cmd != CMD_E && ask->cmd != CMD_SE && ask->cmd != CMD_R &&
            ask->cmd != CMD_SR && ask->cmd != CMD_N && ask->cmd != CMD_SN)
            --*hot_count(&ask->key);
    }
}
