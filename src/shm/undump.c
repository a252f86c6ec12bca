/*
 * shm/undump.c - reading a dump: dump_read() of dump.h. Runs in the master before its first fork;
 * the region is nobody else's yet, so no lock is taken.
 *
 * Everything is made by the functions that serve requests (core/snapshot.h, caps.h, conns.h), and
 * what they cannot make is refused. So a region that was filled obeys all invariants, whatever was
 * in the file, and only memory that is used is touched.
 */
#include "shm/undump.h"

#include "base/clock.h"
#include "base/err.h"
#include "shm/caps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int undump_refuse(struct undump *u, int err, const char *why)
{
    if (!u->out->why[0])
        snprintf(u->out->why, sizeof(u->out->why), "%s", why);
    return err;
}

int undump_corrupt(struct undump *u, const char *why)
{
    return undump_refuse(u, ERR_CORRUPT, why);
}

int undump_get(struct undump *u, const struct dump_record *rec, const struct dump_kind *kind,
               void *to)
{
    int err = dumpfile_get(rec, kind, to);

    if (err == ERR_VERSION)
        return undump_refuse(u, err, "it holds something that this version does not know");
    return err ? undump_corrupt(u, "a record has a length that cannot be") : 0;
}

/* Head -------------------------------------------------------------------------------------- */

static int read_origin(struct undump *u, const struct dump_record *rec)
{
    struct dump_origin o = {0};
    int err = undump_get(u, rec, &dump_origin_kind, &o);

    if (err)
        return err;
    if (memcmp(o.boot_id, u->r->boot_id, sizeof(o.boot_id)) != 0)
        return undump_refuse(
            u, ERR_STALE,
            "it was written before the machine was started, the leases in it mean nothing "
            "any more");
    return 0;
}

static int read_words(struct undump *u, const struct dump_record *rec)
{
    struct dump_region w = {0};
    int err = undump_get(u, rec, &dump_region_kind, &w);

    if (err)
        return err;
    region_inherit(u->r, w.created);
    u->r->fence_next = w.fence_next;
    u->r->fence_limit = w.fence_limit;
    u->r->grants_from = w.grants_from;
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
        return undump_corrupt(u, "it does not begin with its origin");
    err = read_origin(u, &rec);
    if (err)
        return err;
    if (dumpfile_next(&u->in, &rec) != 1 || rec.type != DUMP_REGION)
        return undump_corrupt(u, "the words of the region are missing");
    return read_words(u, &rec);
}

static int read_worker(struct undump *u, const struct dump_record *rec)
{
    struct dump_worker w = {0};
    struct worker_slot *slot;
    int err;

    w.worker = WORKER_MAX;
    err = undump_get(u, rec, &dump_worker_kind, &w);
    if (err)
        return err;
    if (w.worker >= WORKER_MAX)
        return undump_refuse(u, ERR_FULL, "it has more workers than this version can have");
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

static int read_counters(struct undump *u, const struct dump_record *rec)
{
    struct dump_counters c = {.worker = UINT32_MAX};
    int err = undump_get(u, rec, &dump_counters_kind, &c);

    if (err)
        return err;
    if (c.worker > WORKER_MAX)
        return undump_refuse(u, ERR_FULL, "it has more workers than this version can have");
    if (c.worker == WORKER_MAX)
        u->r->master = c.counters;
    else
        region_worker(u->r, c.worker)->counters = c.counters;
    return 0;
}

/* The table --------------------------------------------------------------------------------- */

static int result(struct undump *u, enum snapshot_result r, const char *what)
{
    if (r == SNAPSHOT_WRONG)
        return undump_corrupt(u, what);
    return r == SNAPSHOT_OK ? 0
                            : undump_refuse(u, ERR_FULL,
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
        return undump_corrupt(u, "a key cannot be");
    res->key = rec->bytes;
    res->key_len = rec->nbytes;
    enter(u, rec, res->kind, &hash);
    if (!caps_take(u->r, 0))
        return undump_refuse(u, ERR_FULL, "there are more keys in use than max-locks");
    r = snapshot_add_resource(&u->tx, res, hash, &u->res);
    tx_commit(&u->tx);
    if (r == SNAPSHOT_FULL)
        return undump_refuse(u, ERR_FULL, "there are more keys than the lock table has room for");
    u->out->resources += r == SNAPSHOT_OK;
    return result(u, r, "a key is there twice, or cannot be");
}

static int read_resource(struct undump *u, const struct dump_record *rec, size_t at)
{
    struct snapshot_resource res = {0};
    int err = undump_get(u, rec, &dump_resource_kind, &res);

    if (err)
        return err;
    if (res.idle > 1)
        return undump_corrupt(u, "a key is neither idle nor in use");
    if (!res.idle)
        return add_resource(u, rec, &res);
    u->res = 0;
    if (u->nidle == u->room) {
        size_t room = u->room * 2 + 64;
        struct idle *more = realloc(u->idle, room * sizeof(*more));

        if (!more)
            return undump_refuse(u, -ENOMEM, "no memory");
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
        n->owner = undump_slot(u, n->owner);
        if (!n->owner)
            return undump_corrupt(u, "a holder or waiter is of a connection that is not there");
    }
    c = conns_slot(u->r, n->owner);
    if ((n->flags & NODE_BLOCKED) && c->blocked)
        return undump_corrupt(u, "a connection has two blocked requests");
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
    int err = undump_get(u, rec, &dump_node_kind, &n);

    if (err)
        return err;
    if (!u->res || (n.state != NODE_HELD && n.state != NODE_WAITING))
        return undump_corrupt(u, "a holder or waiter is of no key");
    return add_node(u, u->res, &n);
}

static int read_lapsed(struct undump *u, const struct dump_record *rec)
{
    struct dump_lapsed lapsed = {0};
    struct table_key key = {.bytes = rec->bytes, .len = rec->nbytes};
    uint32_t res;
    int err = undump_get(u, rec, &dump_lapsed_kind, &lapsed);

    if (err)
        return err;
    u->res = 0; /* no holder follows */
    enter(u, rec, lapsed.kind, &key.hash);
    key.kind = lapsed.kind;
    res = table_find(&u->tx, &key);
    if (!res || lapsed.node.state != NODE_LAPSED)
        return undump_corrupt(u, "a lapsed grant is of no key");
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
                return undump_corrupt(u, "a key is in use, and by nobody");
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
        err = undump_get(u, &rec, &dump_resource_kind, &res);
        if (!err)
            err = add_resource(u, &rec, &res);
        if (err)
            return err;
        if (snapshot_settle(&u->tx, u->res, true) != SNAPSHOT_OK)
            return undump_corrupt(u, "a key is idle, and is not");
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
            return undump_corrupt(u, "it has two beginnings");
        case DUMP_CONN:
            break; /* read already */
        case DUMP_WORKER:
            err = read_worker(u, &rec);
            break;
        case DUMP_COUNTERS:
            err = read_counters(u, &rec);
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
                return undump_refuse(u, ERR_VERSION,
                                     "it holds something that this version does not know");
        }
        at = u->in.at;
    }
    if (!err && more < 0)
        return undump_corrupt(u, "a record has a length that cannot be");
    return err;
}

static int load(struct undump *u, int fd)
{
    int err = dumpfile_load(&u->in, fd);

    switch (err) {
    case 0:
        return 0;
    case -EINVAL:
        return undump_refuse(u, err, "this is no dump of dflockd");
    case ERR_VERSION:
        return undump_refuse(u, err, "it has a form that this version does not know");
    case ERR_CORRUPT:
        return undump_refuse(u, err, "it was cut off or changed: its checksum is wrong");
    default:
        return undump_refuse(u, err, err_text(err));
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
        err = undump_conns(u);
    if (!err)
        err = read_records(u);
    if (!err)
        err = settle(u);
    if (!err)
        err = undump_conns_finish(u);
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

static int count_conn(struct undump *u, const struct dump_record *rec, struct region_limits *least)
{
    struct dump_conn d = {0};
    int err = undump_get(u, rec, &dump_conn_kind, &d);

    if (undump_is_session(&d))
        least->max_sessions++;
    else
        least->max_conns++;
    return err;
}

static int count(struct undump *u, struct region_limits *least)
{
    struct snapshot_resource res;
    struct dump_record rec;
    int more, err = 0;

    while (!err && (more = dumpfile_next(&u->in, &rec)) == 1) {
        err = rec.type == DUMP_CONN ? count_conn(u, &rec, least) : 0;
        least->max_nodes += rec.type == DUMP_NODE || rec.type == DUMP_LAPSED;
        if (rec.type != DUMP_RESOURCE)
            continue;
        res.idle = 0;
        err = undump_get(u, &rec, &dump_resource_kind, &res);
        least->max_locks += res.idle == 0;
    }
    return !err && more < 0 ? undump_corrupt(u, "a record has a length that cannot be") : err;
}

int dump_limits(int fd, struct region_limits *limits, struct dump_result *out)
{
    struct region_limits least = {0};
    struct undump *u = calloc(1, sizeof(*u));
    int err;

    memset(out, 0, sizeof(*out));
    if (!u)
        return -ENOMEM;
    u->out = out;
    err = load(u, fd);
    if (!err)
        err = count(u, &least);
    end(u);
    if (err)
        return err;
    if (limits->max_locks < least.max_locks)
        limits->max_locks = least.max_locks;
    if (limits->max_conns < least.max_conns)
        limits->max_conns = least.max_conns;
    if (limits->max_sessions < least.max_sessions)
        limits->max_sessions = least.max_sessions;
    if (least.max_nodes > (limits->max_nodes ? limits->max_nodes
                                             : layout_nodes(limits->max_locks,
                                                            limits->max_conns +
                                                                limits->max_sessions)))
        limits->max_nodes = least.max_nodes;
    return 0;
}

int dump_try(int fd, struct region_limits limits, struct dump_result *out)
{
    struct region *r;
    int err = dump_limits(fd, &limits, out);

    if (err)
        return err;
    r = region_create(&limits, &err);
    if (!r) {
        snprintf(out->why, sizeof(out->why), "there is no memory for a lock table of its own");
        return err;
    }
    err = dump_read(r, fd, out);
    region_destroy(r);
    return err;
}
