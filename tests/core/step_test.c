/*
 * tests/core/step_test.c - a process dies at any instruction: nothing is torn.
 *
 * A child runs one operation and is stopped after each of its instructions (prover.c). Whenever
 * the table has changed, a copy of it is rolled back; that must obey all invariants and be byte
 * for byte what the table was before the operation or, from one instruction on, what it is after
 * it. The same for the repair itself: a rollback or a rebuild that dies at any instruction and is
 * begun again must end as if it had not been disturbed.
 *
 * This is the code that is installed, without a hook: the order of stores is the one that the
 * compiler made. die_at_store_test tries a hundred times as many operations, but stops only where
 * the source has a hook.
 *
 * Operations and tables are those of shapes.c. An operation is stepped if in this table none had
 * the same answer, or if in no table one that answered and did the same wrote as many words. If
 * none answered and did the same at all, the rollback is stepped, too. A program with sanitizers
 * has ten times the instructions and each of them costs as much: there only that last case is
 * stepped, and one table rebuilt. All answers must be seen all the same.
 *
 * A step costs two changes of the process, and 20 µs in a virtual machine: so there are two parts,
 * each a process with half of the tables. Nothing is random.
 *
 * Compiled once more with EXPECT_CAUGHT, against a core that stores each word before its journal
 * entry counts: then it must find torn tables, or it is no test.
 */
#include "core/journal.h"
#include "tests/core/prover.h"
#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

enum {
#ifdef __SANITIZE_ADDRESS__
    IN_EACH_TABLE = false,
    REBUILDS = 1,
    FLOOR_INSTRUCTIONS = 500000,
    FLOOR_STATES = 8000,
#else
    IN_EACH_TABLE = true,
    REBUILDS = 3, /* tables */
    /* Or the test has lost its subject. Compilers differ by a seventh. */
    FLOOR_INSTRUCTIONS = 1000000,
    FLOOR_STATES = 40000,
#endif
    CASES_MAX = 1 << 14,
    SHAPES_MAX = 64,
    PARTS = 2,
};

/* In shared memory, one for each part. */
struct results {
    bool done;
    bool reached[ANSWERS_MAX];
    struct prover_seen seen;
    uint64_t distinct, unlisted;
    struct {
        uint64_t torn, instructions;
    } shape[SHAPES_MAX];
};

static struct results *results; /* of this process */

/* Cases -------------------------------------------------------------------------------------- */

static bool new_key(uint64_t key)
{
    static uint64_t known[CASES_MAX];
    static unsigned nknown;

    for (unsigned i = 0; i < nknown; i++)
        if (known[i] == key)
            return false;
    if (nknown == CASES_MAX)
        bail_out("more cases than expected");
    known[nknown++] = key;
    return true;
}

static const struct shape *shape;

/* In this table none had the same answer. */
static bool new_here(const struct prover_job *job)
{
    uint64_t table = IN_EACH_TABLE && !job->abort ? (uint64_t)(shape - shapes) : SHAPES_MAX;

    return new_key((uint64_t)job->answer.kind | job->answer.verdict << 8 | table << 16 |
                   (uint64_t)job->abort << 24 | UINT64_C(1) << 63);
}

/* In no table one that answered and did the same wrote as many words. */
static bool new_anywhere(const struct prover_job *job, uint32_t words)
{
    return !job->abort && new_key((uint64_t)job->answer.kind | job->answer.verdict << 8 |
                                  (uint64_t)job->answer.with << 16 | (uint64_t)words << 32);
}

/* Steps it if that is new. Leaves the state after it. */
static void examine(struct prover_job *job)
{
    bool here, anywhere, path;

    prover_run(job);
    here = new_here(job);
    anywhere = new_anywhere(job, UINT32_MAX);
    path = IN_EACH_TABLE && new_anywhere(job, job->out.logged);
    if (!here && !anywhere && !path)
        return;
    if (!job->abort && !answer_reach(&job->answer, results->reached)) {
        results->unlisted++;
        diag("%s: not in the list of answers", answer_in_words(&job->answer));
    }
    prover_step(job, anywhere);
}

static void examine_from_start(struct op op, bool series)
{
    struct prover_job job = {.op = &op, .abort = true};

    prover_restart();
    examine(&job);
    prover_restart();
    job.abort = false;
    for (unsigned i = 0; i < 100; i++) {
        examine(&job);
        if (!series || !job.out.more)
            break;
        op.node = job.out.cursor;
    }
    prover_restart();
}

/* Rebuilds ----------------------------------------------------------------------------------- */

/* Small tables: a rebuild looks at all there is, and a second one follows each of its stores. */
static bool to_rebuild(void)
{
    static const char *const names[] = {"kept", "everything", "idle before"};

    for (unsigned i = 0; i < REBUILDS; i++)
        if (strcmp(shape->name, names[i]) == 0)
            return true;
    return false;
}

/* What else can be wrong when a shard is rebuilt: owners that are gone, lists that lead nowhere. */
static void scribble(void)
{
    struct shard *s = table_shard(&bed.t, SHARD);

    bed.t.owners[1].id = 0;
    bed.t.owners[2].id += 1000;
    s->partial = s->res_free = s->idle_head = s->pending[1] = UINT32_MAX;
    s->journal.count = 77;
    memset(s->wheel.slot, 0xa5, 256);
    for (uint32_t i = 1; i <= s->res_bump; i++)
        table_resource(&bed.t, SHARD, i)->q_head = table_resource(&bed.t, SHARD, i)->next = i;
}

static void step_rebuilds(void)
{
    prover_step_rebuild("the rebuild");
    scribble();
    prover_step_rebuild("the rebuild of a damaged table");
}

/* Tables ------------------------------------------------------------------------------------- */

static void examine_shape(const struct shape *this_one)
{
    shape = this_one;
    for (unsigned when = 0; when < shape_times(shape); when++) {
        prover_make(shape, when);
        shape_each_operation(examine_from_start);
        if (when == 0 && to_rebuild())
            step_rebuilds();
        prover_look_around();
    }
}

#ifdef EXPECT_CAUGHT

/* That core has it. */
void journal_hook(void)
{
}

static void test_all(void)
{
    struct results mine = {0};

    results = &mine;
    for (unsigned i = 0; prover_seen.torn == 0 && i < nshapes; i++)
        examine_shape(&shapes[i]);
    diag("%" PRIu64 " instructions stepped, %" PRIu64 " distinct crash states",
         prover_seen.instructions, state_distinct);
    ok(prover_seen.torn > 0,
       "a word that is stored before its entry counts is found, at %" PRIu64 " states",
       prover_seen.torn);
}

#else

/* Tracer and traced take turns, so they are fastest on one processor; each part has its own, if
   there are enough. */
static void choose_processor(unsigned part)
{
    cpu_set_t all, one;

    if (sched_getaffinity(0, sizeof(all), &all) != 0)
        return;
    CPU_ZERO(&one);
    for (int cpu = 0, nth = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && nth++ == (int)part % CPU_COUNT(&all))
            CPU_SET(cpu, &one);
    (void)sched_setaffinity(0, sizeof(one), &one);
}

static void run_part(void *arg)
{
    struct results *all = arg;
    unsigned part = 0;

    while (&all[part] != results)
        part++;
    choose_processor(part);
    prover_case = (uint64_t)part << 32; /* so that states of two parts are different */
    for (unsigned i = part; i < nshapes; i += PARTS) {
        uint64_t torn = prover_seen.torn, instructions = prover_seen.instructions;

        examine_shape(&shapes[i]);
        results->shape[i].torn = prover_seen.torn - torn;
        results->shape[i].instructions = prover_seen.instructions - instructions;
    }
    results->seen = prover_seen;
    results->distinct = state_distinct;
    results->done = true;
}

static void add(struct results *sum, const struct results *r)
{
    for (unsigned i = 0; i < nanswers; i++)
        sum->reached[i] |= r->reached[i];
    for (unsigned i = 0; i < nshapes; i++) {
        sum->shape[i].torn += r->shape[i].torn;
        sum->shape[i].instructions += r->shape[i].instructions;
    }
    sum->seen.operations += r->seen.operations;
    sum->seen.rollbacks += r->seen.rollbacks;
    sum->seen.rebuilds += r->seen.rebuilds;
    sum->seen.instructions += r->seen.instructions;
    sum->seen.in_rollbacks += r->seen.in_rollbacks;
    sum->seen.in_rebuilds += r->seen.in_rebuilds;
    if (r->seen.longest > sum->seen.longest)
        sum->seen.longest = r->seen.longest;
    sum->distinct += r->distinct;
    sum->unlisted += r->unlisted;
}

static void test_tables(void)
{
    struct results *all = proc_memory(PARTS * sizeof(*all));
    struct results sum = {0};
    pid_t pid[PARTS];

    if (nshapes > SHAPES_MAX)
        bail_out("SHAPES_MAX is too small");
    for (unsigned i = 0; i < PARTS; i++) {
        results = &all[i];
        pid[i] = proc_start(run_part, all);
    }
    for (unsigned i = 0; i < PARTS; i++) {
        int status;

        if (waitpid(pid[i], &status, 0) != pid[i])
            bail_out("a part is lost");
        ok(status == 0 && all[i].done, "part %u comes to its end", i);
        add(&sum, &all[i]);
    }
    for (unsigned i = 0; i < nshapes; i++)
        is_u64(sum.shape[i].torn, 0, "%s: nothing is torn (%" PRIu64 " instructions)",
               shapes[i].name, sum.shape[i].instructions);
    for (unsigned i = 0; i < nanswers; i++)
        ok(sum.reached[i], "%s", answer_in_words(&answers[i]));
    is_u64(sum.unlisted, 0, "there are no other answers");
    diag("%" PRIu64 " instructions stepped: of %" PRIu64 " operations, of %" PRIu64
         " rollbacks (%" PRIu64 ") and of %" PRIu64 " rebuilds (%" PRIu64
         "); the longest has %" PRIu64 "; %" PRIu64 " distinct crash states",
         sum.seen.instructions, sum.seen.operations, sum.seen.rollbacks, sum.seen.in_rollbacks,
         sum.seen.rebuilds, sum.seen.in_rebuilds, sum.seen.longest, sum.distinct);
    ok(sum.seen.instructions >= FLOOR_INSTRUCTIONS, "at least %d instructions", FLOOR_INSTRUCTIONS);
    ok(sum.distinct >= FLOOR_STATES, "at least %d distinct crash states", FLOOR_STATES);
}

/* How often the prover objects to one operation, or rebuild, when this mistake is made. */
static uint64_t objections_to(enum mistake mistake)
{
    const struct op op = {
        .kind = OP_DROP_OWNER, .shard = SHARD, .owner = 1, .release_held = true, .now = now};
    struct prover_job job = {.op = &op};
    uint64_t torn = prover_seen.torn;

    prover_mistake = mistake;
    if (mistake == MISTAKE_CARELESS_REBUILD) {
        prover_step_rebuild("a rebuild");
    } else {
        prover_run(&job);
        prover_step(&job, true);
    }
    prover_mistake = MISTAKE_NONE;
    prover_restart();
    return prover_seen.torn - torn;
}

static void test_mistakes(void)
{
    static const char *const name[MISTAKES] = {
        [MISTAKE_UNLOGGED] = "a word that is stored without the log",
        [MISTAKE_TOO_LATE] = "a word that is stored after the commit",
        [MISTAKE_HASTY_ROLLBACK] = "a rollback that forgets a word before it restores it",
        [MISTAKE_CARELESS_REBUILD] = "a rebuild that loses ground truth for a moment",
    };

    choose_processor(0);
    for (unsigned i = 0; i < nshapes; i++)
        if (strcmp(shapes[i].name, "queued") == 0)
            prover_make(&shapes[i], 0);
    is_u64(objections_to(MISTAKE_NONE), 0, "without a mistake there is no objection");
    for (unsigned i = 1; i < MISTAKES; i++) {
        uint64_t found = objections_to((enum mistake)i);

        ok(found > 0, "%s is found, at %" PRIu64 " states", name[i], found);
    }
}

static void test_all(void)
{
    test_tables();
    test_mistakes();
}

#endif

int main(void)
{
    test_all();
    return done_testing();
}
