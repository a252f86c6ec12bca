/*
 * tests/core/tally_test.c - what a transaction counts: buckets at their bounds, grants, waits, holds.
 */
#include "core/tally.h"

#include "tests/core/bed.h"
#include "tests/tap.h"

#include <string.h>

static struct bed bed;
static struct tally tally;

static unsigned only_bucket(uint64_t from, uint64_t to)
{
    struct tally_histogram h = {0};
    unsigned i = 0;

    tally_time(&h, from, to);
    while (i < TALLY_BUCKETS && h.bucket[i] == 0)
        i++;
    return i < TALLY_BUCKETS && h.bucket[i] == 1 ? i : TALLY_BUCKETS;
}

static void buckets(void)
{
    unsigned wrong = 0;

    for (unsigned i = 0; i < TALLY_BOUNDS; i++) {
        wrong += i > 0 && tally_bound[i] <= tally_bound[i - 1];
        wrong += only_bucket(7, 7 + tally_bound[i] - 1) != i;
        wrong += only_bucket(7, 7 + tally_bound[i]) != i;
        wrong += only_bucket(7, 7 + tally_bound[i] + 1) != i + 1;
    }
    is_u64(wrong, 0, "each bound belongs to its bucket, one more to the next");
    is_u64(only_bucket(0, UINT64_MAX), TALLY_BOUNDS, "for ever is beyond all bounds");
    is_u64(only_bucket(9, 5), 0, "a clock that was read before counts as no time");
    is_u64(tally_bound[0], SECOND / 1000, "from a millisecond");
    is_u64(tally_bound[TALLY_BOUNDS - 1], 60 * MINUTE, "to an hour");
}

static uint64_t random_salt(void *arg)
{
    (void)arg;
    return ++bed.salt_next;
}

static void begin(struct tx *tx, uint32_t key, uint64_t now)
{
    tx_begin(tx, &bed.t, table_shard_of(bed.key[key].key.hash), now);
    tx->reserved = &bed.words->reserved[0];
    tx->salt = random_salt;
    tx->tally = &tally;
}

static enum verdict acquire(uint32_t key, uint32_t owner, uint32_t limit, uint64_t lease,
                            uint64_t now, struct grant *g)
{
    struct acquire_args args = {.key = bed.key[key].key, .owner = owner, .limit = limit,
                                .lease = lease};
    enum verdict v;
    struct tx tx;

    begin(&tx, key, now);
    v = table_acquire(&tx, &args, g);
    tx_commit(&tx);
    return v;
}

static void a_queue(void)
{
    struct grant first, second, third;
    struct tx tx;

    acquire(0, 1, 1, 10 * SECOND, 100 * SECOND, &first);
    acquire(0, 2, 1, 10 * SECOND, 101 * SECOND, &second);
    acquire(0, 3, 1, 10 * SECOND, 102 * SECOND, &third);
    is_u64(tally.fast[TALLY_LOCK], 1, "one at once");
    is_u64(tally.queued[TALLY_LOCK], 0, "nobody after a wait");
    begin(&tx, 0, 105 * SECOND);
    table_release(&tx, &bed.key[0].key, first.fence, first.salt);
    tx_commit(&tx);
    is_u64(tally.hold.sum, 5 * SECOND, "held until the release");
    is_u64(tally.queued[TALLY_LOCK], 1, "the next after a wait");
    is_u64(tally.wait.sum, 4 * SECOND, "of that length");
    begin(&tx, 0, 135 * SECOND);
    while (table_expire(&tx))
        tx_commit(&tx);
    tx_commit(&tx);
    is_u64(tally.expired, 1, "its lease ends");
    is_u64(tally.hold.sum, 35 * SECOND, "and so does its hold");
    is_u64(tally.queued[TALLY_LOCK], 2, "the last one");
    is_u64(tally.wait.sum, 37 * SECOND, "has waited for longer");
    is_u64(table_shard(&bed.t, tx.shard)->nheld[TALLY_LOCK], 1, "it holds");
    is_u64(table_shard(&bed.t, tx.shard)->nwaiting[TALLY_LOCK], 0, "nobody waits");
}

static void kinds(void)
{
    struct grant g;

    memset(&tally, 0, sizeof(tally));
    acquire(1, 1, 3, 10 * SECOND, 200 * SECOND, &g);
    acquire(1, 2, 3, 10 * SECOND, 200 * SECOND, &g);
    acquire(2, 2, 1, 10 * SECOND, 200 * SECOND, &g);
    is_u64(tally.fast[TALLY_SEM], 2, "slots of a semaphore");
    is_u64(tally.fast[TALLY_LOCK], 1, "one of limit 1 is a lock");
    is_u64(acquire(1, 3, 4, 10 * SECOND, 200 * SECOND, &g), VERDICT_LIMIT_MISMATCH, "refused");
    is_u64(tally.fast[TALLY_SEM] + tally.fast[TALLY_LOCK], 3, "which is no grant");
}

int main(void)
{
    bed_make(&bed, &(struct bed_size){.max_locks = 64, .owners = 4});
    bed_add_key(&bed, KIND_LOCK, 8, 0);
    bed_add_key(&bed, KIND_SEM, 8, 1);
    bed_add_key(&bed, KIND_SEM, 8, 2);
    for (uint32_t o = 1; o <= 4; o++)
        bed_connect(&bed, o, 0);
    bed.words->reserved[0] = 10;
    buckets();
    a_queue();
    kinds();
    bed_free(&bed);
    return done_testing();
}
