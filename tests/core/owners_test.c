/*
 * tests/core/owners_test.c - connections that change their worker, or lose a request, while they
 * wait: with and without a grant that is still to be told. The validator looks after each step.
 */
#include "core/check.h"
#include "core/owners.h"

#include "tests/core/bed.h"
#include "tests/tap.h"

enum { HOLDER = 1, WAITER = 2, OTHER = 3, OLD = 0, NEW = 5 };

static struct bed bed;

static uint64_t random_salt(void *arg)
{
    (void)arg;
    return ++bed.salt_next;
}

static void begin(struct tx *tx, uint64_t now)
{
    tx_begin(tx, &bed.t, table_shard_of(bed.key[0].key.hash), now);
    tx->reserved = &bed.words->reserved[0];
    tx->salt = random_salt;
}

static void whole(struct tx *tx, const char *what)
{
    struct check_report found;

    tx_commit(tx);
    if (check_shard(&bed.t, tx->shard, &found) != 0)
        diag("invariant %d at %u: %s", found.invariant, found.index, found.what);
    is_int(found.invariant, 0, "valid: %s", what);
}

static uint32_t ask(uint32_t owner, bool two_phase, struct grant *g)
{
    struct acquire_args args = {.key = bed.key[0].key, .owner = owner, .limit = 1,
                                .lease = 10 * SECOND, .two_phase = two_phase};
    struct tx tx;

    begin(&tx, 100 * SECOND);
    table_acquire(&tx, &args, g);
    if (two_phase && owner == WAITER)
        table_wait(&tx, &bed.key[0].key, owner, true, g);
    whole(&tx, "asked");
    return g->node;
}

static void make(bool two_phase, struct grant *held, uint32_t *node)
{
    struct grant g;

    bed_make(&bed, &(struct bed_size){.max_locks = 64, .owners = 4});
    bed_add_key(&bed, KIND_LOCK, 8, 0);
    for (uint32_t o = 1; o <= 4; o++)
        bed_connect(&bed, o, OLD);
    bed.words->reserved[0] = 10;
    ask(HOLDER, false, held);
    *node = ask(WAITER, two_phase, &g);
}

static void release(const struct grant *held, uint64_t now)
{
    struct tx tx;

    begin(&tx, now);
    is_int(table_release(&tx, &bed.key[0].key, held->fence, held->salt), VERDICT_OK, "released");
    is_u64(tx.tell, UINT64_C(1) << owners_worker(&bed.t, WAITER),
           "the worker that has the next one now is told");
    whole(&tx, "released");
}

static void move(uint32_t owner, uint32_t node, uint32_t worker)
{
    struct tx tx;

    begin(&tx, 101 * SECOND);
    table_move_owner(&tx, owner, node, worker);
    is_u64(owners_worker(&bed.t, owner), worker, "it is the new worker's");
    whole(&tx, "moved");
}

static uint32_t pending(uint32_t worker)
{
    struct tx tx;

    begin(&tx, 102 * SECOND);
    return table_pending(&tx, worker);
}

static void moves(void)
{
    struct grant held;
    uint32_t node;

    make(false, &held, &node);
    move(OTHER, 0, NEW);
    move(OTHER, node, OLD);
    is_u64(pending(OLD) + pending(NEW), 0, "a move alone is nothing to tell");
    move(WAITER, node, NEW);
    release(&held, 103 * SECOND);
    is_u64(pending(NEW), node, "the grant is the new worker's to tell");
    is_u64(pending(OLD), 0, "not the old one's");
    move(WAITER, node, OLD);
    is_u64(pending(OLD), node, "a grant that is not told yet goes along");
    is_u64(pending(NEW), 0, "and leaves nothing behind");
    move(OTHER, node, NEW);
    is_u64(pending(OLD), node, "another connection's grant stays where it is");
    bed_free(&bed);
}

static void lose(bool two_phase, bool granted, bool lapsed, unsigned state, const char *what)
{
    struct grant held;
    uint32_t node;
    struct tx tx;

    make(two_phase, &held, &node);
    if (granted)
        release(&held, 103 * SECOND);
    if (lapsed) {
        begin(&tx, 200 * SECOND);
        while (table_expire(&tx))
            tx_commit(&tx);
        whole(&tx, "its lease has ended");
    }
    begin(&tx, 200 * SECOND);
    table_lose_wait(&tx, node);
    whole(&tx, what);
    is_u64(table_node(&bed.t, node)->state, state, "%s", what);
    is_u64(pending(OLD), 0, "nothing is to be told to a request that is gone");
    is_u64(bed.t.owners[WAITER].tombs[tx.shard], state == NODE_LAPSED, "tombstones of its owner");
    bed_free(&bed);
}

int main(void)
{
    moves();
    lose(false, false, false, NODE_FREE, "a plain request that waits leaves the queue");
    lose(true, false, false, NODE_WAITING, "a place that was made before stays");
    lose(true, true, false, NODE_HELD, "a grant waits for the next request");
    lose(true, true, true, NODE_LAPSED, "one that lapsed is remembered");
    return done_testing();
}
