/*
 * tests/core/prover.c - see prover.h.
 *
 * The table is in shared memory, where the child works; `mirror` is private, for repairs. Both
 * have the same addresses in the child, which is a fork.
 */
#include "tests/core/prover.h"

#include "core/check.h"
#include "core/journal.h"
#include "core/repair.h"
#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    STEPS_MAX = 10000000, /* whatever needs more does not end */
    SHOWN = 10,
};

struct prover_seen prover_seen;
enum mistake prover_mistake;
uint64_t prover_case;

static struct bed mirror;
static struct state start, before, after, last, expected;
static uint64_t start_salt, fence_next;

/* What is stepped at the moment, for the log. */
static struct {
    const struct shape *shape;
    unsigned when;
    const struct prover_job *job; /* or none */
    const char *doing;
    uint64_t from; /* instruction of the operation at which a rollback starts */
} at;

/* Objections --------------------------------------------------------------------------------- */

static bool shown(void)
{
    return !prover_mistake && prover_seen.torn <= SHOWN;
}

static void object(uint64_t n, const char *what, const struct state *nearest)
{
    const struct op *op = at.job ? at.job->op : NULL;

    prover_seen.torn++;
    if (!shown())
        return;
    diag("%s, time %u: after instruction %" PRIu64 " of %s: %s", at.shape->name, at.when, n,
         at.doing, what);
    if (op)
        diag("    %s%s (key %u, owner %u, node %u)", answer_in_words(&at.job->answer),
             at.job->abort ? ", aborted" : "", op->key, op->owner, op->node);
    if (at.from)
        diag("    of the state after instruction %" PRIu64 " of the operation", at.from);
    if (nearest)
        state_show_difference(&mirror, nearest);
}

static void object_to_report(uint64_t n, const char *what, uint32_t shard,
                             const struct check_report *report)
{
    object(n, what, NULL);
    if (shown())
        diag("    I%d at %u of shard %u: %s", report->invariant, report->index, shard,
             report->what);
}

static void check(uint64_t n, uint32_t shard)
{
    struct check_report report;

    if (check_shard(&mirror.t, shard, &report) != 0)
        object_to_report(n, "an invariant does not hold", shard, &report);
}

/* Stepping ----------------------------------------------------------------------------------- */

/* A child runs `what`, one instruction at a time. `changed` is called with each new state in
   `last` and in the mirror, which it may spoil. Returns the number of instructions. */
static uint64_t step(proc_main what, void *arg, const struct state *from,
                     void (*changed)(uint64_t n))
{
    enum proc_stop stop;
    uint64_t n = 0;
    pid_t pid;

    state_restore(from, bed.block);
    state_save(&last, bed.block);
    pid = proc_start_traced(what, arg);
    while ((stop = proc_step(pid)) == PROC_STOPPED && n++ < STEPS_MAX) {
        if (state_same(&last, bed.block))
            continue;
        state_save(&last, bed.block);
        state_restore(&last, mirror.block);
        state_new_hash(state_hash(from, mirror.block, prover_case));
        changed(n);
    }
    if (stop != PROC_ENDED) {
        object(n, stop == PROC_FAULT ? "a trap or a bad access" : "it does not end", NULL);
        proc_kill(pid);
    }
    prover_seen.instructions += n;
    if (n > prover_seen.longest)
        prover_seen.longest = n;
    return n;
}

/* The stepped process has come to its end: there it must be as if it had not been stepped. */
static void compare_end(uint64_t n, const struct state *end)
{
    state_save(&last, bed.block);
    state_restore(&last, mirror.block);
    state_forget(&mirror, fence_next);
    if (!state_same(end, mirror.block))
        object(n, "it ends elsewhere than undisturbed", end);
}

/* A rollback --------------------------------------------------------------------------------- */

static void rollback(void *arg)
{
    struct shard *s = table_shard(&bed.t, SHARD);

    (void)arg;
    if (prover_mistake == MISTAKE_HASTY_ROLLBACK && s->journal.count > 0) {
        uint32_t n = s->journal.count - 1;
        const struct journal_entry *e = &s->journal.entry[n];

        *(volatile uint32_t *)&s->journal.count = n;
        JOURNAL_BARRIER();
        memcpy(bed.block + (e->where >> 4), &e->old, e->where & 15);
        JOURNAL_BARRIER();
    }
    repair_rollback(&bed.t, SHARD);
}

static void roll_back_mirror(uint64_t n)
{
    if (!repair_rollback(&mirror.t, SHARD))
        object(n, "the log is damaged", NULL);
}

static void changed_in_rollback(uint64_t n)
{
    roll_back_mirror(n);
    state_forget(&mirror, fence_next);
    if (!state_same(&expected, mirror.block))
        object(n, "a second rollback ends elsewhere", &expected);
}

/* Crash states whose rollback is stepped, too: the one with most to undo (the rollbacks of the
   others are its end), and the one where a chunk is on its way after the commit. */
static struct pick {
    struct state state;
    uint64_t at; /* instruction, 0 = there is none */
} deepest, settling;
static uint32_t deepest_count;

static void pick(struct pick *p, uint64_t n)
{
    p->at = n;
    state_save(&p->state, mirror.block);
}

static void maybe_pick(uint64_t n)
{
    const struct shard *s = table_shard(&mirror.t, SHARD);

    if (s->journal.count > 0 && s->journal.count >= deepest_count) {
        deepest_count = s->journal.count;
        pick(&deepest, n);
    }
    if (s->journal.count == 0 && s->moving && !settling.at)
        pick(&settling, n);
}

static void step_rollback(const struct pick *p)
{
    uint64_t n;

    if (!p->at)
        return;
    at.doing = "the rollback";
    at.from = p->at;
    state_restore(&p->state, mirror.block);
    roll_back_mirror(0);
    state_forget(&mirror, fence_next);
    state_save(&expected, mirror.block);
    prover_case++;
    n = step(rollback, NULL, &p->state, changed_in_rollback);
    compare_end(n, &expected);
    prover_seen.in_rollbacks += n;
    prover_seen.rollbacks++;
}

/* An operation ------------------------------------------------------------------------------- */

static bool over; /* who dies from here on, dies after it */

static void transaction(void *arg)
{
    struct prover_job *job = arg;
    uint32_t *units = &bed.words->units;
    struct tx tx;

    op_run(&bed, job->op, &tx, &job->out);
    /* As callers do: the request is consumed in the same transaction. */
    if (prover_mistake == MISTAKE_UNLOGGED)
        *(volatile uint32_t *)units = *units - 1;
    else if (prover_mistake != MISTAKE_TOO_LATE)
        SET(&tx, *units, *units - 1);
    if (job->abort)
        tx_abort(&tx);
    else
        tx_commit(&tx);
    if (prover_mistake == MISTAKE_TOO_LATE)
        *(volatile uint32_t *)units = *units - 1;
}

static void changed_in_operation(uint64_t n)
{
    bool as_before, as_after;

    maybe_pick(n);
    roll_back_mirror(n);
    check(n, SHARD);
    check(n, NEIGHBOUR);
    state_forget(&mirror, fence_next);
    as_before = state_same(&before, mirror.block);
    as_after = state_same(&after, mirror.block);
    if (over && !as_after)
        object(n, "it had happened, and now it has not", &after);
    else if (!as_before && !as_after)
        object(n, "neither as before nor as after", &before);
    if (as_after && !as_before)
        over = true;
}

void prover_run(struct prover_job *job)
{
    const struct shard *s = table_shard(&bed.t, SHARD);
    uint32_t resources = s->res_count, nchunks = s->nchunks;

    at.job = job;
    job->salt = bed.salt_next;
    fence_next = job->fence_next = bed.words->fence_next;
    state_forget(&bed, fence_next);
    state_save(&before, bed.block);
    transaction(job);
    job->answer = answer_of(job->op, &job->out, s, resources, nchunks);
    state_forget(&bed, fence_next);
    state_save(&after, bed.block);
    bed.words->fence_next = fence_next + 8; /* more than one operation takes */
}

void prover_step(struct prover_job *job, bool repair)
{
    uint64_t salt = bed.salt_next;
    uint64_t n;

    at.doing = "the operation";
    at.from = 0;
    over = false;
    deepest.at = settling.at = deepest_count = 0;
    bed.salt_next = job->salt;
    prover_case++;
    n = step(transaction, job, &before, changed_in_operation);
    compare_end(n, &after);
    prover_seen.operations++;
    if (repair) {
        step_rollback(&deepest);
        step_rollback(&settling);
    }
    state_restore(&after, bed.block);
    bed.words->fence_next = fence_next + 8;
    bed.salt_next = salt;
}

/* A rebuild ---------------------------------------------------------------------------------- */

static void rebuild(void *arg)
{
    volatile uint64_t *active = &table_resource(&bed.t, SHARD, 1)->last_active;
    uint64_t kept = *active;
    struct check_report report;

    (void)arg;
    if (prover_mistake == MISTAKE_CARELESS_REBUILD)
        *active = 0;
    repair_rebuild(&bed.t, SHARD, &report);
    if (prover_mistake == MISTAKE_CARELESS_REBUILD)
        *active = kept;
}

static void rebuild_mirror(uint64_t n)
{
    struct check_report report;

    if (repair_rebuild(&mirror.t, SHARD, &report) != 0)
        object_to_report(n, "it cannot be rebuilt", SHARD, &report);
    else if (table_shard(&mirror.t, SHARD)->state != SHARD_OK)
        object(n, "the shard is not served after it", NULL);
}

static void changed_in_rebuild(uint64_t n)
{
    rebuild_mirror(n);
    state_forget(&mirror, fence_next);
    if (!state_same(&expected, mirror.block))
        object(n, "a second rebuild ends elsewhere", &expected);
}

void prover_step_rebuild(const char *of)
{
    uint64_t n;

    at.job = NULL;
    at.doing = of;
    at.from = 0;
    fence_next = bed.words->fence_next;
    state_save(&before, bed.block);
    state_restore(&before, mirror.block);
    rebuild_mirror(0);
    state_forget(&mirror, fence_next);
    state_save(&expected, mirror.block);
    prover_case++;
    n = step(rebuild, NULL, &before, changed_in_rebuild);
    compare_end(n, &expected);
    prover_seen.in_rebuilds += n;
    prover_seen.rebuilds++;
    prover_restart();
}

/* The table ---------------------------------------------------------------------------------- */

void prover_make(const struct shape *shape, unsigned when)
{
    static char *shared;
    static uint64_t size;

    at.shape = shape;
    at.when = when;
    if (mirror.block)
        bed_free(&mirror);
    shape_make(shape, when);
    if (!shared) {
        size = bed.size;
        shared = proc_memory(size);
    }
    if (bed.size != size)
        bail_out("tables differ in size");
    state_find(&bed, SHARD);
    state_new(&start);
    state_new(&before);
    state_new(&after);
    state_new(&last);
    state_new(&expected);
    state_new(&deepest.state);
    state_new(&settling.state);
    fence_next = bed.words->fence_next;
    state_forget(&bed, fence_next);
    state_save(&start, bed.block);
    start_salt = bed.salt_next;
    memcpy(shared, bed.block, size);
    mirror = bed;
    bed_attach(&mirror, mirror.block);
    bed_attach(&bed, shared);
}

void prover_restart(void)
{
    state_restore(&start, bed.block);
    bed.salt_next = start_salt;
}

void prover_look_around(void)
{
    at.job = NULL;
    at.doing = "all operations";
    prover_restart();
    state_restore(&start, mirror.block);
    if (memcmp(mirror.block, bed.block, bed.size) != 0)
        object(0, "memory of others was touched", NULL);
}
