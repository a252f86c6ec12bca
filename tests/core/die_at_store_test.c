/*
 * tests/core/die_at_store_test.c - a process dies at any store: nothing is torn.
 *
 * Linked with the core compiled with JOURNAL_HOOK, which calls journal_hook() after every store
 * that another process may see. For each operation on each of some twenty tables: run it once to
 * count the stores; then stop it at each of them, roll back, and require the table to be byte for
 * byte what it was before the operation or what it is after it, never anything between. Then stop
 * that rollback at each of its own stores and roll back again.
 *
 * Compiled once more with EXPECT_CAUGHT, against a core that stores each word before its journal
 * entry counts: then it must find a torn table, or it is no test.
 */
#include "core/check.h"
#include "core/journal.h"
#include "core/repair.h"
#include "tests/core/shapes.h"
#include "tests/core/state.h"
#include "tests/tap.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

enum {
    FLOOR = 5000, /* distinct crash states, or the test has lost its subject */
    MARGIN = 30,  /* journal entries that must stay free for what callers add */
    SHOWN = 10,
};

static const char *shape_name;

/* Stopping ---------------------------------------------------------------------------------- */

static struct {
    bool armed;
    uint64_t count;
    uint64_t stop_at;
    uint32_t steal; /* chunk + 1 that a neighbour takes when we reach for it or give it back */
    jmp_buf out;
} hook;

/* In the block, so that it is saved and restored with all the rest. */
static uint64_t *stolen(void)
{
    return &bed.words->down_since[WORKER_MAX - 1];
}

void journal_hook(void)
{
    struct shard *s = table_shard(&bed.t, SHARD);

    if (hook.steal && s->moving == hook.steal && bed.t.chunk_owner[hook.steal - 1] == 0 &&
        !*stolen()) {
        bed.t.chunk_owner[hook.steal - 1] = NEIGHBOUR + 1;
        *stolen() = 1;
    }
    if (hook.armed && ++hook.count == hook.stop_at)
        longjmp(hook.out, 1);
}

/* Runs `what` and stops it at its n-th store; 0 = never. True when it was stopped. */
static bool stopped(void (*what)(const void *), const void *arg, uint64_t n)
{
    hook.count = 0;
    hook.stop_at = n;
    hook.armed = true;
    if (setjmp(hook.out)) {
        hook.armed = false;
        return true;
    }
    what(arg);
    hook.armed = false;
    return false;
}

/* States ------------------------------------------------------------------------------------ */

static struct state before, after, crashed, expected;
static char *whole;

static uint64_t fence_base;
static uint64_t robbed;

static bool same(const struct state *s)
{
    return state_same(s, bed.block);
}

static void forget_free(void)
{
    if (*stolen()) { /* the neighbour's claim is no doing of ours, but must not be undone */
        robbed += bed.t.chunk_owner[hook.steal - 1] != NEIGHBOUR + 1;
        bed.t.chunk_owner[hook.steal - 1] = 0;
        *stolen() = 0;
    }
    state_forget(&bed, fence_base);
}

/* What was seen ------------------------------------------------------------------------------ */

static struct {
    uint64_t operations, states, in_rollback, torn;
    uint64_t claims, returns, cascades, grants, creations, collections, steals;
    uint32_t deepest;
    const char *deepest_in;
} seen;

static void torn(const struct op *op, uint64_t n, uint64_t k, const char *what,
                 const struct state *nearest)
{
    if (seen.torn++ < SHOWN) {
        diag("%s, %s (key %u, owner %u, two-phase %d): store %" PRIu64 ", store %" PRIu64
             " of the rollback: %s",
             shape_name, op_name[op->kind], op->key, op->owner, op->two_phase, n, k, what);
        if (nearest)
            state_show_difference(&bed, nearest);
    }
#ifndef EXPECT_CAUGHT
    if (seen.torn >= 1000)
        bail_out("too much is torn");
#endif
}

/* One operation ------------------------------------------------------------------------------ */

struct job {
    const struct op *op;
    bool abort;
};

static struct outcome outcome;

static void transaction(const void *arg)
{
    const struct job *job = arg;
    struct tx tx;

    op_run(&bed, job->op, &tx, &outcome);
    /* As callers do: the request is consumed in the same transaction. */
    SET(&tx, bed.words->units, bed.words->units - 1);
    if (tx.s->journal.count > seen.deepest) {
        seen.deepest = tx.s->journal.count;
        seen.deepest_in = op_name[job->op->kind];
    }
    if (job->abort)
        tx_abort(&tx);
    else
        tx_commit(&tx);
}

static void rollback(const void *arg)
{
    (void)arg;
    if (!repair_rollback(&bed.t, SHARD))
        seen.torn++;
}

static void roll_back_whole(void)
{
    hook.armed = false;
    rollback(NULL);
    forget_free();
}

static void require_clean(const struct op *op, const char *when)
{
    struct check_report report;

    if (check_shard(&bed.t, SHARD, &report) != 0) {
        torn(op, 0, 0, when, NULL);
        diag("    I%d at %u: %s", report.invariant, report.index, report.what);
    }
}

/* The rollback of the state in `crashed`, stopped at each of its stores and begun again. */
static void examine_rollback(const struct op *op, uint64_t n)
{
    static uint32_t differs[1 << 16];
    uint32_t ndiffers = 0;
    uint64_t k;

    for (uint64_t i = 0; i < state_lines * STATE_LINE; i += STATE_LINE)
        if (memcmp(crashed.lines + i, expected.lines + i, STATE_LINE) != 0)
            differs[ndiffers++] = (uint32_t)(i / STATE_LINE);
    for (k = 1;; k++) {
        bool more;

        for (uint32_t i = 0; i < ndiffers; i++)
            memcpy(bed.block + state_line_at[differs[i]],
                   crashed.lines + (uint64_t)differs[i] * STATE_LINE, STATE_LINE);
        more = stopped(rollback, NULL, k);
        roll_back_whole();
        for (uint32_t i = 0; i < ndiffers; i++)
            if (memcmp(bed.block + state_line_at[differs[i]],
                       expected.lines + (uint64_t)differs[i] * STATE_LINE, STATE_LINE) != 0) {
                torn(op, n, k, "a second rollback ends elsewhere", &expected);
                break;
            }
        if (!more)
            break;
        seen.in_rollback++;
    }
    if (!same(&expected))
        torn(op, n, k, "rollbacks leave something behind", &expected);
}

static bool chunk_left(void)
{
    for (uint32_t c = 0; c < bed.geo.nchunks; c++)
        if (bed.t.chunk_owner[c] == 0)
            return true;
    return false;
}

/* Every crash state of one operation. Leaves the state after it (before it, if it aborts). */
static void examine(const struct op *op, bool abort)
{
    const struct job job = {op, abort};
    const struct shard *s = table_shard(&bed.t, SHARD);
    uint32_t nchunks = s->nchunks, resources = s->res_count;
    uint64_t salt = bed.salt_next;
    uint64_t last;
    bool over = false;

    fence_base = bed.words->fence_next;
    forget_free();
    state_save(&before, bed.block);
    stopped(transaction, &job, 0);
    last = hook.count;
    require_clean(op, "after the operation the table is not in order");
    if (outcome.verdict == VERDICT_NO_NODES && chunk_left())
        torn(op, 0, 0, "no node, although there is a chunk left", NULL);
    seen.operations++;
    seen.claims += s->nchunks > nchunks;
    seen.returns += s->nchunks < nchunks;
    seen.cascades += s->wheel.draining != 0;
    seen.creations += s->res_count > resources;
    seen.collections += s->res_count < resources;
    seen.grants += outcome.ngrants;
    seen.steals += *stolen();
    forget_free();
    state_save(&after, bed.block);
    if (abort && !same(&before))
        torn(op, 0, 0, "an aborted transaction leaves something", &before);

    for (uint64_t n = 1; n <= last; n++) {
        bool fresh;

        state_restore(&before, bed.block);
        bed.salt_next = salt;
        if (!stopped(transaction, &job, n))
            torn(op, n, 0, "the operation is not deterministic", NULL);
        seen.states++;
        state_save(&crashed, bed.block);
        fresh = state_new_hash(state_hash(&before, bed.block, 0));
        roll_back_whole();
        /* Before, and from one store on after. */
        if (!over && !same(&before))
            over = true;
        if (over && !same(&after)) {
            torn(op, n, 0, "neither as before nor as after", &after);
            over = false;
        }
        if (fresh) {
            state_save(&expected, bed.block);
            examine_rollback(op, n);
        }
    }
    state_restore(&after, bed.block);
    bed.salt_next = salt;
    bed.words->fence_next = fence_base + 8;
}

/* Runs a series of bounded transactions, and each of them to every crash. */
static void examine_series(struct op op)
{
    for (unsigned i = 0; i < 100; i++) {
        examine(&op, false);
        /* examine() ends with the state after it, its outcome with the last run. */
        if (!outcome.more)
            return;
        op.node = outcome.cursor;
    }
}

/* Every operation ---------------------------------------------------------------------------- */

static struct state start;
static uint64_t start_salt;

static void examine_from_start(struct op op, bool series)
{
    state_restore(&start, bed.block);
    bed.salt_next = start_salt;
    if (series)
        examine_series(op);
    else
        examine(&op, false);
    state_restore(&start, bed.block);
    bed.salt_next = start_salt;
    examine(&op, true);
    state_restore(&start, bed.block);
    bed.salt_next = start_salt;
}

/* Chunks are shared with all shards and not journalled: see pool.c. */
static void examine_stealing(void)
{
    for (uint32_t c = 0; c < bed.geo.nchunks; c++) {
        hook.steal = c + 1;
        shape_each_moving(examine_from_start);
        hook.steal = 0;
    }
}

static void examine_shape(const struct shape *shape)
{
    shape_name = shape->name;
    for (unsigned when = 0; when < shape_times(shape); when++) {
        shape_make(shape, when);
        state_find(&bed, SHARD);
        state_new(&before);
        state_new(&after);
        state_new(&crashed);
        state_new(&expected);
        state_new(&start);
        whole = realloc(whole, bed.size);
        start_salt = bed.salt_next;
        fence_base = bed.words->fence_next;
        require_clean(&(struct op){.kind = 0}, "the shape itself is not in order");
        forget_free();
        state_save(&start, bed.block);
        memcpy(whole, bed.block, bed.size);
        shape_each_operation(examine_from_start);
        if (when == 0)
            examine_stealing();
        if (memcmp(whole, bed.block, bed.size) != 0)
            torn(&(struct op){.kind = 0}, 0, 0, "memory of others was touched", NULL);
        bed_free(&bed);
        if (when == 0 && seen.torn > SHOWN)
            return;
    }
}

int main(void)
{
    for (unsigned i = 0; i < nshapes; i++) {
        uint64_t states = seen.states, torn_before = seen.torn;

        examine_shape(&shapes[i]);
#ifdef EXPECT_CAUGHT
        if (seen.torn)
            break;
#else
        is_u64(seen.torn - torn_before, 0, "%s: nothing is torn (%" PRIu64 " crash states)",
               shapes[i].name, seen.states - states);
#endif
        (void)states;
        (void)torn_before;
    }
    diag("%" PRIu64 " operations, %" PRIu64 " crash states, %" PRIu64 " of them distinct, %" PRIu64
         " more in rollbacks; at most %u journal entries (%s)",
         seen.operations, seen.states, state_distinct, seen.in_rollback, seen.deepest,
         seen.deepest_in);
    diag("%" PRIu64 " chunks claimed, %" PRIu64 " returned, %" PRIu64 " stolen, %" PRIu64
         " slots of the wheel moved down, %" PRIu64 " grants, %" PRIu64 " resources made, %" PRIu64
         " collected",
         seen.claims, seen.returns, seen.steals, seen.cascades, seen.grants, seen.creations,
         seen.collections);
#ifdef EXPECT_CAUGHT
    ok(seen.torn > 0, "a word that is stored before its entry counts is caught");
#else
    is_u64(robbed, 0, "a chunk that another shard took is never taken back");
    ok(seen.claims && seen.returns && seen.steals && seen.cascades && seen.grants &&
           seen.creations && seen.collections,
       "all that was to be seen was seen");
    ok(state_distinct >= FLOOR, "at least %d distinct crash states", FLOOR);
    ok(seen.deepest + MARGIN <= JOURNAL_MAX, "%d journal entries are left for callers", MARGIN);
#endif
    return done_testing();
}
