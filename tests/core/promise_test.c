/*
 * tests/core/promise_test.c - what may not be promised: leases that are too long to have been
 * written down, grants after a cold start, more waiters than are allowed; and a table without the
 * words that say so.
 */
#include "core/check.h"

#include "tests/core/bed.h"
#include "tests/tap.h"

enum { FIRST = 1, SECOND_ONE = 2, THIRD = 3 };

static struct bed bed;
static uint32_t *reserved;

static uint64_t random_salt(void *arg)
{
    (void)arg;
    return ++bed.salt_next;
}

static void begin(struct tx *tx, uint64_t seconds)
{
    tx_begin(tx, &bed.t, table_shard_of(bed.key[0].key.hash), seconds * SECOND);
    tx->reserved = reserved;
    tx->salt = random_salt;
}

static void end(struct tx *tx)
{
    struct check_report found;

    tx_commit(tx);
    is_int(check_shard(&bed.t, tx->shard, &found), 0, "the table is valid");
}

static void make(void)
{
    bed_make(&bed, &(struct bed_size){.max_locks = 64, .owners = 4});
    bed_add_key(&bed, KIND_LOCK, 8, 0);
    for (uint32_t o = 1; o <= 4; o++)
        bed_connect(&bed, o, 0);
    reserved = &bed.words->reserved[0];
    *reserved = 10;
}

static enum verdict acquire(uint64_t at, struct acquire_args args, struct grant *g)
{
    enum verdict v;
    struct tx tx;

    args.key = bed.key[0].key;
    args.limit = 1;
    args.lease = 10 * SECOND;
    begin(&tx, at);
    v = table_acquire(&tx, &args, g);
    end(&tx);
    return v;
}

static void leases(void)
{
    struct grant first, second, g;
    struct tx tx;

    make();
    bed.words->promise_until = 100 * SECOND;
    is_int(acquire(95, (struct acquire_args){.owner = FIRST}, &g), VERDICT_NO_FENCE,
           "no lease that long is given");
    is_int(acquire(80, (struct acquire_args){.owner = FIRST, .two_phase = true}, &first),
           VERDICT_OK, "one that ends before is");
    begin(&tx, 85);
    is_int(table_wait(&tx, &bed.key[0].key, FIRST, true, &g), VERDICT_OK, "and settled");
    is_int(table_renew(&tx, &bed.key[0].key, FIRST, g.fence, g.salt, 20 * SECOND),
           VERDICT_NO_FENCE, "but not renewed beyond");
    end(&tx);
    is_int(acquire(85, (struct acquire_args){.owner = SECOND_ONE}, &second), VERDICT_QUEUED,
           "another one waits");
    is_int(acquire(85, (struct acquire_args){.owner = THIRD, .max_waiters = 1}, &g),
           VERDICT_MAX_WAITERS, "no more than are allowed do");
    begin(&tx, 85);
    table_release(&tx, &bed.key[0].key, first.fence, first.salt);
    end(&tx);
    begin(&tx, 94);
    is_int(table_deliver(&tx, second.node, &g), VERDICT_NO_FENCE, "nor is it told of a grant");
    is_u64(table_pending(&tx, 0), second.node, "which stays pending");
    is_int(table_unblock(&tx, second.node, true, &g), VERDICT_TIMEOUT, "until its time is up");
    end(&tx);
    is_u64(table_shard(&bed.t, tx.shard)->nheld[0], 0, "then nobody holds it");
    bed_free(&bed);
}

static void settling(void)
{
    struct grant g;
    struct tx tx;

    make();
    bed.words->promise_until = 100 * SECOND;
    acquire(88, (struct acquire_args){.owner = FIRST, .two_phase = true}, &g);
    begin(&tx, 95);
    is_int(table_wait(&tx, &bed.key[0].key, FIRST, true, &g), VERDICT_NO_FENCE,
           "a lease is not begun anew beyond what is promised");
    end(&tx);
    bed_free(&bed);
}

static void cold_start(void)
{
    struct grant g;

    make();
    bed.words->grants_from = 50 * SECOND;
    is_int(acquire(40, (struct acquire_args){.owner = FIRST, .try_only = true}, &g),
           VERDICT_TIMEOUT, "before grants begin a free slot counts as taken");
    is_int(acquire(50, (struct acquire_args){.owner = FIRST, .try_only = true}, &g), VERDICT_OK,
           "then it is free");
    bed_free(&bed);
}

static void bare(void)
{
    struct grant g;
    struct tx tx;

    make();
    bed.t.promise_until = bed.t.grants_from = bed.t.down_since = NULL;
    is_int(acquire(100, (struct acquire_args){.owner = FIRST}, &g), VERDICT_OK,
           "without words everything may be promised");
    begin(&tx, 200);
    while (table_expire(&tx))
        tx_commit(&tx);
    end(&tx);
    is_u64(table_shard(&bed.t, tx.shard)->nheld[0], 0, "and ends in time");
    bed_add_key(&bed, KIND_LOCK, 9, 0);
    bed.key[0] = bed.key[1];
    reserved = NULL;
    is_int(acquire(201, (struct acquire_args){.owner = FIRST}, &g), VERDICT_NEED_UNIT,
           "a new key needs a unit");
    bed_free(&bed);
}

int main(void)
{
    leases();
    settling();
    cold_start();
    bare();
    return done_testing();
}
