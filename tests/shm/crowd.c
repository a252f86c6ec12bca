/*
 * tests/shm/crowd.c - see crowd.h.
 */
#include "tests/shm/crowd.h"

#include "base/clock.h"
#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
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

enum {
    DEED_ACQUIRE,
    DEED_ENQUEUE,
    DEED_WAIT,
    DEED_RELEASE,
    DEED_RENEW,
    DEED_EVICT,
    DEED_DELIVER,
    DEED_TIMEOUT,
    DEED_LEAVE,
    DEED_EXPIRE,
    DEEDS
};

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
    if (d->what == DEED_DELIVER &&
        !(table_node(&c->sh[0].table, conn->blocked)->flags & NODE_TELL)) {
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
        [DEED_ACQUIRE] = 40, [DEED_ENQUEUE] = 20, [DEED_WAIT] = 12,   [DEED_RELEASE] = 8,
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
    for (unsigned k = 0; k < sizeof(c->r->master) / sizeof(uint64_t); k++)
        ((uint64_t *)&c->r->master)[k] = proc_random();
    c->r->draining = proc_below(2);
    c->r->fence_limit = c->r->fence_next + proc_below(1000000);
}

/* Wholes ------------------------------------------------------------------------------------- */

int crowd_dump(struct region *r)
{
    int fd = memfd_create("dump", MFD_CLOEXEC);

    if (fd < 0 || dump_write(r, fd) != 0)
        bail_out("the dump cannot be written");
    return fd;
}

struct region *crowd_fresh(uint32_t locks, uint32_t conns)
{
    struct region_limits limits = {.max_locks = locks, .max_conns = conns, .max_nodes = 2000};
    int err;
    struct region *r = region_create(&limits, &err);

    if (!r)
        bail_out("no region: %d", err);
    return r;
}

struct region *crowd_small(struct crowd *c)
{
    struct conn *conn;
    static const struct region_limits limits = {
        .max_locks = 100, .max_conns = 24, .max_nodes = 2000};
    struct tx tx;
    struct table_key key;

    crowd_make(c, &limits, 6);
    crowd_take(c, 1, KIND_LOCK, "held", 4, 1, false);
    crowd_take(c, 2, KIND_LOCK, "held", 4, 1, false); /* waits */
    crowd_take(c, 3, KIND_LOCK, "held", 4, 1, true);  /* enqueued */
    crowd_take(c, 4, KIND_SEM, "sem", 3, 3, false);
    crowd_take(c, 5, KIND_SEM, "sem", 3, 3, true);
    crowd_take(c, 5, KIND_LOCK, "tomb", 4, 1, true);
    crowd_take(c, 5, KIND_LOCK, "idle", 4, 1, false);
    key = shared_key(&c->sh[0], KIND_LOCK, "tomb", 4);
    shared_begin(&c->sh[0], &tx, table_shard_of(key.hash), c->now);
    table_evict(&tx, &key, 0);
    shared_end(&c->sh[0], &tx);
    key = shared_key(&c->sh[0], KIND_LOCK, "idle", 4);
    shared_begin(&c->sh[0], &tx, table_shard_of(key.hash), c->now);
    table_evict(&tx, &key, 0);
    shared_end(&c->sh[0], &tx);
    conn = conns_slot(c->r, 6);
    if (!iobufs_attach(&c->bufs[conn->worker], conn))
        bail_out("no buffer");
    memcpy(conns_in(c->r, conn), "ping\n\n\n", 7);
    conn->in_tail = 7;
    conns_put(c->r, conn, "ok\n", 3);
    conn->out_tail = 3;
    return c->r;
}
