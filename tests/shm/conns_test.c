/*
 * tests/shm/conns_test.c - connection slots, their rings, and who has which buffer.
 */
#include "shm/conns.h"

#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { CONNS = 60 };

static struct region *r;

static void begin(void)
{
    struct region_limits limits = {.max_locks = 16, .max_conns = CONNS, .max_nodes = 64};
    int err;

    if (r)
        region_destroy(r);
    r = region_create(&limits, &err);
    if (!r)
        bail_out("region_create: %d", err);
}

/* The byte at each place of an endless stream. */
static char byte_at(uint64_t pos)
{
    return (char)(pos * 131 + (pos >> 8) * 7);
}

static void test_slots(void)
{
    struct conn *c;
    struct owner *o;

    begin();
    c = conns_slot(r, 5);
    o = (struct owner *)(region_base(r) + r->geo.owners) + 5;
    c->family = AF_INET6;
    c->port = 77;
    memset(c->addr, 9, sizeof(c->addr));
    c->in_head = c->blocked = 3; /* of one before */
    c->flags = c->phase = 1;
    conns_open(r, 5, 1234, 6, 99);
    ok(c->id == 1234 && c->worker == 6 && c->state == CONN_OPEN, "an open connection");
    ok(c->family == AF_INET6 && c->port == 77 && c->addr[15] == 9, "keeps its address");
    ok(c->in_head == 0 && c->blocked == 0 && c->flags == 0 && c->phase == PHASE_READY,
       "and nothing of one before");
    ok(o->id == 1234 && o->worker == 6, "the table knows it");
    conns_free(r, 5);
    ok(c->state == CONN_FREE && c->id == 0 && o->id == 0, "freed");
    is_u64((char *)conns_slot(r, CONNS) - (char *)conns_slot(r, 0), CONNS * sizeof(struct conn),
           "slots lie side by side");
}

/* ---- rings ---- */

static void fill_in(struct conn *c, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++, c->in_tail++)
        conns_in(r, c)[c->in_tail & (conns_in_size(c) - 1)] = byte_at(c->in_tail);
}

static bool view_is_right(const struct conn *c, uint32_t max, uint32_t want)
{
    char scratch[IOBUF_IN * 2];
    const char *view;
    uint32_t n = conns_view(r, c, scratch, max, &view);

    if (n != want)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (view[i] != byte_at(c->in_head + i))
            return false;
    return true;
}

static void test_views(void)
{
    struct iobufs b;
    struct conn *c;
    const char *view;
    char scratch[64];
    unsigned bad = 0;

    begin();
    iobufs_init(&b, r, 0);
    c = conns_slot(r, 1);
    conns_open(r, 1, 1, 0, 0);
    iobufs_attach(&b, c);
    is_u64(conns_view(r, c, scratch, sizeof(scratch), &view), 0, "nothing to see");
    fill_in(c, 100);
    ok(view_is_right(c, 1000, 100) && view_is_right(c, 30, 30), "what is there, or as asked");
    is_u64(conns_view(r, c, scratch, sizeof(scratch), &view), 64, "without a copy");
    ok(view == conns_in(r, c), "in place");
    c->in_head = c->in_tail = IOBUF_IN - 10;
    fill_in(c, 10);
    ok(conns_view(r, c, scratch, 64, &view) == 10 && view == conns_in(r, c) + IOBUF_IN - 10,
       "up to the ring's last byte: in place");
    fill_in(c, 1);
    ok(conns_view(r, c, scratch, 64, &view) == 11 && view == scratch, "one beyond it: a copy");
    ok(view_is_right(c, 64, 11), "with the right bytes");
    c->in_head = c->in_tail = UINT64_C(1) << 40;
    fill_in(c, IOBUF_IN);
    ok(view_is_right(c, IOBUF_IN, IOBUF_IN) && conns_in_used(c) == IOBUF_IN, "a full ring");

    c->in_head = c->in_tail = 0;
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t room = IOBUF_IN - conns_in_used(c);

        if (proc_below(2))
            fill_in(c, proc_below(room + 1));
        else
            c->in_head += proc_below(conns_in_used(c) + 1);
        bad += !view_is_right(c, IOBUF_IN, conns_in_used(c));
    }
    is_u64(bad, 0, "%" PRIu64 " bytes through the ring", c->in_tail);
    iobufs_destroy(&b);
}

static void test_put(void)
{
    struct iobufs b;
    struct conn *c;
    unsigned bad = 0;

    begin();
    iobufs_init(&b, r, 0);
    c = conns_slot(r, 1);
    conns_open(r, 1, 1, 0, 0);
    iobufs_attach(&b, c);
    is_u64(conns_out_free(c), IOBUF_OUT, "an empty ring");
    for (unsigned i = 0; i < 20000; i++) {
        char text[300];
        uint32_t n = proc_below(sizeof(text)), guard = conns_in(r, c)[IOBUF_IN - 1];

        if (n > conns_out_free(c))
            n = conns_out_free(c);
        for (uint32_t k = 0; k < n; k++)
            text[k] = byte_at(c->out_tail + k);
        conns_put(r, c, text, n);
        bad += conns_in(r, c)[IOBUF_IN - 1] != (char)guard;
        c->out_tail += n;
        while (c->out_head < c->out_tail && proc_below(150)) {
            bad += conns_out(r, c)[c->out_head & (IOBUF_OUT - 1)] != byte_at(c->out_head);
            c->out_head++;
        }
    }
    is_u64(bad, 0, "%" PRIu64 " bytes written", c->out_tail);
    iobufs_destroy(&b);
}

/* ---- long lines ---- */

static void test_grow(void)
{
    struct iobufs b;
    struct conn *c;
    const char *big;
    unsigned left = 0, bad = 0;

    begin();
    iobufs_init(&b, r, 0);
    for (uint32_t slot = 1; slot <= BIGBUF_COUNT + 1; slot++) {
        c = conns_slot(r, slot);
        conns_open(r, slot, slot, 0, 0);
        iobufs_attach(&b, c);
        c->in_head = c->in_tail = slot * 1000 + 3900;
        fill_in(c, IOBUF_IN);
        if (slot <= BIGBUF_COUNT)
            bad += !conns_grow(r, slot) || !view_is_right(c, IOBUF_IN, IOBUF_IN) ||
                   conns_in_size(c) != BIGBUF_SIZE;
    }
    is_u64(bad, 0, "%d connections grow, with what they have received", BIGBUF_COUNT);
    c = conns_slot(r, BIGBUF_COUNT + 1);
    ok(!conns_grow(r, BIGBUF_COUNT + 1) && c->bigbuf == 0 &&
       view_is_right(c, IOBUF_IN, IOBUF_IN), "one more has to wait, and keeps what it has");
    c = conns_slot(r, 3);
    fill_in(c, BIGBUF_SIZE - IOBUF_IN);
    is_u64(conns_in_used(c), BIGBUF_SIZE, "a long line");
    big = conns_in(r, c);
    c->in_head = c->in_tail - 1500;
    conns_shrink(r, 3);
    ok(c->bigbuf == 0 && view_is_right(c, IOBUF_IN, 1500), "consumed: what follows it moves back");
    for (uint32_t i = 0; i < BIGBUF_SIZE; i++)
        left += big[i] != 0;
    is_u64(left, 0, "the secret is wiped");
    ok(conns_grow(r, BIGBUF_COUNT + 1), "and the buffer is the next one's");
    conns_shrink(r, 3);
    is_u64(conns_slot(r, 3)->bigbuf, 0, "shrinking what is small changes nothing");
    conns_slot(r, 4)->in_head = conns_slot(r, 4)->in_tail;
    iobufs_detach(&b, conns_slot(r, 4));
    conns_shrink(r, 4);
    ok(conns_grow(r, 3), "one that has no small buffer any more gives its big one back too");
    iobufs_destroy(&b);
}

/* ---- buffers ---- */

static bool disjoint(void)
{
    bool *seen = calloc((size_t)r->niobuf_chunks * IOBUF_CHUNK + 1, sizeof(*seen));
    bool good = seen != NULL;

    for (uint32_t slot = 1; good && slot <= CONNS; slot++) {
        uint32_t buf = conns_slot(r, slot)->iobuf;

        good = !buf || !seen[buf];
        seen[buf] = buf != 0;
    }
    free(seen);
    return good;
}

static void test_buffers(void)
{
    struct iobufs a, b, heir;
    uint32_t was;

    begin();
    iobufs_init(&a, r, 2);
    iobufs_init(&b, r, 3);
    ok(a.nfree == 0 && b.nfree == 0, "a worker begins without buffers");
    for (uint32_t slot = 1; slot <= 40; slot++) {
        conns_open(r, slot, slot, slot % 2 ? 2 : 3, 0);
        if (!iobufs_attach(slot % 2 ? &a : &b, conns_slot(r, slot)))
            bail_out("no buffer");
    }
    ok(disjoint(), "each connection has a buffer of its own");
    is_u64(a.nfree, 2 * IOBUF_CHUNK - 20, "claimed by the chunk");
    was = conns_slot(r, 1)->iobuf;
    ok(iobufs_attach(&a, conns_slot(r, 1)) && conns_slot(r, 1)->iobuf == was,
       "attaching twice is once");
    iobufs_detach(&a, conns_slot(r, 1));
    iobufs_detach(&a, conns_slot(r, 1));
    ok(conns_slot(r, 1)->iobuf == 0 && a.nfree == 2 * IOBUF_CHUNK - 19, "and so is detaching");
    iobufs_attach(&a, conns_slot(r, 1));
    is_u64(conns_slot(r, 1)->iobuf, was, "the warm one is used first");
    iobufs_detach(&a, conns_slot(r, 3));
    conns_slot(r, 5)->state = CONN_CLOSED;

    /* Worker 2 is dead, its private list with it. */
    if (iobufs_init(&heir, r, 2) != 0)
        bail_out("no memory");
    is_u64(heir.nfree, 2 * IOBUF_CHUNK - 18, "the heir finds all that no connection uses");
    for (uint32_t slot = 41; slot <= CONNS; slot++) {
        conns_open(r, slot, slot, 2, 0);
        if (!iobufs_attach(&heir, conns_slot(r, slot)))
            bail_out("no buffer");
    }
    conns_slot(r, 5)->iobuf = 0;
    ok(disjoint(), "and gives none of them to two");
    iobufs_destroy(&a);
    iobufs_destroy(&b);
    iobufs_destroy(&heir);
}

/* A connection goes from worker 2 to worker 3, with what is in its rings. */
static void test_handed_over(void)
{
    struct iobufs a, b;
    struct conn *c;

    begin();
    iobufs_init(&a, r, 2);
    iobufs_init(&b, r, 3);
    conns_open(r, 1, 1, 2, 0);
    c = conns_slot(r, 1);
    iobufs_attach(&a, c);
    a.lent = true;
    c->worker = 3;
    ok(iobufs_attach(&b, c) && b.nfree == 0, "it goes on with the buffer that it has");
    ok(iobufs_disown(r, 2) == 0, "which is in use when its worker has gone");
    iobufs_detach(&b, c);
    ok(c->iobuf == 0 && b.nfree == 0, "it does not become the other worker's");
    conns_open(r, 2, 2, 2, 0);
    for (uint32_t slot = 3; slot <= CONNS; slot++) {
        conns_open(r, slot, slot, 2, 0);
        if (!iobufs_attach(&a, conns_slot(r, slot)))
            bail_out("no buffer");
    }
    for (uint32_t i = 0; i < r->niobuf_chunks; i++) /* no chunk is free any more */
        if (((uint32_t *)(region_base(r) + r->iobuf_owner))[i] == 0)
            ((uint32_t *)(region_base(r) + r->iobuf_owner))[i] = 9;
    a.nfree = 0;
    ok(iobufs_attach(&a, conns_slot(r, 2)), "its owner finds it again");
    ok(disjoint(), "and gives it to one only");
    for (uint32_t slot = 1; slot <= CONNS; slot++)
        conns_slot(r, slot)->iobuf = 0;
    ok(iobufs_disown(r, 2) == 1, "a worker that has gone leaves its chunks");
    ok(iobufs_attach(&b, c), "to others");
    iobufs_destroy(&a);
    iobufs_destroy(&b);
}

static void test_all_workers(void)
{
    static struct iobufs b[WORKER_MAX];
    unsigned got = 0;

    begin();
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        iobufs_init(&b[i], r, i);
    /* Every worker has had a connection, which has gone. */
    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        conns_open(r, 1, i + 1, i, 0);
        got += iobufs_attach(&b[i], conns_slot(r, 1));
        iobufs_detach(&b[i], conns_slot(r, 1));
    }
    is_u64(got, WORKER_MAX, "each worker gets a chunk");
    got = 0;
    for (uint32_t slot = 1; slot <= CONNS; slot++) {
        conns_open(r, slot, 1000 + slot, 0, 0);
        got += iobufs_attach(&b[0], conns_slot(r, slot));
    }
    is_u64(got, CONNS, "and there are enough left for all connections at one of them");
    ok(disjoint(), "each its own");
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        iobufs_destroy(&b[i]);
}

/* Several workers claim at the same time. */
static void claim(void *arg)
{
    uint32_t worker = (uint32_t)(uintptr_t)arg;
    struct iobufs b;

    iobufs_init(&b, r, worker);
    for (uint32_t slot = 1; slot <= CONNS; slot++)
        if (slot % 4 == worker && !iobufs_attach(&b, conns_slot(r, slot)))
            abort();
    iobufs_destroy(&b);
}

static void test_claims(void)
{
    unsigned failed = 0, bad = 0;

    for (unsigned round = 0; round < 50; round++) {
        pid_t pid[4];

        begin();
        for (uint32_t slot = 1; slot <= CONNS; slot++)
            conns_open(r, slot, slot, slot % 4, 0);
        for (uint32_t i = 0; i < 4; i++)
            pid[i] = proc_start(claim, (void *)(uintptr_t)i);
        for (uint32_t i = 0; i < 4; i++)
            failed += proc_reap(pid[i]) != 0;
        bad += !disjoint();
    }
    is_u64(failed, 0, "four workers claim at once, fifty times");
    is_u64(bad, 0, "no buffer has two owners");
}

int main(void)
{
    proc_seed();
    test_slots();
    test_views();
    test_put();
    test_grow();
    test_buffers();
    test_handed_over();
    test_all_workers();
    test_claims();
    return done_testing();
}
