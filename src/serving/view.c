/*
 * serving/view.c - see view.h. Runs in lock workers and in the HTTP worker.
 */
#include "serving/view.h"

#include <string.h>

static void copy_entry(const struct shared *sh, uint32_t node, struct view_entry *out)
{
    const struct node *n = table_node(&sh->table, node);
    const struct conn *c = conns_slot(sh->r, n->owner);

    *out = (struct view_entry){.conn_id = n->conn_id, .fence = n->order, .since = n->since,
                               .end = n->end, .lease = n->lease};
    if (n->owner) {
        memcpy(out->addr, c->addr, sizeof(out->addr));
        out->port = c->port;
        out->family = c->family;
        out->session = n->owner > sh->r->max_conns;
    }
}

static bool has_bytes(const char *key, uint32_t len, const char *part, uint32_t part_len)
{
    return part_len == 0 || memmem(key, len, part, part_len);
}

static unsigned state_of(const struct resource *r)
{
    unsigned state = (r->nholders ? VIEW_HELD : 0) | (r->nwaiters ? VIEW_WAITING : 0);

    return state ? state : VIEW_IDLE;
}

static bool wanted(const struct shared *sh, const struct view_filter *f, uint32_t shard, uint32_t i)
{
    const struct resource *r = table_resource(&sh->table, shard, i);
    const char *key = table_key_bytes(&sh->table, shard, i);

    return f->kinds >> r->kind & 1 && f->states & state_of(r) && r->key_len >= f->prefix_len &&
           memcmp(key, f->prefix, f->prefix_len) == 0 &&
           has_bytes(key, r->key_len, f->contains, f->contains_len);
}

static void count_queue(const struct shared *sh, struct view_totals *t, uint32_t shard, uint32_t i)
{
    const struct resource *r = table_resource(&sh->table, shard, i);
    uint64_t since = table_node(&sh->table, r->q_head)->since;

    if (t->queues++ && since >= t->waits_since)
        return;
    t->waits_since = since;
    t->waits_kind = r->kind;
    t->waits_key_len = r->key_len;
    memcpy(t->waits_key, table_key_bytes(&sh->table, shard, i), r->key_len);
}

static void count(const struct shared *sh, struct view_totals *t, uint32_t shard, uint32_t i)
{
    const struct resource *r = table_resource(&sh->table, shard, i);

    if (r->kind == KIND_LOCK) {
        t->locks++;
        t->locks_held += r->nholders;
        t->lock_waiters += r->nwaiters;
    } else {
        t->semaphores++;
        t->semaphore_holders += r->nholders;
        t->semaphore_waiters += r->nwaiters;
    }
    t->idle += state_of(r) == VIEW_IDLE;
    if (r->q_head)
        count_queue(sh, t, shard, i);
}

static void copy_row(const struct shared *sh, uint32_t shard, uint32_t i, struct view_row *out)
{
    const struct resource *r = table_resource(&sh->table, shard, i);

    if (r->holders)
        copy_entry(sh, r->holders, &out->holder);
    else
        out->holder = (struct view_entry){0};
    out->waits_since = r->q_head ? table_node(&sh->table, r->q_head)->since : UINT64_MAX;
    out->last_active = r->last_active;
    out->limit = r->limit;
    out->nholders = r->nholders;
    out->nwaiters = r->nwaiters;
    out->kind = r->kind;
    out->key_len = r->key_len;
    memcpy(out->key, table_key_bytes(&sh->table, shard, i), r->key_len);
}

uint32_t view_step(struct shared *sh, struct view_walk *at, const struct view_filter *filter,
                   uint64_t now, struct view_row *rows, uint32_t room, struct view_totals *totals)
{
    uint32_t n = 0, looked = 0;
    bool last = true;
    struct tx tx;

    if (shared_begin(sh, &tx, at->shard, now)) {
        for (; at->index <= tx.s->res_bump && looked < VIEW_STEP && n < room; looked++) {
            uint32_t i = at->index++;
            const struct resource *r = table_resource(&sh->table, at->shard, i);

            if (r->state == RES_FREE)
                continue;
            if (totals)
                count(sh, totals, at->shard, i);
            if (wanted(sh, filter, at->shard, i))
                copy_row(sh, at->shard, i, &rows[n++]);
        }
        last = at->index > tx.s->res_bump;
        shared_end(sh, &tx);
    }
    if (last) {
        at->index = 1;
        at->shard++;
    }
    at->over = at->shard == SHARD_COUNT;
    return n;
}

bool view_one(struct shared *sh, enum kind kind, const char *key, uint32_t key_len, uint64_t now,
              struct view_one *out)
{
    struct table_key k = shared_key(sh, kind, key, key_len);
    const struct resource *r;
    struct tx tx;
    uint32_t res;

    out->holders_shown = out->queue_shown = 0;
    if (!shared_begin(sh, &tx, table_shard_of(k.hash), now))
        return false;
    res = table_find(&tx, &k);
    if (res) {
        uint32_t i;

        r = table_resource(&sh->table, tx.shard, res);
        out->limit = r->limit;
        out->nholders = r->nholders;
        out->nwaiters = r->nwaiters;
        for (i = r->holders; i && out->holders_shown < VIEW_HOLDERS;
             i = table_node(&sh->table, i)->next)
            copy_entry(sh, i, &out->holder[out->holders_shown++]);
        for (i = r->q_head; i && out->queue_shown < VIEW_QUEUE; i = table_node(&sh->table, i)->next)
            copy_entry(sh, i, &out->queue[out->queue_shown++]);
    }
    shared_end(sh, &tx);
    return res != 0;
}

size_t view_escape(char *out, const char *bytes, size_t n)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~";
    static const char digits[] = "0123456789ABCDEF";
    size_t len = 0;

    /* A dot, too: "." and ".." mean something in a path. */
    for (size_t i = 0; i < n; i++) {
        if (memchr(plain, bytes[i], sizeof(plain) - 1)) {
            out[len++] = bytes[i];
            continue;
        }
        out[len++] = '%';
        out[len++] = digits[(unsigned char)bytes[i] >> 4];
        out[len++] = digits[bytes[i] & 15];
    }
    return len;
}

const char *view_peer(const struct view_entry *e, char *buf, size_t n)
{
    struct conn c = {.family = e->family, .port = e->port};

    memcpy(c.addr, e->addr, sizeof(c.addr));
    return e->family ? conns_peer_text(&c, buf, n) : NULL;
}
