/*
 * shm/undump_conns.c - the connections of a dump: see undump.c. They are read before the table,
 * since holders and waiters name them.
 */
#include "base/err.h"
#include "shm/undump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_MAX = 1 << 22 }; /* layout.h */

static int name_slot(struct undump *u, uint32_t old, uint32_t slot)
{
    struct dump_result *out = u->out;

    if (!out->slot || old > out->nslots) {
        uint32_t n = old * 2 + 64, known = out->slot ? out->nslots + 1 : 0;
        uint32_t *more = realloc(out->slot, (n + 1) * sizeof(*more));

        if (!more)
            return undump_refuse(u, -ENOMEM, "no memory");
        memset(more + known, 0, (n + 1 - known) * sizeof(*more));
        out->slot = more;
        out->nslots = n;
    }
    out->slot[old] = slot;
    return 0;
}

uint32_t undump_slot(const struct undump *u, uint32_t old)
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
        return undump_refuse(u, -ENOMEM, "no memory");
    if (!iobufs_attach(bufs, c) || (d->big && !take_bigbuf(u->r, c, slot)))
        return undump_refuse(u, ERR_FULL,
                             "there are more connections with buffers than there is room for");
    if (d->in_bytes < used || rec->nbytes - d->in_bytes != unsent)
        return undump_corrupt(u, "a connection's rings have other lengths than it says");
    if (used > conns_in_size(c) || unsent > IOBUF_OUT)
        return undump_refuse(u, ERR_FULL,
                             "a connection has more bytes in its rings than ours can hold");
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
    int err = undump_get(u, rec, &dump_conn_kind, &d);

    if (err)
        return err;
    if (undump_is_session(&d) && (d.buffered || d.c.state != CONN_OPEN))
        return undump_corrupt(u, "an HTTP session cannot be");
    if (d.c.state == CONN_FREE || d.c.state > CONN_ORPHANED || d.c.worker >= WORKER_MAX ||
        d.c.id == 0 || d.c.id >= u->r->conn_id_next || d.in_bytes > rec->nbytes)
        return undump_corrupt(u, "a connection cannot be");
    *c = d.c;
    o->worker = c->worker;
    o->id = c->id;
    u->out->conns++;
    if (undump_is_session(&d))
        u->r->nsessions++;
    else
        u->r->nconns++;
    return d.buffered ? read_rings(u, rec, &d, slot) : 0;
}

/* The slots that one may have. */
static uint32_t first_slot(const struct undump *u, const struct dump_conn *d)
{
    return undump_is_session(d) ? u->r->max_conns + 1 : 1;
}

static uint32_t last_slot(const struct undump *u, const struct dump_conn *d)
{
    return undump_is_session(d) ? u->r->max_conns + u->r->max_sessions : u->r->max_conns;
}

/* Slots stay what they are where the region has them; others come into the free ones. */
int undump_conns(struct undump *u)
{
    size_t begin = u->in.at;
    uint32_t spare[2] = {0}; /* of connections, of sessions: none below is free; 0 = not looked yet */
    struct dump_record rec;
    struct dump_conn d;
    int more, err;

    for (int moving = 0; moving <= 1; moving++) {
        u->in.at = begin;
        while ((more = dumpfile_next(&u->in, &rec)) == 1) {
            uint32_t slot, first, last, *free;

            if (rec.type != DUMP_CONN)
                continue;
            memset(&d, 0, sizeof(d));
            err = undump_get(u, &rec, &dump_conn_kind, &d);
            if (err)
                return err;
            if (d.slot < 1 || d.slot > SLOTS_MAX)
                return undump_corrupt(u, "a connection has no slot");
            first = first_slot(u, &d);
            last = last_slot(u, &d);
            if ((d.slot < first || d.slot > last) != moving)
                continue;
            if (undump_slot(u, d.slot))
                return undump_corrupt(u, "two connections have one slot");
            free = &spare[undump_is_session(&d)];
            *free = *free < first ? first : *free;
            while (moving && *free <= last && conns_slot(u->r, *free)->state != CONN_FREE)
                ++*free;
            slot = moving ? *free : d.slot;
            if (slot > last)
                return undump_refuse(u, ERR_FULL,
                                     "there are more connections than max-connections");
            err = name_slot(u, d.slot, slot);
            if (!err)
                err = read_conn(u, &rec, slot);
            if (err)
                return err;
        }
        if (more < 0)
            return undump_corrupt(u, "a record has a length that cannot be");
    }
    u->in.at = begin;
    return 0;
}

int undump_conns_finish(struct undump *u)
{
    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        struct worker_slot *w = region_worker(u->r, i);

        if (w->serving)
            w->serving =
                undump_slot(u, w->serving & ~SERVING_EXECUTES) | (w->serving & SERVING_EXECUTES);
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
            return undump_corrupt(u, "a connection contradicts itself");
    }
    return 0;
}
