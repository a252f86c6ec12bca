/*
 * http/locks.c - see locks.h. Checked, run on the table, answered: as worker/session.c does it for the
 * line protocol.
 *
 * What a request changes is committed before a byte of its answer leaves; a process that dies in
 * between has changed the table, and its client, whose connection is cut, does not know.
 */
#include "http/locks.h"

#include "base/clock.h"
#include "base/point.h"
#include "http/call.h"
#include "http/http.h"
#include "http/link.h"
#include "http/polls.h"
#include "proto/token.h"
#include "serving/holdings.h"
#include "serving/op.h"
#include "shm/fences.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- answers ---- */

static void answer_grant(struct call *c, enum reply word, const struct grant *g)
{
    struct token token = {.fence = g->fence, .salt = g->salt};
    char text[128], hex[TOKEN_LEN];
    int n;

    c->result = (uint8_t)word;
    token_format(hex, &token);
    n = snprintf(text, sizeof(text),
                 "{\"status\":\"%s\",\"token\":\"%.*s\",\"lease_ttl_s\":%" PRIu64 "}\n", reply_text(word),
                 TOKEN_LEN, hex, g->lease / NS_PER_SEC);
    call_answer_bytes(c, 200, "application/json", text, (size_t)n);
}

static void answer_word(struct call *c, enum reply word)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "{\"status\":\"%s\"}\n", reply_text(word));

    c->result = (uint8_t)word;
    call_answer_bytes(c, 200, "application/json", text, (size_t)n);
}

static void answer_no_promise(struct call *c)
{
    if (__atomic_load_n(&c->h->r->fences, __ATOMIC_ACQUIRE) == FENCES_FAILING)
        call_answer_error(c, HTTP_ERR_FENCE_PERSISTENCE,
                          "grants cannot be written down: see the log of the server");
    else
        call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}

void locks_answer(struct call *c, enum verdict v)
{
    op_count(&c->h->sh.slot->counters, v);
    switch (v) {
    case VERDICT_TIMEOUT:
        answer_word(c, REPLY_TIMEOUT);
        break;
    case VERDICT_QUEUED:
        answer_word(c, REPLY_QUEUED);
        break;
    case VERDICT_LIMIT_MISMATCH:
        call_answer_error(c, HTTP_ERR_LIMIT_MISMATCH, "the semaphore exists with another limit");
        break;
    case VERDICT_MAX_LOCKS:
        call_answer_error(c, HTTP_ERR_MAX_LOCKS, "the server has as many keys as it may");
        break;
    case VERDICT_MAX_WAITERS:
    case VERDICT_NO_NODES:
        call_answer_error(c, HTTP_ERR_MAX_WAITERS, "the queue is as long as it may be");
        break;
    case VERDICT_ALREADY_ENQUEUED:
        call_answer_error(c, HTTP_ERR_ALREADY_ENQUEUED,
                          "this session has enqueued for the key already: wait, or release");
        break;
    case VERDICT_NOT_ENQUEUED:
        call_answer_error(c, HTTP_ERR_NOT_ENQUEUED, "this session has not enqueued for the key");
        break;
    case VERDICT_LEASE_EXPIRED:
        call_answer_error(c, HTTP_ERR_LEASE_EXPIRED,
                          "it was granted, and the lease ended before the wait: enqueue again");
        break;
    case VERDICT_NO_FENCE:
        answer_no_promise(c);
        break;
    default:
        call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
    }
}

static void answer_not_held(struct call *c)
{
    call_answer_error(c, HTTP_ERR_NOT_HELD, "the token holds nothing under this key (any more)");
}

/* ---- what the operations have in common ---- */

/* It comes for the first time, not again after a wait for its turn. */
static void arrive(struct call *c)
{
    tally_add(&c->h->sh.slot->counters.requests, !c->kept);
    POINT_KEY(c->key, c->key_len);
}

static struct table_key key_of(const struct call *c)
{
    return shared_key(&c->h->sh, c->route->flags & ROUTE_SEM ? KIND_SEM : KIND_LOCK, c->key,
                      c->key_len);
}

/* Locks the key's shard. False: it is beyond repair, and the request has been answered. */
static bool begin(struct call *c, struct tx *tx, const struct table_key *key)
{
    if (shared_begin(&c->h->sh, tx, table_shard_of(key->hash), c->h->now))
        return true;
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
    return false;
}

static uint64_t lease_of(const struct call *c)
{
    return seconds_to_ns(c->body->lease_ttl_s ? c->body->lease_ttl_s
                                              : c->h->settings->default_lease_ttl);
}

/* False: it has been answered. */
static bool lease_allowed(struct call *c)
{
    char why[96];
    int64_t most = c->h->settings->max_lease_ttl;

    if (!most || lease_of(c) <= seconds_to_ns(most))
        return true;
    snprintf(why, sizeof(why), "lease_ttl_s is at most %" PRId64 " here (--max-lease-ttl)", most);
    call_answer_error(c, HTTP_ERR_BAD_REQUEST, why);
    return false;
}

static bool must_starve(const struct call *c, enum verdict v)
{
    return v == VERDICT_NO_FENCE && fences_may_come(c->h->r);
}

/* ---- grants ---- */

static void give_back(struct call *c, const struct grant *g)
{
    struct table_key key = key_of(c);
    struct tx tx;

    if (!shared_begin(&c->h->sh, &tx, table_shard_of(key.hash), c->h->now))
        return;
    table_release(&tx, &key, g->fence, g->salt);
    shared_end(&c->h->sh, &tx);
}

void locks_tell_grant(struct call *c, enum reply word, const struct grant *g)
{
    if (!link_has_left(c->link)) {
        answer_grant(c, word, g);
        return;
    }
    give_back(c, g);
    locks_answer(c, VERDICT_TIMEOUT); /* should it still read */
}

/* A request that was kept has waited for its turn, or for a promise. */
static void tell(struct call *c, enum reply word, const struct grant *g)
{
    if (c->kept)
        locks_tell_grant(c, word, g);
    else
        answer_grant(c, word, g);
}

/* ---- acquire, enqueue, wait ---- */

static void acquire(struct call *c, bool two_phase)
{
    struct http *h = c->h;
    struct conn *conn = conns_slot(h->r, c->session);
    int64_t timeout = two_phase ? 0 : c->body->acquire_timeout_s;
    struct acquire_args args = {
        .key = key_of(c),
        .owner = c->session,
        .limit = c->route->flags & ROUTE_SEM ? (uint32_t)c->body->limit : 1,
        .lease = lease_of(c),
        .max_waiters = (uint32_t)h->settings->max_waiters,
        .try_only = !two_phase && timeout == 0,
        .two_phase = two_phase,
        .patient = timeout > 0 && fences_may_come(h->r)};
    bool locked, blocks;
    struct grant g;
    struct tx tx;
    enum verdict v;

    if (h->draining) {
        call_answer_error(c, HTTP_ERR_DRAINING, "the server is ending");
        return;
    }
    if (two_phase) {
        conn->enqueues += conn->enqueues < UINT16_MAX;
        holdings_bound_tombstones(&h->sh, c->session, conn->enqueues, h->now);
    }
    if (!begin(c, &tx, &args.key))
        return;
    op_end_overdue(&h->sh, &tx, &args.key);
    v = op_acquire(&h->sh, &tx, &args, &g, &locked, &h->now);
    blocks = locked && v == VERDICT_QUEUED && !two_phase;
    if (blocks)
        op_block(&tx, conn, g.node, h->now, timeout);
    if (locked)
        shared_end(&h->sh, &tx);
    shared_return_units(&h->sh);
    if (blocks)
        polls_block(c);
    else if (must_starve(c, v))
        polls_starve(c);
    else if (v == VERDICT_OK)
        tell(c, two_phase ? REPLY_ACQUIRED : REPLY_OK, &g);
    else
        locks_answer(c, v);
}

void locks_acquire(struct call *c)
{
    if (!lease_allowed(c) || !polls_turn(c))
        return;
    arrive(c);
    acquire(c, false);
}

void locks_enqueue(struct call *c)
{
    if (!lease_allowed(c) || !polls_turn(c))
        return;
    arrive(c);
    acquire(c, true);
}

static void wait_enqueued(struct call *c)
{
    struct http *h = c->h;
    struct conn *conn = conns_slot(h->r, c->session);
    struct table_key key = key_of(c);
    int64_t timeout = c->body->timeout_s;
    struct grant g;
    struct tx tx;
    enum verdict v;

    holdings_bound_tombstones(&h->sh, c->session, conn->enqueues, h->now);
    if (!begin(c, &tx, &key))
        return;
    op_end_overdue(&h->sh, &tx, &key);
    v = table_wait(&tx, &key, c->session, timeout > 0 && !h->draining, &g);
    if (v == VERDICT_QUEUED)
        op_block(&tx, conn, g.node, h->now, timeout);
    shared_end(&h->sh, &tx);
    if (v == VERDICT_QUEUED)
        polls_block(c);
    else if (must_starve(c, v))
        polls_starve(c);
    else if (v == VERDICT_OK)
        tell(c, REPLY_OK, &g);
    else if (v == VERDICT_TIMEOUT && h->draining && timeout > 0)
        call_answer_error(c, HTTP_ERR_DRAINING, "the server is ending");
    else
        locks_answer(c, v);
}

void locks_wait(struct call *c)
{
    if (!polls_turn(c))
        return;
    arrive(c);
    wait_enqueued(c);
}

/* ---- release, renew ---- */

void locks_release(struct call *c)
{
    struct http *h = c->h;
    struct table_key key = key_of(c);
    struct token token;
    struct tx tx;
    enum verdict v;

    arrive(c);
    if (!token_parse(c->body->token, c->body->token_len, &token)) {
        answer_not_held(c);
        return;
    }
    if (!begin(c, &tx, &key))
        return;
    v = table_release(&tx, &key, token.fence, token.salt);
    shared_end(&h->sh, &tx);
    if (v == VERDICT_OK)
        call_answer_nothing(c);
    else
        answer_not_held(c);
}

static void answer_renewed(struct call *c, uint64_t lease)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "{\"remaining_s\":%" PRIu64 "}\n", lease / NS_PER_SEC);

    call_answer_bytes(c, 200, "application/json", text, (size_t)n);
}

void locks_renew(struct call *c)
{
    struct http *h = c->h;
    struct table_key key = key_of(c);
    uint64_t lease = lease_of(c);
    struct token token;
    struct tx tx;
    enum verdict v;

    if (!lease_allowed(c))
        return;
    arrive(c);
    if (!token_parse(c->body->token, c->body->token_len, &token)) {
        answer_not_held(c);
        return;
    }
    if (!begin(c, &tx, &key))
        return;
    v = table_renew(&tx, &key, c->session, token.fence, token.salt, lease);
    shared_end(&h->sh, &tx);
    if (must_starve(c, v))
        polls_starve(c);
    else if (v == VERDICT_OK)
        answer_renewed(c, lease);
    else if (v == VERDICT_NO_FENCE)
        answer_no_promise(c);
    else
        answer_not_held(c);
}
