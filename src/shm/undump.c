/*
 * shm/undump.c - reading a dump: dump_read() of dump.h. Runs in the master before its first fork;
 * the region is nobody else's yet, so no lock is taken.
 *
 * Everything is made by the functions that serve requests (core/snapshot.h, caps.h, conns.h), and
 * what they cannot make is refused. So a region that was filled obeys all invariants, whatever was
 * in the file, and only memory that is used is touched.
 */
#include "shm/dump.h"

#include "base/clock.h"
#include "base/err.h"
#include "shm/caps.h"
#include "shm/dumpfields.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_MAX = 1 << 22 }; /* layout.h */

struct undump {
    struct region *r;
    struct dump_in in;
    struct dump_result *out;
    struct table t;
    struct tx tx;
    uint64_t now;
    struct iobufs bufs[WORKER_MAX]; /* made when a worker needs some */
    uint32_t res;                   /* the last resource, 0 = none yet; in tx.shard */
    struct idle *idle;
    size_t nidle, room;
};

/* An idle resource, to be made when all others are: at->at is where its record begins. */
struct idle {
    uint64_t last_active;
    size_t at;
};

static int refuse(struct undump *u, int err, const char *why)
{
    if (!u->out->why[0])
        snprintf(u->out->why, sizeof(u->out->why), "%s", why);
    return err;
}

static int corrupt(struct undump *u, const char *why)
{
    return refuse(u, ERR_CORRUPT, why);
}

static int get(struct undump *u, const struct dump_record *rec, const struct dump_kind *kind,
               void *to)
{
    int err = dumpfile_get(rec, kind, to);

    if (err == ERR_VERSION)
        return refuse(u, err, "it holds something that this version does not know");
    return err ? corrupt(u, "a record has a length that cannot be") : 0;
}

/* Head -------------------------------------------------------------------------------------- */

static int read_origin(struct undump *u, const struct dump_record *rec)
{
    struct dump_origin o = {0};
    int err = get(u, rec, &dump_origin_kind, &o);

    if (err)
        return err;
    if (memcmp(o.boot_id, u->r->boot_id, sizeof(o.boot_id)) != 0)
        return refuse(
            u, ERR_STALE,
            "it was written before the machine was started, the leases in it mean nothing "
            "any more");
    return 0;
}

static int read_words(struct undump *u, const struct dump_record *rec)
{
    struct dump_region w = {0};
    int err = get(u, rec, &dump_region_kind, &w);

    if (err)
        return err;
    region_inherit(u->r, w.created);
    u->r->fence_next = w.fence_next;
    u->r->fence_limit = w.fence_limit;
    u->r->conn_id_next = w.conn_id_next;
    u->r->draining = w.draining;
    return 0;
}

/* Origin and words come first: all that follows is judged by them. */
static int read_beginning(struct undump *u)
{
    struct dump_record rec;
    int err;

    if (dumpfile_next(&u->in, &rec) != 1 || rec.type != DUMP_ORIGIN)
        return corrupt(u, "it does not begin with its origin");
    err = read_origin(u, &rec);
    if (err)
        return err;
    if (dumpfile_next(&u->in, &rec) != 1 || rec.type != DUMP_REGION)
        return corrupt(u, "the words of the region are missing");
    return read_words(u, &rec);
}

static int read_worker(struct undump *u, const struct dump_record *rec)
{
    struct dump_worker w = {0};
    struct worker_slot *slot;
    int err;

    w.worker = WORKER_MAX;
    err = get(u, rec, &dump_worker_kind, &w);
    if (err)
        return err;
    if (w.worker >= WORKER_MAX)
        return refuse(u, ERR_FULL, "it has more workers than this version can have");
    slot = region_worker(u->r, w.worker);
    slot->generation = w.slot.generation;
    slot->settled = w.slot.settled;
    slot->started = w.slot.started;
    slot->deaths = w.slot.deaths;
    slot->serving = w.slot.serving; /* the old slot: renamed when all connections are there */
    slot->died = w.slot.died;
    slot->counted = w.slot.counted;
    slot->fence_seen = w.slot.fence_seen;
    slot->counters = w.slot.counters;
    u->r->down_since[w.worker] = w.down_since;
    return 0;
}

/* Connections ------------------------------------------------------------------------------- */

static int name_slot(struct undump *u, uint32_t old, uint32_t slot)
{
    struct dump_result *out = u->out;

    if (!out->slot || old > out->nslots) {
        uint32_t n = old * 2 + 64, known = out->slot ? out->nslots + 1 : 0;
        uint32_t *more = realloc(out->slot, (n + 1) * sizeof(*more));

        if (!more)
            return refuse(u, -ENOMEM, "no memory");
        memset(more + known, 0, (n + 1 - known) * sizeof(*more));
        out->slot = more;
        out->nslots = n;
    }
    out->slot[old] = slot;
    return 0;
}

static uint32_t new_slot(const struct undump *u, uint32_t old)
{
    return old >= 1 && old <= u->out->nslots ? u->out->slot[old] : 0;
}

static void fill_ring(char *ring, uint32_t size, uint64_t at, const char *bytes, uint32_t n)
{
    uint32_t pos = (uint32_t)(at & (size - 1));
    uint32_t first = size - pos < n ? size - pos : n;

    memcpy(ring + pos, bytes, first);
    memcpy(ring, bytes + first, n - first);
}

static bool take_bigbuf(struct region *r, struct conn *c, uint32_t slot)
{
    for (uint32_t i = 0; i < BIGBUF_COUNT; i++) {
        if (r->bigbuf_owner[i])
            continue;
        r->bigbuf_owner[i] = slot;
        c->bigbuf = i + 1;
        return true;
    }
    return false;
}

static int read_rings(struct undump *u, const struct dump_record *rec, const struct dump_conn *d,
                      uint32_t slot)
{
    struct conn *c = conns_slot(u->r, slot);
    struct iobufs *bufs = &u->bufs[c->worker];
    uint64_t used = d->c.in_tail - d->c.in_head, unsent = d->c.out_tail - d->c.out_head;
    uint32_t n;

    if (!bufs->r && iobufs_init(bufs, u->r, c->worker) != 0)
        return refuse(u, -ENOMEM, "no memory");
    if (!iobufs_attach(bufs, c) || (d->big && !take_bigbuf(u->r, c, slot)))
        return refuse(u, ERR_FULL,
                      "there are more connections with buffers than there is room for");
    if (d->in_bytes < used || rec->nbytes - d->in_bytes != unsent)
        return corrupt(u, "a connection's rings have other lengths than it says");
    if (used > conns_in_size(c) || unsent > IOBUF_OUT)
        return refuse(u, ERR_FULL, "a connection has more bytes in its rings than ours can hold");
    n = d->in_bytes < conns_in_size(c) ? d->in_bytes : conns_in_size(c);
    fill_ring(conns_in(u->r, c), conns_in_size(c), c->in_head, rec->bytes, n);
    fill_ring(conns_out(u->r, c), IOBUF_OUT, c->out_head, rec->bytes + d->in_bytes,
              (uint32_t)unsent);
    return 0;
}

static int read_conn(struct undump *u, const struct dump_record *rec, uint32_t slot)
{
    struct dump_conn d = {0};
    struct owner *o = &u->t.owners[slot];
    struct conn *c = conns_slot(u->r, slot);
    int err = get(u, rec, &dump_conn_kind, &d);

    if (err)
        return err;
    if (d.c.state == CONN_FREE || d.c.state > CONN_ORPHANED || d.c.worker >= WORKER_MAX ||
        d.c.id == 0 || d.c.id >= u->r->conn_id_next || d.in_bytes > rec->nbytes)
        return corrupt(u, "a connection cannot be");
    *c = d.c;
    o->worker = c->worker;
    o->id = c->id;
    u->out->conns++;
    u->r->nconns++;
    return d.buffered ? read_rings(u, rec, &d, slot) : 0;
}

/* Slots stay what they are where the region has them; others come into the free ones. */
static int read_conns(struct undump *u)
{
    size_t begin = u->in.at;
    uint32_t spare = 1;
    struct dump_record rec;
    struct dump_conn d;
    int more, err;

    for (int moving = 0; moving <= 1; moving++) {
        u->in.at = begin;
        while ((more = dumpfile_next(&u->in, &rec)) == 1) {
            uint32_t slot;

            if (rec.type != DUMP_CONN)
                continue;
            d.slot = 0;
            err = get(u, &rec, &dump_conn_kind, &d);
            if (err)
                return err;
            if (d.slot < 1 || d.slot > SLOTS_MAX)
                return corrupt(u, "a connection has no slot");
            if ((d.slot > u->r->max_conns) != moving)
                continue;
            if (new_slot(u, d.slot))
                return corrupt(u, "two connections have one slot");
            while (moving && spare <= u->r->max_conns &&
                   conns_slot(u->r, spare)->state != CONN_FREE)
                spare++;
            slot = moving ? spare : d.slot;
            if (slot > u->r->max_conns)
                return refuse(u, ERR_FULL, "there are more connections than max-connections");
            err = name_slot(u, d.slot, slot);
            if (!err)
                err = read_conn(u, &rec, slot);
            if (err)
                return err;
        }
        if (more < 0)
            return corrupt(u, "a record has a length that cannot be");
    }
    u->in.at = begin;
    return 0;
}

/* What names a connection's slot, or a node of it, and cannot be said before both are there. */
static int finish_conns(struct undump *u)
{
    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        struct worker_slot *w = region_worker(u->r, i);

        if (w->serving)
            w->serving =
                new_slot(u, w->serving & ~SERVING_EXECUTES) | (w->serving & SERVING_EXECUTES);
    }
    for (uint32_t old = 1; old <= u->out->nslots; old++) {
        uint32_t slot = u->out->slot[old];
        struct conn *c = conns_slot(u->r, slot);

        if (!slot)
            continue;
        /* A repair has dropped what its request waited for: a node that is not its own says so. */
        if (c->phase == PHASE_BLOCKED && !c->blocked)
            c->blocked = 1;
        if (!conns_possible(u->r, slot))
            return corrupt(u, "a connection contradicts itself");
    }
    return 0;
}

/* The table --------------------------------------------------------------------------------- */

static int result(struct undump *u, enum snapshot_result r, const char *what)
{
    if (r == SNAPSHOT_WRONG)
        return corrupt(u, what);
    return r == SNAPSHOT_OK ? 0
                            : refuse(u, ERR_FULL,
                                     "there are more holders and waiters than the "
                                     "lock table has room for");
}

static void enter(struct undump *u, const struct dump_record *rec, uint8_t kind, uint64_t *hash)
{
    *hash = region_key_hash(u->r, kind, rec->bytes, rec->nbytes);
    tx_begin(&u->tx, &u->t, table_shard_of(*hash), u->now);
    u->tx.reserved = &region_worker(u->r, 0)->units.reserved;
}

static int add_resource(struct undump *u, const struct dump_record *rec,
                        struct snapshot_resource *res)
{
    enum snapshot_result r;
    uint64_t hash;

    if (res->kind > KIND_SEM || rec->nbytes < 1 || rec->nbytes > KEY_MAX)
        return corrupt(u, "a key cannot be");
    res->key = rec->bytes;
    res->key_len = rec->nbytes;
    enter(u, rec, res->kind, &hash);
    if (!caps_take(u->r, 0))
        return refuse(u, ERR_FULL, "there are more keys in use than max-locks");
    r = snapshot_add_resource(&u->tx, res, hash, &u->res);
    tx_commit(&u->tx);
    if (r == SNAPSHOT_FULL)
        return refuse(u, ERR_FULL, "there are more keys than the lock table has room for");
    u->out->resources += r == SNAPSHOT_OK;
    return result(u, r, "a key is there twice, or cannot be");
}

static int read_resource(struct undump *u, const struct dump_record *rec, size_t at)
{
    struct snapshot_resource res = {0};
    int err = get(u, rec, &dump_resource_kind, &res);

    if (err)
        return err;
    if (res.idle > 1)
        return corrupt(u, "a key is neither idle nor in use");
    if (!res.idle)
        return add_resource(u, rec, &res);
    u->res = 0;
    if (u->nidle == u->room) {
        size_t room = u->room * 2 + 64;
        struct idle *more = realloc(u->idle, room * sizeof(*more));

        if (!more)
            return refuse(u, -ENOMEM, "no memory");
        u->idle = more;
        u->room = room;
    }
    u->idle[u->nidle++] = (struct idle){res.last_active, at};
    return 0;
}

static int add_node(struct undump *u, uint32_t res, struct snapshot_node *n)
{
    enum snapshot_result r;
    struct conn *c;
    uint32_t node = 0;

    if (n->owner) {
        n->owner = new_slot(u, n->owner);
        if (!n->owner)
            return corrupt(u, "a holder or waiter is of a connection that is not there");
    }
    c = conns_slot(u->r, n->owner);
    if ((n->flags & NODE_BLOCKED) && c->blocked)
        return corrupt(u, "a connection has two blocked requests");
    r = snapshot_add_node(&u->tx, res, n, &node);
    tx_commit(&u->tx);
    if (r == SNAPSHOT_OK && (n->flags & NODE_BLOCKED)) {
        c->blocked = node;
        c->blocked_shard = u->tx.shard;
    }
    u->out->holders += n->state == NODE_HELD;
    u->out->waiters += n->state == NODE_WAITING;
    return result(u, r, "a holder or waiter cannot be");
}

static int read_node(struct undump *u, const struct dump_record *rec)
{
    struct snapshot_node n = {0};
    int err = get(u, rec, &dump_node_kind, &n);

    if (err)
        return err;
    if (!u->res || (n.state != NODE_HELD && n.state != NODE_WAITING))
        return corrupt(u, "a holder or waiter is of no key");
    return add_node(u, u->res, &n);
}

static int read_lapsed(struct undump *u, const struct dump_record *rec)
{
    struct dump_lapsed lapsed = {0};
    struct table_key key = {.bytes = rec->bytes, .len = rec->nbytes};
    uint32_t res;
    int err = get(u, rec, &dump_lapsed_kind, &lapsed);

    if (err)
        return err;
    u->res = 0; /* no holder follows */
    enter(u, rec, lapsed.kind, &key.hash);
    key.kind = lapsed.kind;
    res = table_find(&u->tx, &key);
    if (!res || lapsed.node.state != NODE_LAPSED)
        return corrupt(u, "a lapsed grant is of no key");
    return add_node(u, res, &lapsed.node);
}

/* Everything that is in use has come: what that makes of each key. */
static int settle(struct undump *u)
{
    for (uint32_t shard = 0; shard < SHARD_COUNT; shard++) {
        const struct shard *s = table_shard(&u->t, shard);

        tx_begin(&u->tx, &u->t, shard, u->now);
        for (uint32_t res = 1; res <= s->res_bump; res++) {
            if (snapshot_settle(&u->tx, res, false) != SNAPSHOT_OK)
                return corrupt(u, "a key is in use, and by nobody");
            tx_commit(&u->tx);
        }
    }
    return 0;
}

static int older(const void *a, const void *b)
{
    const struct idle *x = a, *y = b;

    if (x->last_active != y->last_active)
        return x->last_active < y->last_active ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* As the server itself does when a table is full: the longest idle go first. */
static int read_idle(struct undump *u)
{
    size_t room = caps_free(u->r), first = u->nidle > room ? u->nidle - room : 0;

    if (u->nidle > 0)
        qsort(u->idle, u->nidle, sizeof(*u->idle), older);
    u->out->collected = first;
    for (size_t i = first; i < u->nidle; i++) {
        struct snapshot_resource res = {0};
        struct dump_record rec;
        int err;

        u->in.at = u->idle[i].at;
        dumpfile_next(&u->in, &rec);
        err = get(u, &rec, &dump_resource_kind, &res);
        if (!err)
            err = add_resource(u, &rec, &res);
        if (err)
            return err;
        if (snapshot_settle(&u->tx, u->res, true) != SNAPSHOT_OK)
            return corrupt(u, "a key is idle, and is not");
        tx_commit(&u->tx);
    }
    return 0;
}

static int read_records(struct undump *u)
{
    struct dump_record rec;
    size_t at = u->in.at;
    int err = 0, more;

    while (!err && (more = dumpfile_next(&u->in, &rec)) == 1) {
        switch (rec.type) {
        case DUMP_ORIGIN:
        case DUMP_REGION:
            return corrupt(u, "it has two beginnings");
        case DUMP_CONN:
            break; /* read already */
        case DUMP_WORKER:
            err = read_worker(u, &rec);
            break;
        case DUMP_RESOURCE:
            err = read_resource(u, &rec, at);
            break;
        case DUMP_NODE:
            err = read_node(u, &rec);
            break;
        case DUMP_LAPSED:
            err = read_lapsed(u, &rec);
            break;
        default:
            if (rec.need)
                return refuse(u, ERR_VERSION, "it holds something that this version does not know");
        }
        at = u->in.at;
    }
    if (!err && more < 0)
        return corrupt(u, "a record has a length that cannot be");
    return err;
}

static int load(struct undump *u, int fd)
{
    int err = dumpfile_load(&u->in, fd);

    switch (err) {
    case 0:
        return 0;
    case -EINVAL:
        return refuse(u, err, "this is no dump of dflockd");
    case ERR_VERSION:
        return refuse(u, err, "it has a form that this version does not know");
    case ERR_CORRUPT:
        return refuse(u, err, "it was cut off or changed: its checksum is wrong");
    default:
        return refuse(u, err, err_text(err));
    }
}

static void begin(struct undump *u, struct region *r, struct dump_result *out)
{
    u->r = r;
    u->out = out;
    u->now = clock_boottime_ns();
    table_attach(&u->t, r, &r->geo);
    u->t.fence_next = &r->fence_next;
    u->t.fence_limit = &r->fence_limit;
    u->t.down_since = r->down_since;
}

static int fill(struct undump *u)
{
    int err = read_beginning(u);

    if (!err)
        err = read_conns(u);
    if (!err)
        err = read_records(u);
    if (!err)
        err = settle(u);
    if (!err)
        err = finish_conns(u);
    return err ? err : read_idle(u);
}

static void end(struct undump *u)
{
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        if (u->bufs[i].r)
            iobufs_destroy(&u->bufs[i]);
    dumpfile_unload(&u->in);
    free(u->idle);
    free(u);
}

int dump_read(struct region *fresh, int fd, struct dump_result *out)
{
    struct undump *u = calloc(1, sizeof(*u));
    int err;

    memset(out, 0, sizeof(*out));
    if (!u)
        return -ENOMEM;
    begin(u, fresh, out);
    err = load(u, fd);
    if (!err)
        err = fill(u);
    end(u);
    return err;
}

void dump_forget(struct dump_result *out)
{
    free(out->slot);
    out->slot = NULL;
    out->nslots = 0;
}

int dump_try(int fd, const struct region_limits *limits, struct dump_result *out)
{
    struct region *r;
    int err;

    memset(out, 0, sizeof(*out));
    r = region_create(limits, &err);
    if (!r) {
        snprintf(out->why, sizeof(out->why), "there is no memory for a lock table of its own");
        return err;
    }
    err = dump_read(r, fd, out);
    region_destroy(r);
    return err;
}
