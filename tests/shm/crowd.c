/*
 * tests/shm/crowd.c - see crowd.h.
 */
#include "tests/shm/crowd.h"

#include "base/clock.h"
#include "shm/caps.h"
#include "shm/lock.h"
#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define SECOND UINT64_C(1000000000)

static void connect_slot(struct crowd *c, uint32_t slot)
{
    struct conn *conn = conns_slot(c->r, slot);

    conn->family = AF_UNIX;
    conns_open(c->r, slot, c->r->conn_id_next++, proc_below(CROWD_WORKERS), c->now);
    c->r->nconns++;
}

void crowd_join(struct crowd *c, struct region *r, uint64_t now)
{
    c->r = r;
    c->now = now;
    for (uint32_t i = 0; i < CROWD_WORKERS; i++) {
        shared_attach(&c->sh[i], r, i);
        if (iobufs_init(&c->bufs[i], r, i) != 0)
            bail_out("no memory");
    }
}

void crowd_make(struct crowd *c, const struct region_limits *limits, uint32_t conns)
{
    int err;
    struct region *r = region_create(limits, &err);

    if (!r)
        bail_out("no region: %d", err);
    crowd_join(c, r, clock_boottime_ns());
    for (uint32_t i = 0; i < CROWD_WORKERS; i++)
        region_worker(r, i)->generation = 1;
    for (uint32_t slot = 1; slot <= conns; slot++)
        connect_slot(c, slot);
}

void crowd_free(struct crowd *c)
{
    for (uint32_t i = 0; i < CROWD_WORKERS; i++)
        iobufs_destroy(&c->bufs[i]);
    region_destroy(c->r);
}

/* Steps ------------------------------------------------------------------------------------- */

/* What happens: the same for a crowd and its twin. */
struct deed {
    unsigned what;
    uint32_t conn;
    uint32_t limit;
    enum kind kind;
    char key[KEY_MAX];
    uint32_t len;
    uint64_t lease;
    unsigned nth; /* of the key's holders */
    bool flag;
};

enum { DEED_ACQUIRE, DEED_ENQUEUE, DEED_WAIT, DEED_RELEASE, DEED_RENEW, DEED_EVICT, DEED_DELIVER,
       DEED_TIMEOUT, DEED_LEAVE, DEED_EXPIRE, DEEDS };

static uint32_t worker_of(const struct crowd *c, uint32_t slot)
{
    return conns_slot(c->r, slot)->worker;
}

static bool begin(struct crowd *c, uint32_t worker, struct tx *tx, uint32_t shard)
{
    if (!shared_begin(&c->sh[worker], tx, shard, c->now))
        bail_out("shard %u cannot be locked", shard);
    return true;
}

static void block(struct crowd *c, uint32_t slot, uint32_t shard, uint32_t node)
{
    struct conn *conn = conns_slot(c->r, slot);

    conn->phase = PHASE_BLOCKED;
    conn->blocked = node;
    conn->blocked_shard = shard;
    conn->blocked_since = c->now;
    conn->blocked_until = c->now + 60 * SECOND;
}

static void unblock(struct crowd *c, uint32_t slot)
{
    conns_slot(c->r, slot)->phase = PHASE_READY;
    conns_slot(c->r, slot)->blocked = 0;
}

static enum verdict acquire(struct crowd *c, const struct deed *d, uint32_t slot)
{
    struct shared *sh = &c->sh[worker_of(c, slot)];
    struct acquire_args args = {.key = shared_key(sh, d->kind, d->key, d->len),
                                .owner = slot,
                                .limit = d->limit,
                                .lease = d->lease,
                                .two_phase = d->what == DEED_ENQUEUE,
                                .try_only = d->what == DEED_ACQUIRE && d->flag};
    uint32_t shard = table_shard_of(args.key.hash);
    struct grant g;
    enum verdict v;
    struct tx tx;

    shared_make_room(sh, c->now);
    begin(c, sh->worker, &tx, shard);
    v = table_acquire(&tx, &args, &g);
    if (v == VERDICT_QUEUED && !args.two_phase)
        block(c, slot, shard, g.node);
    shared_end(sh, &tx);
    shared_return_units(sh);
    return v;
}

/* The key's nth holder, oldest first; 0 = none. */
static uint32_t nth_holder(struct tx *tx, const struct table_key *key, unsigned nth)
{
    uint32_t res = table_find(tx, key), i, n;

    if (!res || !table_resource(tx->t, tx->shard, res)->nholders)
        return 0;
    n = table_resource(tx->t, tx->shard, res)->nholders - 1 -
        nth % table_resource(tx->t, tx->shard, res)->nholders;
    for (i = table_resource(tx->t, tx->shard, res)->holders; n > 0; n--)
        i = table_node(tx->t, i)->next;
    return i;
}

static enum verdict by_key(struct crowd *c, const struct deed *d, uint32_t slot)
{
    struct shared *sh = &c->sh[worker_of(c, slot)];
    struct table_key key = shared_key(sh, d->kind, d->key, d->len);
    uint64_t fence = 1, salt = 1;
    enum verdict v = VERDICT_OK;
    struct grant g;
    struct tx tx;
    uint32_t node;

    begin(c, sh->worker, &tx, table_shard_of(key.hash));
    node = nth_holder(&tx, &key, d->nth);
    if (node) {
        fence = table_node(&sh->table, node)->order;
        salt = table_node(&sh->table, node)->salt;
    }
    if (d->what == DEED_RELEASE) {
        v = table_release(&tx, &key, fence, salt);
    } else if (d->what == DEED_RENEW) {
        v = table_renew(&tx, &key, slot, fence, salt, d->lease);
    } else if (d->what == DEED_EVICT) {
        v = table_evict(&tx, &key, d->flag ? fence : 0);
    } else {
        v = table_wait(&tx, &key, slot, d->flag, &g);
        if (v == VERDICT_QUEUED)
            block(c, slot, tx.shard, g.node);
    }
    shared_end(sh, &tx);
    return v;
}

/* The connection's blocked request ends: with its grant if there is one. */
static enum verdict end_wait(struct crowd *c, const struct deed *d, uint32_t slot)
{
    struct conn *conn = conns_slot(c->r, slot);
    struct grant g;
    enum verdict v;
    struct tx tx;

    begin(c, conn->worker, &tx, conn->blocked_shard);
    if (d->what == DEED_DELIVER && !(table_node(&c->sh[0].table, conn->blocked)->flags & NODE_TELL)) {
        shared_end(&c->sh[conn->worker], &tx);
        return VERDICT_QUEUED;
    }
    v = table_unblock(&tx, conn->blocked, d->flag, &g);
    shared_end(&c->sh[conn->worker], &tx);
    unblock(c, slot);
    return v;
}

/* It leaves, and another comes into its slot. */
static enum verdict leave(struct crowd *c, const struct deed *d, uint32_t slot)
{
    uint32_t worker = worker_of(c, slot);
    struct conn *conn = conns_slot(c->r, slot);
    struct tx tx;

    for (uint32_t shard = 0; shard < SHARD_COUNT; shard++) {
        begin(c, worker, &tx, shard);
        while (table_drop_owner(&tx, slot, !d->flag, d->flag))
            shared_step(&tx);
        shared_end(&c->sh[worker], &tx);
    }
    iobufs_detach(&c->bufs[worker], conn);
    conns_free(c->r, slot);
    conn->family = AF_UNIX;
    conns_open(c->r, slot, c->r->conn_id_next++, worker, c->now);
    return VERDICT_OK;
}

static enum verdict expire(struct crowd *c)
{
    struct tx tx;

    for (uint32_t shard = 0; shard < SHARD_COUNT; shard++) {
        begin(c, 0, &tx, shard);
        while (table_expire(&tx))
            shared_step(&tx);
        shared_end(&c->sh[0], &tx);
    }
    return VERDICT_OK;
}

static enum verdict run(struct crowd *c, const struct deed *d, uint32_t slot)
{
    const struct conn *conn = conns_slot(c->r, slot);

    if (d->what == DEED_EXPIRE)
        return expire(c);
    if (d->what == DEED_LEAVE)
        return leave(c, d, slot);
    if (d->what == DEED_DELIVER || d->what == DEED_TIMEOUT)
        return conn->phase == PHASE_BLOCKED ? end_wait(c, d, slot) : VERDICT_NOT_ENQUEUED;
    if (conn->phase != PHASE_READY)
        return VERDICT_NOT_ENQUEUED; /* its request waits: no other is served */
    return d->what == DEED_ACQUIRE || d->what == DEED_ENQUEUE ? acquire(c, d, slot)
                                                              : by_key(c, d, slot);
}

bool crowd_step(struct crowd *c, struct crowd *twin, const uint32_t *slot)
{
    static const unsigned weight[DEEDS] = {
        [DEED_ACQUIRE] = 40, [DEED_ENQUEUE] = 20, [DEED_WAIT] = 12, [DEED_RELEASE] = 8,
        [DEED_RENEW] = 6,    [DEED_EVICT] = 1,    [DEED_DELIVER] = 8, [DEED_TIMEOUT] = 3,
        [DEED_LEAVE] = 1,    [DEED_EXPIRE] = 1,
    };
    uint32_t key = proc_below(CROWD_KEYS), r = proc_below(100);
    struct deed d = {.kind = key % 3 == 0 ? KIND_SEM : KIND_LOCK,
                     .lease = (1 + proc_below(600)) * SECOND,
                     .nth = proc_below(100),
                     .flag = proc_below(3) == 0};
    enum verdict v;

    while (r >= weight[d.what])
        r -= weight[d.what++];
    do
        d.conn = 1 + proc_below((uint32_t)c->r->nconns);
    while (conns_slot(c->r, d.conn)->state != CONN_OPEN);
    d.limit = d.kind == KIND_SEM ? 2 + key % 4 : 1;
    d.len = (uint32_t)snprintf(d.key, sizeof(d.key), "key-%u", key);
    while (key % 5 == 0 && d.len < 60 + key * 3) /* longer than what lies in the record */
        d.key[d.len++] = 'x';
    c->now += proc_below(SECOND / 5);
    v = run(c, &d, d.conn);
    if (!twin)
        return true;
    twin->now = c->now;
    return run(twin, &d, slot[d.conn]) == v;
}

bool crowd_take(struct crowd *c, uint32_t conn, enum kind kind, const char *key, uint32_t len,
                uint32_t limit, bool two_phase)
{
    struct deed d = {.what = two_phase ? DEED_ENQUEUE : DEED_ACQUIRE,
                     .kind = kind,
                     .limit = limit,
                     .len = len,
                     .lease = 60 * SECOND};

    memcpy(d.key, key, len);
    return acquire(c, &d, conn) == VERDICT_OK;
}

static void random_ring(char *ring, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        ring[i] = (char)proc_random();
}

static void decorate_rings(struct crowd *c, uint32_t slot)
{
    struct conn *conn = conns_slot(c->r, slot);

    conn->in_head = conn->in_tail = proc_random() >> 20;
    conn->out_head = conn->out_tail = proc_random() >> 20;
    if (proc_below(2))
        return;
    if (!iobufs_attach(&c->bufs[conn->worker], conn))
        bail_out("no buffer");
    random_ring(conns_in(c->r, conn), conns_in_size(conn));
    random_ring(conns_out(c->r, conn), IOBUF_OUT);
    if (proc_below(10) == 0 && conns_grow(c->r, slot))
        random_ring(conns_in(c->r, conn), conns_in_size(conn));
    conn->in_tail += proc_below(conns_in_size(conn) + 1);
    conn->out_tail += proc_below(IOBUF_OUT + 1);
}

void crowd_decorate(struct crowd *c)
{
    for (uint32_t slot = 1; slot <= c->r->max_conns; slot++) {
        struct conn *conn = conns_slot(c->r, slot);

        if (conn->state == CONN_FREE)
            continue;
        decorate_rings(c, slot);
        conn->family = proc_below(2) ? AF_INET : AF_INET6;
        conn->port = (uint16_t)proc_random();
        for (unsigned i = 0; i < sizeof(conn->addr); i++)
            conn->addr[i] = (uint8_t)proc_random();
        conn->flags = (uint8_t)proc_below(CONN_TUNED * 2);
        conn->request_since = proc_random();
        conn->idle_since = proc_random();
        conn->write_since = proc_random();
        conn->close_at = proc_random();
        conn->accepted = proc_random();
        conn->enqueues = (uint16_t)proc_random();
        conn->in_call = proc_below(2);
        conn->deaths = (uint8_t)proc_below(3);
        conn->crashes = (uint8_t)proc_below(2);
        conn->blamed_at = proc_random();
        if (conn->phase == PHASE_READY && proc_below(4) == 0) {
            conn->phase = (uint8_t)(PHASE_JOB + proc_below(PHASE_DROP - PHASE_JOB + 1));
            conn->doc = 1 + proc_below(4);
            conn->doc_len = proc_random();
            conn->doc_pos = conn->doc_len / 3;
        }
        if (conn->phase != PHASE_BLOCKED && proc_below(10) == 0)
            conn->state = (uint8_t)(CONN_CLOSED + proc_below(3));
    }
    for (uint32_t i = 0; i < CROWD_WORKERS; i++) {
        struct worker_slot *w = region_worker(c->r, i);

        w->generation = 1 + proc_below(50);
        w->settled = proc_below(50);
        w->started = proc_random();
        w->deaths = proc_random();
        w->serving = proc_below((uint32_t)c->r->nconns + 1);
        if (w->serving && proc_below(2))
            w->serving |= SERVING_EXECUTES;
        w->died = proc_below(3);
        w->counted = proc_below(50);
        w->fence_seen = proc_random();
        for (unsigned k = 0; k < sizeof(w->counters) / sizeof(uint64_t); k++)
            ((uint64_t *)&w->counters)[k] = proc_random();
        c->r->down_since[i] = proc_below(2) ? 0 : c->now - proc_below(SECOND);
    }
    c->r->draining = proc_below(2);
    c->r->fence_limit = c->r->fence_next + proc_below(1000000);
}

/* Comparing --------------------------------------------------------------------------------- */

static char difference[300];

static bool differs(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static bool differs(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(difference, sizeof(difference), fmt, args);
    va_end(args);
    return true;
}

struct pair {
    struct region *a, *b;
    struct table ta, tb;
    const uint32_t *slot;
    bool fences;
};

static void attach(struct table *t, struct region *r)
{
    memset(t, 0, sizeof(*t));
    table_attach(t, r, &r->geo);
    t->fence_next = &r->fence_next;
    t->fence_limit = &r->fence_limit;
    t->down_since = r->down_since;
}

static bool node_differs(const struct pair *p, uint32_t in_a, uint32_t in_b)
{
    const struct node *a = table_node(&p->ta, in_a), *b = table_node(&p->tb, in_b);
    uint32_t owner = a->owner ? p->slot[a->owner] : 0;
    bool held = a->state == NODE_HELD;

    if (a->conn_id != b->conn_id || owner != b->owner || a->state != b->state ||
        a->flags != b->flags || a->lease != b->lease || a->since != b->since ||
        (held && a->end != b->end) || (p->fences && a->order != b->order) ||
        (p->fences && held && a->salt != b->salt))
        return differs("node %u (state %u flags %u owner %u) and %u (state %u flags %u owner %u)",
                       in_a, a->state, a->flags, owner, in_b, b->state, b->flags, b->owner);
    if ((a->flags & NODE_BLOCKED) && conns_slot(p->a, a->owner)->phase == PHASE_BLOCKED &&
        (conns_slot(p->b, owner)->blocked != in_b ||
         conns_slot(p->b, owner)->blocked_shard + 1 !=
             p->tb.chunk_owner[(in_b - 1) / CHUNK_NODES]))
        return differs("connection %u is blocked on another node", owner);
    return false;
}

static bool list_differs(const struct pair *p, uint32_t a, uint32_t b)
{
    for (; a && b; a = table_node(&p->ta, a)->next, b = table_node(&p->tb, b)->next)
        if (node_differs(p, a, b))
            return true;
    return a || b ? differs("lists of different lengths") : false;
}

static uint32_t find(const struct pair *p, uint32_t shard, uint32_t res, struct tx *tx)
{
    const struct resource *r = table_resource(&p->ta, shard, res);
    struct table_key key = {.bytes = table_key_bytes(&p->ta, shard, res),
                            .len = r->key_len,
                            .kind = r->kind};

    key.hash = region_key_hash(p->b, r->kind, key.bytes, key.len);
    tx->t = (struct table *)&p->tb;
    tx->shard = table_shard_of(key.hash);
    return table_find(tx, &key);
}

static bool resource_differs(const struct pair *p, uint32_t shard, uint32_t res, bool *gone)
{
    const struct resource *a = table_resource(&p->ta, shard, res), *b;
    struct tx tx;
    uint32_t in_b = find(p, shard, res, &tx);

    *gone = !in_b;
    if (!in_b)
        return a->state == RES_LIVE && differs("key %u of shard %u is missing", res, shard);
    b = table_resource(&p->tb, tx.shard, in_b);
    if (a->limit != b->limit || a->last_active != b->last_active || a->state != b->state ||
        a->nholders != b->nholders || a->nwaiters != b->nwaiters || a->ntombs != b->ntombs)
        return differs("key %u of shard %u: limit %u/%u last_active %llu/%llu state %u/%u", res, shard,
                       a->limit, b->limit, (unsigned long long)a->last_active,
                       (unsigned long long)b->last_active, a->state, b->state);
    return list_differs(p, a->holders, b->holders) || list_differs(p, a->q_head, b->q_head);
}

/* Each lapsed node of a has its like in b. There are as many: the keys' counts agree. */
static bool lapsed_differs(const struct pair *p)
{
    for (uint32_t i = 1; i <= p->a->geo.nchunks * CHUNK_NODES; i++) {
        const struct node *a = table_node(&p->ta, i);
        bool found = false;
        struct tx tx;
        uint32_t res;

        if (!p->ta.chunk_owner[(i - 1) / CHUNK_NODES] || a->state != NODE_LAPSED ||
            (i - 1) % CHUNK_NODES >= table_chunk(&p->ta, (i - 1) / CHUNK_NODES)->bump)
            continue;
        res = find(p, p->ta.chunk_owner[(i - 1) / CHUNK_NODES] - 1, a->res, &tx);
        for (uint32_t k = p->tb.owners[p->slot[a->owner]].held[tx.shard]; k && !found;
             k = table_node(&p->tb, k)->own_next)
            found = table_node(&p->tb, k)->state == NODE_LAPSED && table_node(&p->tb, k)->res == res &&
                    !node_differs(p, i, k);
        if (!found)
            return differs("lapsed node %u is missing", i);
    }
    return false;
}

static bool rings_differ(const struct pair *p, const struct conn *a, const struct conn *b)
{
    uint32_t size = conns_in_size(a) < conns_in_size(b) ? conns_in_size(a) : conns_in_size(b);

    if (!a->iobuf != !b->iobuf || !a->bigbuf != !b->bigbuf)
        return true;
    if (!a->iobuf)
        return false;
    for (uint64_t i = a->in_head; i < a->in_head + size; i++)
        if (conns_in(p->a, a)[i & (conns_in_size(a) - 1)] !=
            conns_in(p->b, b)[i & (conns_in_size(b) - 1)])
            return true;
    for (uint64_t i = a->out_head; i < a->out_tail; i++)
        if (conns_out(p->a, a)[i & (IOBUF_OUT - 1)] != conns_out(p->b, b)[i & (IOBUF_OUT - 1)])
            return true;
    return false;
}

static bool conn_differs(const struct pair *p, uint32_t slot)
{
    const struct conn *a = conns_slot(p->a, slot), *b = conns_slot(p->b, p->slot[slot]);
    struct conn x = *a, y = *b;

    if (rings_differ(p, a, b) || p->tb.owners[p->slot[slot]].id != a->id ||
        p->tb.owners[p->slot[slot]].worker != a->worker)
        return differs("connection %u: rings or owner", slot);
    /* What is compared elsewhere; the rest to the last byte. */
    x.iobuf = y.iobuf = x.bigbuf = y.bigbuf = 0;
    x.blocked = y.blocked = x.blocked_shard = y.blocked_shard = 0;
    return memcmp(&x, &y, sizeof(x)) != 0 ? differs("connection %u: fields", slot) : false;
}

static bool worker_differs(const struct pair *p, uint32_t i)
{
    const struct worker_slot *a = region_worker(p->a, i), *b = region_worker(p->b, i);
    uint32_t serving = a->serving & ~SERVING_EXECUTES;

    serving = serving ? p->slot[serving] | (a->serving & SERVING_EXECUTES) : 0;
    return (a->generation != b->generation || a->settled != b->settled ||
            a->started != b->started || a->deaths != b->deaths || serving != b->serving ||
            a->died != b->died || a->counted != b->counted || a->fence_seen != b->fence_seen ||
            memcmp(&a->counters, &b->counters, sizeof(a->counters)) != 0 ||
            p->a->down_since[i] != p->b->down_since[i]) &&
           differs("worker %u", i);
}

static bool invalid(const struct pair *p)
{
    struct check_report report = {0};
    uint32_t resources = 0;

    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        if (check_shard(&p->tb, i, &report) != 0 || !lock_keys_whole(p->b, &p->tb, i, &report))
            return differs("shard %u: I%d at %u: %s", i, report.invariant, report.index, report.what);
        resources += table_shard(&p->tb, i)->res_count;
    }
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        resources += region_worker(p->b, i)->units.reserved;
    if (resources + caps_free(p->b) != p->b->geo.max_locks)
        return differs("units of max-locks: %u used, %u free", resources, caps_free(p->b));
    for (uint32_t i = 1; i <= p->b->max_conns; i++)
        if (conns_slot(p->b, i)->state != CONN_FREE && !conns_possible(p->b, i))
            return differs("connection %u is impossible", i);
    return false;
}

const char *crowd_invalid(struct region *r)
{
    struct pair p = {.b = r};

    attach(&p.tb, r);
    return invalid(&p) ? difference : NULL;
}

static bool words_differ(const struct pair *p)
{
    return (p->a->fence_next != p->b->fence_next || p->a->fence_limit != p->b->fence_limit ||
            p->a->conn_id_next != p->b->conn_id_next || p->a->draining != p->b->draining ||
            p->a->created != p->b->created || p->a->nconns != p->b->nconns) &&
           differs("words of the region");
}

const char *crowd_differs(struct region *a, struct region *b, const uint32_t *slot, bool fences)
{
    struct pair p = {.a = a, .b = b, .slot = slot, .fences = fences};
    uint64_t missing = 0, idle = 0;

    attach(&p.ta, a);
    attach(&p.tb, b);
    if (invalid(&p) || (fences && words_differ(&p)) || lapsed_differs(&p))
        return difference;
    for (uint32_t slot_a = 1; slot_a <= a->max_conns; slot_a++)
        if (conns_slot(a, slot_a)->state != CONN_FREE && conn_differs(&p, slot_a))
            return difference;
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        if (worker_differs(&p, i))
            return difference;
    for (uint32_t shard = 0; shard < SHARD_COUNT; shard++) {
        for (uint32_t res = 1; res <= table_shard(&p.ta, shard)->res_bump; res++) {
            bool gone;

            if (table_resource(&p.ta, shard, res)->state == RES_FREE)
                continue;
            if (resource_differs(&p, shard, res, &gone))
                return difference;
            missing += gone;
        }
        idle += table_shard(&p.ta, shard)->res_count;
        idle -= table_shard(&p.tb, shard)->res_count;
    }
    /* Idle ones may have been collected; then there is no room, and nothing else is there. */
    if (idle != missing || (missing && caps_free(b)))
        return differs("%llu keys are missing", (unsigned long long)missing), difference;
    return NULL;
}
