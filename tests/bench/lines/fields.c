/*
 * tests/bench/lines/fields.c - the names of what lies in the region, by offset.
 *
 * A name is RECORD.FIELD. Of arrays of numbers that belong to a shard the record alone is named.
 * What has no row here is named by its record and its place in it, so that nothing goes unseen.
 */
#include "sim.h"

#include "shm/conns.h"

#include <stdio.h>

struct field {
    const char *name;
    uint32_t record;
    uint32_t at, end;
};

struct record {
    const char *name;
    uint64_t from, end; /* in the region */
    uint64_t stride;
    uint64_t within; /* and so many bytes of it */
};

enum record_number {
    REGION,
    MUTEX,
    WORKER,
    CONN,
    SHARD,
    OWNER,
    RESOURCE,
    CHUNK,
    NODE,
    NEXT_DUE,
    IOBUF_OWNER,
    CHUNK_OWNER,
    BUCKET,
    IN_RING,
    OUT_RING,
    REST,
    RECORDS,
};

static struct record records[RECORDS];

#define FIELD(number, type, member)                                                                \
    {                                                                                              \
#member, number, offsetof(struct type, member),                                            \
            offsetof(struct type, member) + sizeof(((struct type *)0)->member)                     \
    }
#define R(member) FIELD(REGION, region, member)
#define W(member) FIELD(WORKER, worker_slot, member)
#define C(member) FIELD(CONN, conn, member)
#define S(member) FIELD(SHARD, shard, member)
#define K(member) FIELD(RESOURCE, resource, member)
#define H(member) FIELD(CHUNK, chunk, member)
#define N(member) FIELD(NODE, node, member)

/* Field 0 is what is nowhere. */
static const struct field fields[] = {
    {"?", RECORDS, 0, 0},
    R(fence_next),
    R(fence_limit),
    R(promise_until),
    R(grants_from),
    R(fences),
    R(fences_turn),
    R(draining),
    R(nworkers),
    R(crashes),
    R(stopping),
    R(suspect),
    R(nconns),
    R(nsessions),
    R(served_since),
    R(conn_id_next),
    R(units),
    R(units_kept),
    R(nslots),
    R(bigbuf_owner),
    R(tickets),
    R(down_since),
    R(asks.until),
    R(asks.limit),
    R(asks.last),
    R(asks.bell),
    R(asks.heard),
    R(asks.leave),
    R(master),
    R(http),
    {"mutex", MUTEX, 0, sizeof(struct shard_mutex)},
    W(units),
    W(unit_seq),
    W(unit_give),
    W(unit_seen),
    W(pid),
    W(generation),
    W(settled),
    W(started),
    W(deaths),
    W(serving),
    W(died),
    W(counted),
    W(http),
    W(suspect),
    W(fence_seen),
    W(journal.count),
    W(journal.entry),
    W(mask),
    W(parked),
    W(bell),
    W(beat),
    W(configured),
    W(counters),
    C(id),
    C(worker),
    C(state),
    C(phase),
    C(flags),
    C(in_head),
    C(in_tail),
    C(out_head),
    C(out_tail),
    C(iobuf),
    C(bigbuf),
    C(blocked),
    C(blocked_shard),
    C(blocked_since),
    C(blocked_until),
    C(request_since),
    C(idle_since),
    C(write_since),
    C(close_at),
    S(journal.count),
    S(journal.entry),
    S(state),
    S(moving),
    S(ticket_next),
    S(idle_oldest),
    S(res_free),
    S(res_bump),
    S(res_count),
    S(idle_head),
    S(idle_tail),
    S(partial),
    S(nchunks),
    S(nfree),
    S(nidle),
    S(nheld),
    S(nwaiting),
    S(starved),
    S(pending),
    S(wheel.now),
    S(wheel.occupied),
    S(wheel.draining),
    S(wheel.slot),
    {"owner", OWNER, 0, sizeof(struct owner)},
    K(hash),
    K(last_active),
    K(limit),
    K(nholders),
    K(nwaiters),
    K(ntombs),
    K(holders),
    K(q_head),
    K(q_tail),
    K(next),
    K(idle_prev),
    K(idle_next),
    K(spare),
    K(key_len),
    K(kind),
    K(state),
    K(key),
    H(free_head),
    H(bump),
    H(nfree),
    H(linked),
    H(prev),
    H(next),
    N(conn_id),
    N(order),
    N(salt),
    N(end),
    N(lease),
    N(since),
    N(res),
    N(owner),
    N(prev),
    N(next),
    N(own_prev),
    N(own_next),
    N(pend_prev),
    N(pend_next),
    N(tok_next),
    N(pair_next),
    N(tw_prev),
    N(tw_next),
    N(tw_slot),
    N(state),
    N(flags),
    N(extended),
    {"next_due", NEXT_DUE, 0, 8},
    {"iobuf_owner", IOBUF_OWNER, 0, 4},
    {"chunk_owner", CHUNK_OWNER, 0, 4},
    {"bucket", BUCKET, 0, 4},
    {"input ring", IN_RING, 0, IOBUF_IN},
    {"output ring", OUT_RING, 0, IOBUF_OUT},
    {"something else", REST, 0, UINT32_MAX},
};

enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };
_Static_assert((int)FIELDS <= (int)FIELDS_MAX, "field numbers");

void fields_init(const struct region *r)
{
    const struct geometry *g = &r->geo;
    uint64_t nodes = offsetof(struct chunk, node);

    records[REGION] = (struct record){"region", 0, offsetof(struct region, mutex), UINT64_MAX, 0};
    records[MUTEX] = (struct record){"", offsetof(struct region, mutex), sizeof(struct region),
                                     sizeof(struct shard_mutex), 0};
    records[WORKER] =
        (struct record){"worker", r->workers, r->conns, sizeof(struct worker_slot), 0};
    records[CONN] = (struct record){"conn", r->conns, r->iobuf_owner, sizeof(struct conn), 0};
    records[IOBUF_OWNER] = (struct record){"", r->iobuf_owner, g->shards, 4, 0};
    records[SHARD] = (struct record){"shard", g->shards, g->next_due, g->shard_stride, 0};
    records[NEXT_DUE] = (struct record){"", g->next_due, g->owners, 8, 0};
    records[OWNER] = (struct record){"", g->owners, g->chunk_owner, sizeof(struct owner), 0};
    records[CHUNK_OWNER] = (struct record){"", g->chunk_owner, g->chunks, 4, 0};
    records[NODE] = (struct record){"node", g->chunks, g->resources, sizeof(struct chunk), nodes};
    records[CHUNK] = (struct record){"chunk", g->chunks, g->resources, sizeof(struct chunk), 0};
    records[RESOURCE] =
        (struct record){"resource", g->resources, g->long_keys, sizeof(struct resource), 0};
    records[BUCKET] = (struct record){"", g->buckets, g->size, 4, 0};
    records[IN_RING] = (struct record){"", r->iobufs, r->bigbufs, IOBUF_IN + IOBUF_OUT, 0};
    records[OUT_RING] = (struct record){"", r->iobufs, r->bigbufs, IOBUF_IN + IOBUF_OUT, IOBUF_IN};
    records[REST] = (struct record){"", 0, r->size, UINT64_MAX, 0};
}

/* Where in the record the offset lies; false: it is none of this record. */
static bool in_record(enum record_number number, uint64_t offset, uint64_t *at)
{
    const struct record *r = &records[number];

    if (offset < r->from || offset >= r->end)
        return false;
    *at = (offset - r->from) % r->stride;
    if (*at < r->within)
        return false;
    *at -= r->within;
    if (number == NODE)
        *at %= sizeof(struct node);
    return true;
}

unsigned fields_at(uint64_t offset)
{
    uint64_t at;

    for (unsigned i = 1; i < FIELDS; i++)
        if (in_record((enum record_number)fields[i].record, offset, &at) && at >= fields[i].at &&
            at < fields[i].end)
            return i;
    return FIELDS - 1;
}

void fields_name(unsigned field, char *text, size_t room)
{
    const struct field *f = &fields[field];
    const char *record = f->record < RECORDS ? records[f->record].name : "";

    snprintf(text, room, "%s%s%s", record, *record ? "." : "", f->name);
}
