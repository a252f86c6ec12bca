/*
 * tests/shm/fences_test.c - how much may be promised: who asks for more, when, and how much is
 * added.
 */
#include "shm/fences.h"

#include "shm/shared.h"
#include "tests/tap.h"

#include <stdio.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)
#define NOW (1000 * SECOND)
#define NEVER (TIME_NEVER - 1)

static struct region *r;
static struct shared sh;

static void set_up(uint64_t limit, uint64_t until)
{
    struct region_limits limits = {.max_locks = 64, .max_conns = 8};
    int err;

    r = region_create(&limits, &err);
    if (!r)
        bail_out("no region");
    shared_attach(&sh, r, 0);
    r->fences = FENCES_KEPT;
    r->fence_next = 1000;
    fences_publish(r, limit, until);
    for (uint32_t o = 1; o <= 8; o++)
        sh.table.owners[o].id = o;
}

static enum verdict acquire(uint32_t n, uint64_t lease)
{
    char key[16];
    struct acquire_args args = {.owner = 1 + n % 8, .limit = 1, .lease = lease};
    struct grant g;
    struct tx tx;
    enum verdict v;

    snprintf(key, sizeof(key), "key%u", n);
    args.key = shared_key(&sh, KIND_LOCK, key, (uint32_t)strlen(key));
    if (!shared_make_room(&sh, NOW) || !shared_begin(&sh, &tx, table_shard_of(args.key.hash), NOW))
        bail_out("the table is full, or broken");
    v = table_acquire(&tx, &args, &g);
    shared_end(&sh, &tx);
    return v;
}

/* What the writer does when it is asked. */
static void serve(void)
{
    uint64_t limit = r->fence_limit, until = r->promise_until;

    while (fences_need(r, &limit, &until))
        fences_publish(r, limit, until);
}

static void leases(void)
{
    uint32_t asked;

    set_up(UINT64_C(1) << 40, NOW + 100 * SECOND);
    asked = fences_asked(r);
    is_int(acquire(0, 10 * SECOND), VERDICT_OK, "a lease that ends long before the horizon");
    is_u64(fences_asked(r), asked, "nobody is asked");
    is_int(acquire(1, 95 * SECOND), VERDICT_OK, "one that ends shortly before");
    ok(fences_asked(r) != asked, "more is asked for before somebody has to wait");
    asked = fences_asked(r);
    is_int(acquire(2, 95 * SECOND), VERDICT_OK, "another one");
    is_u64(fences_asked(r), asked, "once is enough");
    is_int(acquire(3, 101 * SECOND), VERDICT_NO_FENCE, "one that ends after the horizon");
    ok(fences_asked(r) != asked, "who must wait asks");
    asked = fences_asked(r);
    is_int(acquire(3, 101 * SECOND), VERDICT_NO_FENCE, "again");
    ok(fences_asked(r) != asked, "each time");
    serve();
    is_int(acquire(3, 101 * SECOND), VERDICT_OK, "it is granted when the horizon has been raised");
    ok(r->promise_until >= NOW + 131 * SECOND && r->promise_until <= NOW + 146 * SECOND,
       "by a step more than was asked for");
    is_int(acquire(4, NEVER), VERDICT_NO_FENCE, "a lease without end");
    serve();
    is_int(acquire(4, NEVER), VERDICT_OK, "can be had");
    is_u64(r->promise_until, NEVER, "then there is no horizon any more");
    region_destroy(r);
}

static void fences(void)
{
    uint64_t limit = 1000 + FENCES_RANGE, more = limit, until = NEVER;
    uint32_t asked;

    set_up(limit, NEVER);
    asked = fences_asked(r);
    acquire(0, SECOND);
    is_u64(fences_asked(r), asked, "with more than half of the range left nobody is asked");
    ok(!fences_need(r, &more, &until) && more == limit, "nor is there a need");
    r->fence_next = limit - FENCES_RANGE / 2 - 1;
    acquire(1, SECOND);
    ok(fences_asked(r) != asked, "at half the range more is asked for");
    asked = fences_asked(r);
    acquire(2, SECOND);
    is_u64(fences_asked(r), asked, "once is enough");
    r->fence_next = limit;
    is_int(acquire(3, SECOND), VERDICT_NO_FENCE, "at its end there is none");
    ok(fences_asked(r) != asked, "and who must wait asks");
    ok(fences_may_come(r), "waiting helps");
    serve();
    is_u64(r->fence_limit, limit + FENCES_RANGE, "a range is added");
    is_int(acquire(3, SECOND), VERDICT_OK, "it goes on");
    r->fences = FENCES_FAILING;
    ok(!fences_may_come(r), "waiting does not help while the disk fails");
    r->fences = FENCES_KEPT;
    r->fence_next = UINT64_MAX - 2;
    fences_publish(r, UINT64_MAX - 1, NEVER);
    serve();
    is_u64(r->fence_limit, UINT64_MAX, "the last range is shorter");
    is_int(acquire(5, SECOND), VERDICT_OK, "the last fence but one");
    is_int(acquire(6, SECOND), VERDICT_OK, "the last fence");
    is_int(acquire(7, SECOND), VERDICT_NO_FENCE, "they never wrap");
    ok(!fences_may_come(r), "and waiting does not help then");
    region_destroy(r);
}

static void last_lease(void)
{
    uint64_t end;

    set_up(UINT64_C(1) << 40, NEVER);
    ok(fences_last_lease(r, &end) && end == 0, "an empty table has no lease");
    acquire(0, 10 * SECOND);
    acquire(1, 30 * SECOND);
    acquire(2, 20 * SECOND);
    ok(fences_last_lease(r, &end) && end == NOW + 30 * SECOND, "the last end of all leases");
    table_shard(&sh.table, 5)->state = SHARD_QUARANTINED;
    ok(!fences_last_lease(r, &end), "a quarantined shard may hold anything");
    table_shard(&sh.table, 5)->state = SHARD_OK;
    table_shard(&sh.table, 5)->journal.count = 1;
    ok(!fences_last_lease(r, &end), "so may one that somebody died in");
    table_shard(&sh.table, 5)->journal.count = 0;
    r->suspect = 1;
    ok(!fences_last_lease(r, &end), "and a table that somebody crashed in");
    region_destroy(r);
}

static void no_file(void)
{
    uint32_t asked;

    set_up(UINT64_MAX, UINT64_MAX);
    r->fences = FENCES_FREE;
    asked = fences_asked(r);
    is_int(acquire(0, NEVER), VERDICT_OK, "without a file there is no horizon");
    is_u64(fences_asked(r), asked, "and nobody to ask");
    r->fence_next = UINT64_MAX;
    is_int(acquire(1, SECOND), VERDICT_NO_FENCE, "fences end all the same");
    ok(!fences_may_come(r), "for ever");
    region_destroy(r);
}

int main(void)
{
    leases();
    fences();
    last_lease();
    no_file();
    return done_testing();
}
