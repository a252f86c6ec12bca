/*
 * worker/deliver.c - grants that somebody (this worker too) made to connections of this worker.
 *
 * A transaction each: the lease starts, the node is told, the reply is written, the connection is
 * unblocked. So a grant is either still pending for an heir to deliver, or its reply is in the ring.
 */
#include "base/point.h"
#include "proto/reply.h"
#include "serving/op.h"
#include "shm/bell.h"
#include "worker/worker.h"

enum { BATCH = 32 }; /* grants delivered under one lock */

/* One grant; false when it must wait: for a buffer, or until its lease may be promised. */
static bool deliver(struct worker *w, struct tx *tx, uint32_t node, uint32_t *slot)
{
    struct conn *c;
    struct grant g;
    char text[REPLY_MAX];
    struct journal *j = &tx->s->journal;
    enum request_row row;
    enum verdict v;
    size_t n;

    *slot = table_node(&w->sh.table, node)->owner;
    c = conns_slot(w->r, *slot);
    if (c->phase != PHASE_BLOCKED || c->blocked != node) {
        /* The connection is going: what it was given passes on. */
        table_unblock(tx, node, false, &g);
        shared_step(tx);
        return true;
    }
    if (!iobufs_attach(&w->bufs, c))
        return false;
    row = session_blocked_row(w, tx->shard, node);
    v = table_deliver(tx, node, &g);
    if (v == VERDICT_NO_FENCE)
        return false;
    n = v == VERDICT_OK ? session_grant_text(text, REPLY_OK, &g)
                        : reply_word(text, REPLY_LEASE_EXPIRED);
    op_unblocked(&w->sh, j, c);
    session_answer(w, j, c, 0, text, n);
    shared_step(tx);
    POINT(DELIVER_TOLD);
    session_count(w, row, v == VERDICT_OK ? REPLY_OK : REPLY_LEASE_EXPIRED);
    c->idle_since = w->now;
    return true;
}

/* Not a connection that is on its way to another worker, or there: that one takes its grant along. */
static bool is_ours(struct worker *w, uint32_t node)
{
    const struct conn *c = conns_slot(w->r, table_node(&w->sh.table, node)->owner);

    /* In this order: the master writes the worker first, then the state. */
    return conns_state(c) != CONN_RETURNED && conns_is_of(c, w->sh.worker);
}

static uint32_t first_of_ours(struct worker *w, const struct tx *tx)
{
    uint32_t node = table_pending(tx, w->sh.worker);

    while (node && !is_ours(w, node))
        node = table_pending_next(tx, w->sh.worker, node);
    return node;
}

static void deliver_shard(struct worker *w, uint32_t shard)
{
    uint32_t touched[BATCH], node;
    unsigned n = 0;
    struct tx tx;
    bool more;

    if (!shared_begin(&w->sh, &tx, shard, w->now)) {
        if (table_lost(&w->sh.table, shard))
            conn_give_up(w, shard);
        return;
    }
    while (n < BATCH && (node = first_of_ours(w, &tx)) != 0) {
        if (!deliver(w, &tx, node, &touched[n])) {
            w->starved = true;
            break;
        }
        n++;
    }
    more = n == BATCH && first_of_ours(w, &tx) != 0;
    shared_end(&w->sh, &tx);
    if (more)
        bell_tell(w->r, w->sh.worker, shard);
    for (unsigned i = 0; i < n; i++)
        conn_run(w, touched[i]);
}

void deliver_shards(struct worker *w, uint64_t mask)
{
    while (mask) {
        POINT(DELIVER_BEGIN);
        deliver_shard(w, (uint32_t)__builtin_ctzll(mask));
        mask &= mask - 1;
    }
}
