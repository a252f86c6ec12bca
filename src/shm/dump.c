/*
 * shm/dump.c - writing a dump: see dump.h. Runs in a child of the master when all workers are gone.
 * Shards are locked to be repaired, one at a time; then nobody else is there.
 */
#include "shm/dump.h"

#include "base/clock.h"
#include "base/err.h"
#include "shm/dumpfields.h"
#include "shm/shared.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void put_origin(struct dump_out *o, const struct region *r)
{
    struct dump_origin origin = {.boottime = clock_boottime_ns(),
                                 .realtime = clock_realtime_ns(),
                                 .max_nodes = r->max_nodes,
                                 .max_locks = r->geo.max_locks,
                                 .max_conns = r->max_conns,
                                 .max_sessions = r->max_sessions};

    memcpy(origin.boot_id, r->boot_id, sizeof(origin.boot_id));
    snprintf(origin.program, sizeof(origin.program), "%s", PACKAGE_VERSION);
    dumpfile_put(o, &dump_origin_kind, &origin, 0);
}

static void put_words(struct dump_out *o, const struct region *r)
{
    struct dump_region words = {.created = r->created,
                                .fence_next = r->fence_next,
                                .fence_limit = r->fence_limit,
                                .grants_from = r->grants_from,
                                .conn_id_next = r->conn_id_next,
                                .draining = r->draining};

    dumpfile_put(o, &dump_region_kind, &words, 0);
}

static void put_counters(struct dump_out *o, uint32_t worker, const struct counters *counters)
{
    struct dump_counters c = {.worker = worker, .counters = *counters};

    dumpfile_put(o, &dump_counters_kind, &c, 0);
}

static void put_workers(struct dump_out *o, struct region *r)
{
    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        struct dump_worker w = {.worker = i, .down_since = r->down_since[i]};

        if (region_worker(r, i)->generation == 0)
            continue; /* never used */
        memcpy(&w.slot, region_worker(r, i), sizeof(w.slot));
        dumpfile_put(o, &dump_worker_kind, &w, 0);
        put_counters(o, i, &w.slot.counters);
    }
    put_counters(o, WORKER_MAX, &r->master);
}

/* A piece of a ring, from the absolute count `at` on. */
static void put_ring(struct dump_out *o, const char *ring, uint32_t size, uint64_t at, uint32_t n)
{
    uint32_t pos = (uint32_t)(at & (size - 1));
    uint32_t first = size - pos < n ? size - pos : n;

    dumpfile_bytes(o, ring + pos, first);
    dumpfile_bytes(o, ring, n - first);
}

static void put_conn(struct dump_out *o, struct region *r, uint32_t slot)
{
    struct conn *c = conns_slot(r, slot);
    const struct owner *owner = (struct owner *)(region_base(r) + r->geo.owners) + slot;
    struct dump_conn d = {.slot = slot};
    uint32_t out_bytes = 0;

    if (!conns_possible(r, slot)) { /* after a crash, before the heir has seen it: as it would */
        conns_give_up(r, slot);
        c->id = owner->id ? owner->id : c->id;
        c->worker = owner->worker < WORKER_MAX ? owner->worker : 0;
        c->doc_pos = c->doc_len = 0;
        if (c->family != AF_INET && c->family != AF_INET6)
            c->family = AF_UNIX;
    }
    d.c = *c;
    if (c->iobuf) {
        d.buffered = 1;
        d.big = c->bigbuf != 0;
        d.in_bytes = conns_in_size(c);
        out_bytes = conns_out_used(c);
    }
    dumpfile_put(o, &dump_conn_kind, &d, d.in_bytes + out_bytes);
    if (c->iobuf) {
        put_ring(o, conns_in(r, c), conns_in_size(c), c->in_head, d.in_bytes);
        put_ring(o, conns_out(r, c), IOBUF_OUT, c->out_head, out_bytes);
    }
}

static void put_shard(struct dump_out *o, const struct table *t, uint32_t shard)
{
    struct snapshot_resource r;
    struct snapshot_node n;
    uint32_t res = 0, at = 0;

    while (snapshot_next_resource(t, shard, &res, &r)) {
        dumpfile_put(o, &dump_resource_kind, &r, r.key_len);
        dumpfile_bytes(o, r.key, r.key_len);
        for (at = 0; snapshot_next_node(t, shard, res, &at, &n);)
            dumpfile_put(o, &dump_node_kind, &n, 0);
    }
    for (at = 0; snapshot_next_lapsed(t, shard, &at, &res, &n);) {
        const struct resource *on = table_resource(t, shard, res);
        struct dump_lapsed lapsed = {.node = n, .kind = on->kind};

        dumpfile_put(o, &dump_lapsed_kind, &lapsed, on->key_len);
        dumpfile_bytes(o, table_key_bytes(t, shard, res), on->key_len);
    }
}

/* What every worker left open is rolled back, as its heir would. */
static bool settle(struct region *r, struct shared *sh)
{
    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        shared_attach(sh, r, i);
        shared_recover(sh);
    }
    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        const struct shard *s = table_shard(&sh->table, i);

        if (s->state != SHARD_OK || s->journal.count != 0)
            return false;
    }
    return true;
}

bool dump_hindered(const struct region *r)
{
    struct table t = {0};

    table_attach(&t, (void *)r, &r->geo);
    for (uint32_t i = 0; i < SHARD_COUNT; i++)
        if (table_lost(&t, i))
            return true;
    return false;
}

int dump_write(struct region *r, int fd)
{
    struct shared *sh = calloc(1, sizeof(*sh));
    struct dump_out *o = malloc(sizeof(*o));
    int err = -ENOMEM;

    if (!sh || !o)
        goto done;
    err = ERR_CORRUPT;
    if (!settle(r, sh))
        goto done;
    dumpfile_begin(o, fd);
    put_origin(o, r);
    put_words(o, r);
    put_workers(o, r);
    for (uint32_t slot = 1; slot <= r->max_conns + r->max_sessions; slot++)
        if (conns_slot(r, slot)->state != CONN_FREE)
            put_conn(o, r, slot);
    for (uint32_t i = 0; i < SHARD_COUNT; i++)
        put_shard(o, &sh->table, i);
    err = dumpfile_end(o);
done:
    free(o);
    free(sh);
    return err;
}
