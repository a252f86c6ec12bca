/*
 * worker/session.c - one request: checked, run on the table, answered.
 *
 * Consuming the request and writing the reply belong to the operation's transaction: whoever
 * inherits the connection finds the request or its answer, never both and never neither. A request
 * that touches no shard does the same in the worker's own journal.
 */
#include "base/log.h"
#include "base/point.h"
#include "proto/reply.h"
#include "serving/holdings.h"
#include "serving/op.h"
#include "shm/fences.h"
#include "worker/worker.h"

#include <string.h>

static uint64_t lease_seconds(uint64_t ns)
{
    return ns / UINT64_C(1000000000);
}

size_t session_grant_text(char *buf, int reply, const struct grant *g)
{
    struct token token = {.fence = g->fence, .salt = g->salt};

    return reply_grant(buf, (enum reply)reply, &token, lease_seconds(g->lease));
}

void session_answer(struct worker *w, struct journal *j, struct conn *c, uint64_t consumed,
                    const char *reply, size_t n)
{
    char *base = region_base(w->r);

    conns_put(w->r, c, reply, (uint32_t)n);
    JOURNAL_BARRIER();
    if (consumed)
        JOURNAL_SET(j, base, c->in_head, c->in_head + consumed);
    JOURNAL_SET(j, base, c->out_tail, c->out_tail + n);
}

void session_word(struct worker *w, struct conn *c, const struct request *req, int reply)
{
    struct journal *j = &w->sh.slot->journal;
    char text[REPLY_MAX];

    session_answer(w, j, c, req->consumed, text, reply_word(text, (enum reply)reply));
    POINT(SESSION_WORD);
    journal_commit(j);
    session_count(w, req->row, reply);
}

static int reply_of(enum verdict v)
{
    switch (v) {
    case VERDICT_OK:
        return REPLY_OK;
    case VERDICT_QUEUED:
        return REPLY_QUEUED;
    case VERDICT_TIMEOUT:
        return REPLY_TIMEOUT;
    case VERDICT_LIMIT_MISMATCH:
        return REPLY_LIMIT_MISMATCH;
    case VERDICT_MAX_LOCKS:
        return REPLY_MAX_LOCKS;
    case VERDICT_MAX_WAITERS:
    case VERDICT_NO_NODES:
        return REPLY_MAX_WAITERS;
    case VERDICT_ALREADY_ENQUEUED:
        return REPLY_ALREADY_ENQUEUED;
    case VERDICT_NOT_ENQUEUED:
        return REPLY_NOT_ENQUEUED;
    case VERDICT_LEASE_EXPIRED:
        return REPLY_LEASE_EXPIRED;
    default:
        return REPLY_ERROR;
    }
}

/* The request waits: it is consumed, and the connection remembers by which node it will hear. */
static void block(struct worker *w, struct tx *tx, struct conn *c, uint64_t consumed,
                  uint32_t node, int64_t timeout_s)
{
    struct journal *j = &tx->s->journal;

    JOURNAL_SET(j, region_base(w->r), c->in_head, c->in_head + consumed);
    op_block(tx, c, node, w->now, timeout_s);
    POINT(SESSION_BLOCK);
}

/* Locks the key's shard. False: it is quarantined, and the request has been answered. */
static bool begin(struct worker *w, struct tx *tx, struct conn *c, const struct request *req,
                  const struct table_key *key)
{
    if (shared_begin(&w->sh, tx, table_shard_of(key->hash), w->now))
        return true;
    session_word(w, c, req, REPLY_ERROR);
    return false;
}

static struct table_key key_of(const struct worker *w, const struct request *req)
{
    return shared_key(&w->sh, (enum kind)req->kind, req->key, req->key_len);
}

/* Whether the request waits, unconsumed, until more may be promised. loop.c has it served again. */
static bool put_off(struct worker *w, uint32_t slot, enum verdict v)
{
    if (v != VERDICT_NO_FENCE || !fences_may_come(w->r))
        return false;
    w->starved = true;
    conns_slot(w->r, slot)->idle_since = w->now; /* it is not the client that is slow */
    return true;
}

static void refuse_draining(struct worker *w, uint32_t slot, const struct request *req)
{
    struct conn *c = conns_slot(w->r, slot);

    session_word(w, c, req, REPLY_DRAINING);
    if (!table_owns_any(&w->sh.table, slot))
        conn_last(w, slot);
}

static bool serve_acquire(struct worker *w, uint32_t slot, const struct request *req)
{
    struct conn *c = conns_slot(w->r, slot);
    bool two_phase = req->verb == VERB_ENQUEUE;
    struct acquire_args args = {.key = key_of(w, req),
                                .owner = slot,
                                .limit = req->limit,
                                .lease = req->lease_s ? seconds_to_ns(req->lease_s)
                                                      : w->default_lease,
                                .max_waiters = (uint32_t)w->settings->max_waiters,
                                .try_only = !two_phase && req->timeout_s == 0,
                                .two_phase = two_phase,
                                .patient = !two_phase && req->timeout_s > 0 &&
                                           fences_may_come(w->r)};
    char text[REPLY_MAX];
    bool locked;
    struct grant g;
    struct tx tx;
    enum verdict v;

    if (w->draining) {
        refuse_draining(w, slot, req);
        return true;
    }
    if (w->max_lease && args.lease > w->max_lease) {
        session_bad(w, slot, req);
        return true;
    }
    if (two_phase) {
        if (c->enqueues < UINT16_MAX)
            c->enqueues++;
        holdings_bound_tombstones(&w->sh, slot, c->enqueues, w->now);
    }
    if (!begin(w, &tx, c, req, &args.key))
        return true;
    op_end_overdue(&w->sh, &tx, &args.key);
    v = op_acquire(&w->sh, &tx, &args, &g, &locked, &w->now);
    if (put_off(w, slot, v)) {
        shared_end(&w->sh, &tx);
        shared_return_units(&w->sh);
        return false;
    }
    if (!locked) {
        session_word(w, c, req, reply_of(v));
    } else if (v == VERDICT_QUEUED && !two_phase) {
        block(w, &tx, c, req->consumed, g.node, req->timeout_s);
        shared_end(&w->sh, &tx);
    } else {
        int reply = v == VERDICT_OK && two_phase ? REPLY_ACQUIRED : reply_of(v);
        size_t n = v == VERDICT_OK ? session_grant_text(text, reply, &g)
                                   : reply_word(text, (enum reply)reply);

        session_answer(w, &tx.s->journal, c, req->consumed, text, n);
        shared_end(&w->sh, &tx);
        session_count(w, req->row, reply);
    }
    op_count(&w->sh.slot->counters, v);
    shared_return_units(&w->sh);
    return true;
}

static bool serve_wait(struct worker *w, uint32_t slot, const struct request *req)
{
    struct conn *c = conns_slot(w->r, slot);
    struct table_key key = key_of(w, req);
    bool may_block = req->timeout_s > 0 && !w->draining;
    char text[REPLY_MAX];
    struct grant g;
    struct tx tx;
    enum verdict v;
    size_t n;

    holdings_bound_tombstones(&w->sh, slot, c->enqueues, w->now);
    if (!begin(w, &tx, c, req, &key))
        return true;
    op_end_overdue(&w->sh, &tx, &key);
    v = table_wait(&tx, &key, slot, may_block, &g);
    if (put_off(w, slot, v)) {
        shared_end(&w->sh, &tx);
        return false;
    }
    if (v == VERDICT_QUEUED) {
        block(w, &tx, c, req->consumed, g.node, req->timeout_s);
    } else {
        int reply = reply_of(v);

        if (v == VERDICT_TIMEOUT && w->draining && req->timeout_s > 0)
            reply = REPLY_ERROR; /* semantics.md, "Drain": waits end with `error` */
        n = v == VERDICT_OK ? session_grant_text(text, REPLY_OK, &g)
                            : reply_word(text, (enum reply)reply);
        session_answer(w, &tx.s->journal, c, req->consumed, text, n);
        session_count(w, req->row, reply);
    }
    shared_end(&w->sh, &tx);
    op_count(&w->sh.slot->counters, v);
    return true;
}

static void serve_release(struct worker *w, uint32_t slot, const struct request *req)
{
    struct conn *c = conns_slot(w->r, slot);
    struct table_key key = key_of(w, req);
    char text[REPLY_MAX];
    struct token token;
    struct tx tx;
    enum verdict v = VERDICT_NOT_HELD;

    if (!token_parse(req->token, req->token_len, &token)) {
        session_word(w, c, req, REPLY_ERROR);
        return;
    }
    if (!begin(w, &tx, c, req, &key))
        return;
    v = table_release(&tx, &key, token.fence, token.salt);
    session_answer(w, &tx.s->journal, c, req->consumed, text,
                   reply_word(text, (enum reply)reply_of(v)));
    shared_end(&w->sh, &tx);
    session_count(w, req->row, reply_of(v));
}

static bool serve_renew(struct worker *w, uint32_t slot, const struct request *req)
{
    struct conn *c = conns_slot(w->r, slot);
    struct table_key key = key_of(w, req);
    uint64_t lease = req->lease_s ? seconds_to_ns(req->lease_s) : w->default_lease;
    char text[REPLY_MAX];
    struct token token;
    struct tx tx;
    enum verdict v;

    if (w->max_lease && lease > w->max_lease) {
        session_bad(w, slot, req);
        return true;
    }
    if (!token_parse(req->token, req->token_len, &token)) {
        session_word(w, c, req, REPLY_ERROR);
        return true;
    }
    if (!begin(w, &tx, c, req, &key))
        return true;
    v = table_renew(&tx, &key, slot, token.fence, token.salt, lease);
    if (put_off(w, slot, v)) {
        shared_end(&w->sh, &tx);
        return false;
    }
    session_answer(w, &tx.s->journal, c, req->consumed, text,
                   v == VERDICT_OK ? reply_seconds(text, lease_seconds(lease))
                                   : reply_word(text, REPLY_ERROR));
    shared_end(&w->sh, &tx);
    session_count(w, req->row, v == VERDICT_OK ? REPLY_OK : REPLY_ERROR);
    return true;
}

static void serve_evict(struct worker *w, uint32_t slot, const struct request *req)
{
    struct conn *c = conns_slot(w->r, slot);
    struct table_key key = key_of(w, req);
    char text[REPLY_MAX], peer[64];
    struct tx tx;
    enum verdict v;

    if (!(c->flags & CONN_ADMIN)) {
        log_warn("evict refused, the connection has not authenticated with the admin token",
                 log_uint("conn", c->id), log_str("peer", conns_peer_text(c, peer, sizeof(peer))));
        session_word(w, c, req, REPLY_ERROR);
        return;
    }
    if (!begin(w, &tx, c, req, &key))
        return;
    v = table_evict(&tx, &key, req->fence);
    session_answer(w, &tx.s->journal, c, req->consumed, text,
                   reply_word(text, (enum reply)reply_of(v)));
    shared_end(&w->sh, &tx);
    session_count(w, req->row, reply_of(v));
    log_audit("evict", log_bytes("key", req->key, req->key_len),
              log_str("kind", req->kind == REQUEST_SEM ? "sem" : "lock"),
              log_uint("fence", req->fence), log_str("result", v == VERDICT_OK ? "ok" : "error"),
              log_uint("conn", c->id), log_str("peer", conns_peer_text(c, peer, sizeof(peer))));
}

bool session_must_authenticate(const struct worker *w, const struct conn *c)
{
    return w->settings->auth_token.count > 0 &&
           !(c->flags & (CONN_AUTHENTICATED | CONN_ADMITTED));
}

/* Both sets are always compared, so that the time says nothing about which one matched. */
static void serve_auth(struct worker *w, uint32_t slot, const struct request *req)
{
    struct conn *c = conns_slot(w->r, slot);
    struct journal *j = &w->sh.slot->journal;
    char text[REPLY_MAX], peer[64];
    bool user = secret_match(&w->settings->auth_token, req->token, req->token_len);
    bool admin = secret_match(&w->settings->admin_token, req->token, req->token_len);

    if (!(c->flags & CONN_AUTHENTICATED) && !user && !admin && w->settings->admin_token.count) {
        tally_add(&w->sh.slot->counters.auth_failures, 1);
        /* The connection stays and may try again at once: rate-limited. */
        log_warn("authentication failed", log_uint("conn", c->id),
                 log_str("peer", conns_peer_text(c, peer, sizeof(peer))),
                 log_str("why", "wrong admin token"));
    }
    if ((c->flags & CONN_AUTHENTICATED) || (!user && !admin)) {
        session_word(w, c, req, REPLY_ERROR);
        return;
    }
    JOURNAL_SET(j, region_base(w->r), c->flags,
                c->flags | CONN_AUTHENTICATED | (admin ? CONN_ADMIN : 0));
    session_answer(w, j, c, req->consumed, text, reply_word(text, REPLY_OK));
    journal_commit(j);
    session_count(w, req->row, REPLY_OK);
}

/* A secret was in the ring, or a part of one; it must not stay in the region longer than needed.
   Whatever is not waiting to be served goes. */
void session_scrub(struct worker *w, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);
    volatile char *ring;
    uint32_t size;

    /* First, so that what a big buffer left behind in the small one goes too. */
    if (c->bigbuf && conns_in_used(c) <= IOBUF_IN)
        conns_shrink(w->r, slot);
    if (!c->iobuf)
        return;
    explicit_bzero(w->scratch, REQUEST_AUTH_BYTES_MAX); /* where a view that wraps was copied to */
    ring = conns_in(w->r, c);
    size = conns_in_size(c);
    for (uint64_t at = c->in_tail; at < c->in_head + size; at++)
        ring[at & (size - 1)] = 0;
}

/* The first request decides: the right token, or error_auth and the end. */
static void authenticate(struct worker *w, uint32_t slot, const struct request *req)
{
    bool meant = req->verb == VERB_AUTH && !req->error;

    if (meant && (secret_match(&w->settings->auth_token, req->token, req->token_len) ||
                  secret_match(&w->settings->admin_token, req->token, req->token_len)))
        serve_auth(w, slot, req);
    else
        conn_fail(w, slot, req->row, req->error,
                  meant        ? "wrong token"
                  : req->error ? NULL
                               : "a command before auth",
                  req->consumed);
}

void session_refuse_stranger(struct worker *w, uint32_t slot, const char *why)
{
    const struct conn *c = conns_slot(w->r, slot);
    char peer[64];

    /* Compared even when there was nothing to compare: the time must not tell. */
    bool right = secret_match(&w->settings->auth_token, "", 0);

    (void)right;
    tally_add(&w->sh.slot->counters.auth_failures, 1);
    /* Each costs a connection and 100 ms, so there is no flood to be held back. */
    log_audit_warn("authentication failed", log_uint("conn", c->id),
                   log_str("peer", conns_peer_text(c, peer, sizeof(peer))), log_str("why", why));
}

void session_bad(struct worker *w, uint32_t slot, const struct request *req)
{
    struct conn *c = conns_slot(w->r, slot);

    /* A client that slips by a line puts its secret where the command belongs: with a token
       configured only known words are shown. */
    bool show = req->verb != VERB_NONE || w->settings->auth_token.count == 0;

    tally_add(&w->sh.slot->counters.bad_requests, 1);
    log_debug("bad request", log_uint("conn", c->id),
              log_int("code", req->error ? req->error : REQUEST_ERROR_LEASE),
              log_str("why", request_error_text(req->error ? req->error : REQUEST_ERROR_LEASE)),
              log_bytes("command", show ? req->command : "?",
                        !show ? 1 : req->command_len < 16 ? req->command_len : 16));
    if (session_must_authenticate(w, c))
        authenticate(w, slot, req);
    else
        session_word(w, c, req, REPLY_ERROR);
    if (req->verb == VERB_AUTH)
        session_scrub(w, slot);
}

/* What may have to wait for a promise. */
static bool serve_promise(struct worker *w, uint32_t slot, const struct request *req)
{
    bool served = req->verb == VERB_RENEW  ? serve_renew(w, slot, req)
                  : req->verb == VERB_WAIT ? serve_wait(w, slot, req)
                                           : serve_acquire(w, slot, req);

    if (!served) /* it is counted when it is served */
        tally_add(&w->sh.slot->counters.requests, (uint64_t)-1);
    return served;
}

bool session_serve(struct worker *w, uint32_t slot, const struct request *req)
{
    struct conn *c = conns_slot(w->r, slot);

    tally_add(&w->sh.slot->counters.requests, 1);
    POINT_KEY(req->key, req->key_len);
    if (session_must_authenticate(w, c)) {
        authenticate(w, slot, req);
        session_scrub(w, slot);
        return true;
    }
    switch (req->verb) {
    case VERB_ACQUIRE:
    case VERB_ENQUEUE:
    case VERB_RENEW:
    case VERB_WAIT:
        return serve_promise(w, slot, req);
    case VERB_RELEASE:
        serve_release(w, slot, req);
        break;
    case VERB_PING:
        session_word(w, c, req, REPLY_OK);
        break;
    case VERB_STATS:
    case VERB_LIST:
    case VERB_SHOW:
        job_request(w, slot);
        break;
    case VERB_EVICT:
        serve_evict(w, slot, req);
        break;
    case VERB_AUTH:
        serve_auth(w, slot, req);
        session_scrub(w, slot);
        break;
    default:
        __builtin_trap();
    }
    return true;
}

enum request_row session_blocked_row(const struct worker *w, uint32_t shard, uint32_t node)
{
    const struct node *n = table_node(&w->sh.table, node);
    bool sem = table_resource(&w->sh.table, shard, n->res)->kind == KIND_SEM;

    if (n->flags & NODE_TWO_PHASE)
        return sem ? ROW_WAIT_SEM : ROW_WAIT_LOCK;
    return sem ? ROW_ACQUIRE_SEM : ROW_ACQUIRE_LOCK;
}

void session_unblock(struct worker *w, uint32_t slot, bool draining)
{
    struct conn *c = conns_slot(w->r, slot);
    enum request_row row = ROW_NONE;
    int reply = REPLY_ERROR;
    char text[REPLY_MAX];
    struct journal *j = &w->sh.slot->journal;
    struct grant g;
    struct tx tx;
    bool whole = shared_begin(&w->sh, &tx, c->blocked_shard, w->now);

    if (whole) {
        enum verdict v = VERDICT_NOT_HELD;

        j = &tx.s->journal;
        if (op_still_blocked(&w->sh, slot)) {
            row = session_blocked_row(w, c->blocked_shard, c->blocked);
            v = table_unblock(&tx, c->blocked, true, &g);
        }
        if (v != VERDICT_TIMEOUT || !draining)
            reply = reply_of(v);
        op_count(&w->sh.slot->counters, v);
    }
    op_unblocked(&w->sh, j, c);
    session_answer(w, j, c, 0, text,
                   reply == REPLY_OK ? session_grant_text(text, reply, &g)
                                     : reply_word(text, (enum reply)reply));
    if (whole)
        shared_end(&w->sh, &tx);
    else
        journal_commit(j);
    session_count(w, row, reply);
    c->idle_since = w->now;
}
