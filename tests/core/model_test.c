/*
 * tests/core/model_test.c - a million and more random operations, each compared with model.c.
 */
#include "tests/core/model.h"
#include "tests/tap.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { OPS = 100000 }; /* each */

#define PLAIN                                                                                      \
    {                                                                                              \
        [OP_ACQUIRE] = 30, [OP_EXPIRE_KEY] = 1, [OP_WAIT] = 10, [OP_RELEASE] = 18,                 \
        [OP_RENEW] = 8, [OP_EVICT] = 1, [OP_DELIVER] = 12, [OP_UNBLOCK] = 6, [OP_LOSE_WAIT] = 2,   \
        [OP_DROP_OWNER] = 1, [OP_DROP_TOMBSTONE] = 1, [OP_EXPIRE] = 6, [OP_COLLECT] = 2,           \
        [OP_EXTEND] = 1,                                                                           \
    }

static const struct gen_config configs[] = {
    {
        .name = "one hot key",
        .size = {.max_locks = 64, .owners = 60},
        .nkeys = 8, .nshards = 2, .nworkers = 4, .hot = 900, .limit_max = 1,
        .lease_min = SECOND, .lease_max = MINUTE, .start = 5 * SECOND,
        .step_max = SECOND / 10, .jumps = 2, .jump_max = 2 * MINUTE,
        .two_phase = 300, .aborts = 20,
        .weight = {[OP_ACQUIRE] = 30, [OP_EXPIRE_KEY] = 1, [OP_WAIT] = 12, [OP_RELEASE] = 30,
                   [OP_RENEW] = 6, [OP_EVICT] = 1, [OP_DELIVER] = 30, [OP_UNBLOCK] = 6,
                   [OP_LOSE_WAIT] = 2,
                   [OP_DROP_OWNER] = 3, [OP_DROP_TOMBSTONE] = 1, [OP_EXPIRE] = 8,
                   [OP_COLLECT] = 2, [OP_EXTEND] = 1},
    },
    {
        .name = "many keys",
        .size = {.max_locks = 200, .owners = 40},
        .nkeys = 200, .nshards = 16, .nworkers = 3, .sems = 300, .limit_max = 4,
        .same_hash = 100, .long_keys = 100,
        .lease_min = SECOND, .lease_max = MINUTE, .start = 1,
        .step_max = SECOND, .jumps = 5, .jump_max = 10 * MINUTE,
        .two_phase = 300, .aborts = 20, .weight = PLAIN,
    },
    {
        .name = "semaphores",
        .size = {.max_locks = 64, .owners = 80},
        .nkeys = 12, .nshards = 3, .nworkers = 4, .sems = 900, .limit_max = 10, .hot = 400,
        .lease_min = SECOND, .lease_max = 20 * SECOND, .start = MINUTE,
        .step_max = SECOND / 5, .jumps = 2, .jump_max = MINUTE,
        .two_phase = 300, .max_waiters = 12, .aborts = 20, .weight = PLAIN,
    },
    {
        .name = "a semaphore larger than a look at its holders",
        .size = {.max_locks = 64, .owners = 200},
        .nkeys = 2, .nshards = 1, .nworkers = 4, .sems = 1000, .limit_max = 300, .hot = 900,
        .lease_min = SECOND, .lease_max = 20 * SECOND, .start = MINUTE,
        .step_max = SECOND / 50, .jumps = 1, .jump_max = MINUTE,
        .two_phase = 100, .max_waiters = 12, .aborts = 20,
        .weight = {[OP_ACQUIRE] = 90, [OP_RELEASE] = 12, [OP_RENEW] = 8, [OP_DELIVER] = 8,
                   [OP_EXPIRE] = 1, [OP_EXPIRE_KEY] = 1, [OP_UNBLOCK] = 4, [OP_LOSE_WAIT] = 1},
    },
    {
        .name = "two-phase, leases that end before `w`",
        .size = {.max_locks = 64, .owners = 12, .buckets = 4},
        .nkeys = 24, .nshards = 3, .nworkers = 3, .sems = 500, .limit_max = 3, .hot = 200,
        .lease_min = SECOND, .lease_max = 3 * SECOND, .start = MINUTE,
        .step_max = SECOND, .jumps = 5, .jump_max = MINUTE,
        .two_phase = 950, .aborts = 20,
        .weight = {[OP_ACQUIRE] = 30, [OP_EXPIRE_KEY] = 2, [OP_WAIT] = 25, [OP_RELEASE] = 8,
                   [OP_RENEW] = 8, [OP_EVICT] = 2, [OP_DELIVER] = 8, [OP_UNBLOCK] = 6,
                   [OP_LOSE_WAIT] = 2,
                   [OP_DROP_OWNER] = 2, [OP_DROP_TOMBSTONE] = 4, [OP_EXPIRE] = 8,
                   [OP_COLLECT] = 2, [OP_EXTEND] = 1},
    },
    {
        .name = "a tiny table that runs out of all things",
        .size = {.max_locks = 20, .owners = 30, .chunks = 6, .res_per_shard = 5, .buckets = 16},
        .nkeys = 40, .nshards = 5, .nworkers = 3, .sems = 500, .limit_max = 60, .hot = 300,
        .long_keys = 300, .lease_min = 10 * SECOND, .lease_max = 10 * MINUTE, .start = MINUTE,
        .step_max = SECOND, .jumps = 2, .jump_max = 20 * MINUTE,
        .two_phase = 300, .aborts = 20,
        .weight = {[OP_ACQUIRE] = 60, [OP_EXPIRE_KEY] = 1, [OP_WAIT] = 6, [OP_RELEASE] = 12,
                   [OP_RENEW] = 4, [OP_EVICT] = 1, [OP_DELIVER] = 5, [OP_UNBLOCK] = 4,
                   [OP_LOSE_WAIT] = 1,
                   [OP_DROP_OWNER] = 2, [OP_DROP_TOMBSTONE] = 1, [OP_EXPIRE] = 3,
                   [OP_COLLECT] = 1},
    },
    {
        .name = "leases from 1 s to 292 years",
        .size = {.max_locks = 64, .owners = 40},
        .nkeys = 20, .nshards = 2, .nworkers = 2, .sems = 400, .limit_max = 10, .hot = 100,
        .lease_min = SECOND, .lease_max = UINT64_C(9223372036) * SECOND,
        .start = UINT64_C(1) << 62, .step_max = MINUTE, .jumps = 20, .jump_max = YEAR,
        .two_phase = 300, .aborts = 20,
        .weight = {[OP_ACQUIRE] = 30, [OP_EXPIRE_KEY] = 1, [OP_WAIT] = 10, [OP_RELEASE] = 8,
                   [OP_RENEW] = 30, [OP_EVICT] = 1, [OP_DELIVER] = 12, [OP_UNBLOCK] = 6,
                   [OP_LOSE_WAIT] = 2,
                   [OP_DROP_OWNER] = 1, [OP_EXPIRE] = 10, [OP_COLLECT] = 2, [OP_EXTEND] = 1},
    },
    {
        .name = "the clock in centuries",
        .size = {.max_locks = 64, .owners = 40},
        .nkeys = 20, .nshards = 2, .nworkers = 2, .sems = 400, .limit_max = 10, .hot = 100,
        .lease_min = 1, .lease_max = UINT64_C(9223372036) * SECOND,
        .start = UINT64_C(1) << 63, .step_max = MINUTE, .jumps = 5, .jump_max = 10 * YEAR,
        .two_phase = 300, .aborts = 20, .weight = PLAIN,
    },
    {
        .name = "workers that do not answer",
        .size = {.max_locks = 64, .owners = 40},
        .nkeys = 12, .nshards = 2, .nworkers = 4, .sems = 500, .limit_max = 5, .hot = 200,
        .lease_min = SECOND, .lease_max = 4 * SECOND, .start = MINUTE,
        .step_max = SECOND / 5, .jumps = 2, .jump_max = 5 * SECOND, .downs = 40,
        .two_phase = 300, .aborts = 20, .weight = PLAIN,
    },
    {
        .name = "workers whose clocks differ",
        .size = {.max_locks = 64, .owners = 40},
        .nkeys = 40, .nshards = 2, .nworkers = 4, .sems = 300, .limit_max = 5, .hot = 100,
        .lease_min = SECOND, .lease_max = 4 * SECOND, .start = MINUTE,
        .step_max = SECOND / 50, .jumps = 2, .jump_max = 5 * SECOND, .jitter = SECOND / 20,
        .two_phase = 300, .aborts = 20, .weight = PLAIN,
    },
    {
        .name = "fences run out",
        .size = {.max_locks = 200, .owners = 150},
        .nkeys = 100, .nshards = 1, .nworkers = 4, .sems = 300, .limit_max = 5, .hot = 30,
        .lease_min = SECOND, .lease_max = 4 * SECOND, .start = MINUTE,
        .step_max = SECOND / 50, .jumps = 2, .jump_max = 5 * SECOND, .fences = 150,
        .two_phase = 300, .aborts = 20, .weight = PLAIN,
    },
    {
        .name = "leases may not be as long as asked for",
        .size = {.max_locks = 200, .owners = 150},
        .nkeys = 60, .nshards = 2, .nworkers = 4, .sems = 300, .limit_max = 5, .hot = 30,
        .lease_min = SECOND, .lease_max = 40 * SECOND, .start = MINUTE,
        .step_max = SECOND / 50, .jumps = 2, .jump_max = 5 * SECOND, .fences = 1500,
        .horizon = 30 * SECOND, .two_phase = 300, .aborts = 20, .weight = PLAIN,
    },
    {
        .name = "cold starts",
        .size = {.max_locks = 200, .owners = 150},
        .nkeys = 60, .nshards = 2, .nworkers = 4, .sems = 300, .limit_max = 5, .hot = 30,
        .lease_min = SECOND, .lease_max = 40 * SECOND, .start = MINUTE,
        .step_max = SECOND / 50, .jumps = 2, .jump_max = 5 * SECOND, .cold = 20 * SECOND,
        .max_waiters = 12, .two_phase = 300, .aborts = 20, .weight = PLAIN,
    },
};

/* What must have been answered at least once, or the configurations have lost their subject. */
static const struct {
    enum op_kind op;
    enum verdict verdict;
} answers[] = {
    {OP_ACQUIRE, VERDICT_OK},
    {OP_ACQUIRE, VERDICT_QUEUED},
    {OP_ACQUIRE, VERDICT_TIMEOUT},
    {OP_ACQUIRE, VERDICT_LIMIT_MISMATCH},
    {OP_ACQUIRE, VERDICT_NEED_UNIT},
    {OP_ACQUIRE, VERDICT_MAX_LOCKS},
    {OP_ACQUIRE, VERDICT_MAX_WAITERS},
    {OP_ACQUIRE, VERDICT_NO_NODES},
    {OP_ACQUIRE, VERDICT_NO_FENCE},
    {OP_ACQUIRE, VERDICT_ALREADY_ENQUEUED},
    {OP_WAIT, VERDICT_OK},
    {OP_WAIT, VERDICT_QUEUED},
    {OP_WAIT, VERDICT_TIMEOUT},
    {OP_WAIT, VERDICT_NOT_ENQUEUED},
    {OP_WAIT, VERDICT_LEASE_EXPIRED},
    {OP_WAIT, VERDICT_NO_FENCE},
    {OP_RELEASE, VERDICT_OK},
    {OP_RELEASE, VERDICT_NOT_HELD},
    {OP_RENEW, VERDICT_OK},
    {OP_RENEW, VERDICT_NOT_HELD},
    {OP_RENEW, VERDICT_NO_FENCE},
    {OP_EVICT, VERDICT_OK},
    {OP_EVICT, VERDICT_NOT_HELD},
    {OP_DELIVER, VERDICT_OK},
    {OP_DELIVER, VERDICT_LEASE_EXPIRED},
    {OP_DELIVER, VERDICT_NO_FENCE},
    {OP_UNBLOCK, VERDICT_OK},
    {OP_UNBLOCK, VERDICT_TIMEOUT},
    {OP_UNBLOCK, VERDICT_LEASE_EXPIRED},
    {OP_LOSE_WAIT, VERDICT_OK},
};

static uint64_t seen[OP_KINDS][VERDICT_LEASE_EXPIRED + 1];
static uint64_t total;
static uint32_t deepest[OP_KINDS];

static void run_config(const struct gen_config *c, uint64_t seed)
{
    static struct bed bed;
    static struct gen gen;
    static struct model model;
    uint64_t ops = gen_scaled(OPS);

    gen_make(&gen, c, &bed, seed);
    model_make(&model, &gen);
    while (gen.ops < ops)
        gen_step(&gen);
    for (uint32_t i = 0; i < SHARD_COUNT; i++)
        model_compare(&model, i);
    is_u64(model.wrong, 0, "%s", c->name);
    diag("%" PRIu64 " operations, %" PRIu64 " grants, %" PRIu64 " leases ended, %" PRIu64
         " tombstones, %u records at the end",
         gen.ops, model.grants, model.expired, model.tombstones, model.nrecords);
    for (unsigned i = 0; i < OP_KINDS; i++) {
        char text[400] = "";
        size_t len = 0;

        for (unsigned v = 0; v <= VERDICT_LEASE_EXPIRED; v++) {
            seen[i][v] += model.verdicts[i][v];
            if (model.verdicts[i][v])
                len += (size_t)snprintf(text + len, sizeof(text) - len, " %u:%" PRIu64, v,
                                        model.verdicts[i][v]);
        }
        diag("    %-14s%s", op_name[i], text);
        if (gen.deepest[i] > deepest[i])
            deepest[i] = gen.deepest[i];
    }
    total += gen.ops;
    bed_free(&bed);
}

static int missing(void)
{
    int n = 0;

    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        n += seen[answers[i].op][answers[i].verdict] == 0;
    return n;
}

int main(void)
{
    uint64_t seed = gen_seed();

    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++)
        run_config(&configs[i], seed + i);
    /* Some seeds never use up the nodes: on with others, until everything was seen. */
    for (uint64_t more = 1; missing() > 0 && more < 50; more++)
        for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++)
            if (strstr(configs[i].name, "runs out"))
                run_config(&configs[i], seed + more * 1000003 + i);
    for (unsigned i = 0; i < OP_KINDS; i++)
        diag("%-14s logged at most %u", op_name[i], deepest[i]);
    is_int(missing(), 0, "every verdict of every operation was seen");
    ok(total >= gen_scaled(1000000), "%" PRIu64 " operations", total);
    return done_testing();
}
