/*
 * tests/core/leases_test.c - the timer wheel: every level and border, cascades, renewals, outages.
 */
#include "core/leases.h"

#include "core/check.h"
#include "tests/core/gen.h"
#include "tests/tap.h"

#include <inttypes.h>

enum { SHARD = 9, STEPS_MAX = 200000 };

static struct bed bed;
static struct rng rng;
static uint64_t wrong;

static void make(void)
{
    bed_make(&bed, &(struct bed_size){.max_locks = 64, .owners = 4});
    bed_add_key(&bed, KIND_SEM, 8, (uint64_t)SHARD << 58);
    for (uint32_t o = 1; o <= 4; o++)
        bed_connect(&bed, o, o);
    bed.words->reserved[0] = 1;
}

static struct wheel *wheel(void)
{
    return &table_shard(&bed.t, SHARD)->wheel;
}

/* A wheel that has dealt with everything before `now`, as if it had run since the boot. */
static void set_clock(uint64_t now)
{
    wheel()->now = now >> WHEEL_TICK_SHIFT;
}

static uint64_t tick_of(uint64_t end) /* in which it ends, at the latest */
{
    return end / TICK + (end % TICK != 0);
}

static uint64_t ns(uint64_t tick)
{
    return tick > UINT64_MAX / TICK ? UINT64_MAX : tick * TICK;
}

static void sound(void)
{
    struct check_report report;

    if (check_shard(&bed.t, SHARD, &report) != 0 && wrong++ < 10)
        diag("I%d at %u: %s", report.invariant, report.index, report.what);
}

/* A holder whose lease ends at `end`. */
static uint32_t hold_by(uint32_t owner, uint64_t now, uint64_t end)
{
    struct op op = {.kind = OP_ACQUIRE,
                    .shard = SHARD,
                    .owner = owner,
                    .limit = 1 << 20,
                    .lease = end - now,
                    .now = now};
    struct outcome out;
    struct tx tx;

    op_run(&bed, &op, &tx, &out);
    tx_commit(&tx);
    if (out.verdict != VERDICT_OK)
        bail_out("no holder: verdict %d", (int)out.verdict);
    return out.grant.node;
}

static uint32_t hold(uint64_t now, uint64_t end)
{
    return hold_by(1, now, end);
}

static void renew(uint32_t node, uint64_t now, uint64_t end)
{
    struct op op = {.kind = OP_RENEW,
                    .shard = SHARD,
                    .owner = 1,
                    .lease = end - now,
                    .now = now,
                    .fence = table_node(&bed.t, node)->order,
                    .salt = table_node(&bed.t, node)->salt};
    struct outcome out;
    struct tx tx;

    op_run(&bed, &op, &tx, &out);
    tx_commit(&tx);
    wrong += out.verdict != VERDICT_OK;
}

/* Returns how many leases ended; the wheel is in order after each step. */
static uint32_t expire(uint64_t now)
{
    struct op op = {.kind = OP_EXPIRE, .shard = SHARD, .now = now};
    uint32_t ended = 0, steps = 0;
    struct outcome out;

    do {
        struct tx tx;

        op_run(&bed, &op, &tx, &out);
        tx_commit(&tx);
        ended += out.expired;
        if (++steps > STEPS_MAX)
            bail_out("the wheel does not stop at %" PRIu64, now);
        if (steps < 200)
            sound();
    } while (out.more);
    return ended;
}

static unsigned level_of(uint32_t node)
{
    return (table_node(&bed.t, node)->tw_slot - 1u) / 64;
}

/* Every start × every distance: ticks beside every digit's border. */
static void test_borders(void)
{
    static const int64_t beside[] = {-2, -1, 0, 1, 2};
    uint64_t start[80], distance[80];
    unsigned nstarts = 0, ndistances = 0, tried = 0;
    bool level_seen[WHEEL_LEVELS] = {false};

    for (unsigned digit = 0; digit < WHEEL_LEVELS; digit++) {
        for (unsigned i = 0; i < 5; i++) {
            uint64_t border = UINT64_C(1) << 6 * digit;

            if (border >> 42 == 0 && (digit || beside[i] >= 0))
                start[nstarts++] = border + (uint64_t)beside[i];
            if (border >> 43 == 0 && (digit || beside[i] >= 0))
                distance[ndistances++] = border + (uint64_t)beside[i];
        }
    }
    distance[ndistances++] = 63 * 64;
    distance[ndistances++] = (UINT64_C(1) << 43) - 1;
    for (unsigned s = 0; s < nstarts; s++) {
        for (unsigned d = 0; d < ndistances; d++) {
            for (int part = -1; part <= 1; part++) {
                uint64_t now = ns(start[s]) + rng_below(&rng, TICK);
                uint64_t end = ns(start[s] + distance[d]) + (uint64_t)(int64_t)part;
                uint64_t due = ns(tick_of(end));
                uint32_t node;

                if (end <= now)
                    continue;
                make();
                set_clock(now);
                node = hold(now, end);
                level_seen[level_of(node)] = true;
                sound();
                wrong += table_next_due(&bed.t, SHARD) > due;
                wrong += expire(now) != 0;
                wrong += expire(now + (end - now) / 2) != 0;
                wrong += expire(end - 1) != 0;
                wrong += table_next_due(&bed.t, SHARD) > due;
                wrong += expire(due) != 1;
                wrong += table_next_due(&bed.t, SHARD) != TIME_NEVER;
                bed_free(&bed);
                tried++;
            }
        }
    }
    is_u64(wrong, 0, "a lease ends in its tick, at every border (%u leases)", tried);
    for (unsigned i = 0; i < WHEEL_LEVELS; i++)
        ok(level_seen[i], "level %u was used", i);
}

/* The clock may jump over the whole way; or go on by any step. */
static void test_many(void)
{
    enum { N = 1500 };
    static uint64_t end[N];

    for (unsigned round = 0; round < 12; round++) {
        uint64_t now = rng_log(&rng, 1, UINT64_C(1) << 61);
        uint64_t longest = UINT64_C(1) << (22 + 3 * round);
        uint32_t left = N;

        make();
        set_clock(now);
        for (unsigned i = 0; i < N; i++) {
            end[i] = now + 1 + rng_log(&rng, 0, longest);
            hold(now, end[i]);
        }
        while (left) {
            uint32_t due = 0;
            uint64_t first = UINT64_MAX;

            now += rng_log(&rng, 0, longest / 8);
            for (unsigned i = 0; i < N; i++) {
                due += end[i] && tick_of(end[i]) <= now / TICK;
                if (end[i] && tick_of(end[i]) <= now / TICK)
                    end[i] = 0;
                if (end[i] && end[i] < first)
                    first = end[i];
            }
            wrong += expire(now) != due;
            wrong += first != UINT64_MAX && table_next_due(&bed.t, SHARD) > ns(tick_of(first));
            left -= due;
        }
        sound();
        bed_free(&bed);
    }
    is_u64(wrong, 0, "of many leases those end whose tick has come, and no others");
}

static void test_renew(void)
{
    uint64_t now = ns(1000000), end = now + MINUTE;
    unsigned slot;
    uint32_t node;

    make();
    set_clock(now);
    node = hold(now, end);
    slot = table_node(&bed.t, node)->tw_slot;
    renew(node, now + SECOND, end + 10 * MINUTE);
    is_u64(table_node(&bed.t, node)->tw_slot, slot, "a renew to a later end moves nothing");
    is_u64(expire(end + SECOND), 0, "the lease does not end at its old end");
    ok(table_next_due(&bed.t, SHARD) > end + SECOND, "nor is it looked at again and again");
    is_u64(expire(end + 10 * MINUTE - 1), 0, "nor before its new one");
    renew(node, end + 10 * MINUTE - 1, end + YEAR);
    renew(node, end + 10 * MINUTE - 1, end + 10 * MINUTE + 5);
    ok(table_next_due(&bed.t, SHARD) <= ns(tick_of(end + 10 * MINUTE + 5)),
       "a renew to an earlier end is published");
    is_u64(expire(end + 10 * MINUTE + 4), 0, "a shortened lease does not end early");
    is_u64(expire(ns(tick_of(end + 10 * MINUTE + 5))), 1, "and ends at its new end");
    sound();
    bed_free(&bed);
    is_u64(wrong, 0, "the wheel is in order all the time");
}

/* While nothing is due the wheel stands still; a new lease must not pay for that. */
static void test_catch_up(void)
{
    uint64_t now = ns(5), later = ns(5 + (UINT64_C(1) << 30)), between = ns(5 + (1 << 20));
    uint32_t node;

    make();
    set_clock(now);
    hold(now, later + ns(200));
    node = hold(between, between + ns(3));
    ok(level_of(node) <= 1, "a short lease lies low after a long silence");
    ok(wheel()->now == between / TICK, "the wheel has caught up with the clock");
    node = hold(later + ns(300), later + ns(310));
    ok(wheel()->now < later / TICK + 200, "but not beyond a lease that is overdue");
    sound();
    is_u64(expire(later + ns(311)), 3, "all end");
    bed_free(&bed);

    make();
    node = hold(ns(1 << 20), ns((1 << 20) + 70));
    ok(wheel()->now == 1 << 20, "an empty wheel catches up");
    bed_free(&bed);
    is_u64(wrong, 0, "the wheel is in order all the time");
}

/* A slot of an upper level is moved down one node a transaction: what comes between? */
static void test_between_cascades(void)
{
    struct outcome out;
    struct tx tx;

    for (unsigned round = 0; round < 300; round++) {
        uint64_t now = ns(rng_log(&rng, 1, UINT64_C(1) << 30));
        uint64_t reach = UINT64_C(1) << (21 + rng_below(&rng, 18));
        uint32_t node[40];
        uint32_t left = 40, steps = 0;

        make();
        set_clock(now);
        for (unsigned i = 0; i < 40; i++)
            node[i] = hold(now, now + reach + rng_below(&rng, reach));
        now += reach;
        while (left) {
            struct op op = {.kind = OP_EXPIRE, .shard = SHARD, .now = now};
            uint32_t k = (uint32_t)rng_below(&rng, 40);
            const struct node *n = table_node(&bed.t, node[k]);

            op_run(&bed, &op, &tx, &out);
            tx_commit(&tx);
            left -= out.expired;
            if (!out.more)
                now += rng_below(&rng, reach / 8);
            if (rng_chance(&rng, 100) && n->state == NODE_HELD && n->end > now && steps < 300)
                renew(node[k], now, now + 1 + rng_below(&rng, 2 * reach));
            sound();
            if (++steps > STEPS_MAX)
                bail_out("leases that never end");
        }
        bed_free(&bed);
    }
    is_u64(wrong, 0, "leases renewed while their slot is moved down end in time");
}

static void test_grace(void)
{
    uint64_t *down;
    uint64_t now = 100 * SECOND, end = now + 10 * SECOND;
    uint32_t node;

    make();
    down = bed.words->down_since;
    set_clock(now);
    hold_by(1, now, end);
    hold_by(2, now, end);
    down[1] = end - SECOND;
    is_u64(expire(ns(tick_of(end))), 1, "the lease of a worker that answers ends in time");
    is_u64(expire(end + 2 * SECOND), 0, "that of one that is down does not");
    is_u64(expire(end + 3 * SECOND - 1), 0, "for three seconds");
    is_u64(expire(end + 3 * SECOND + LEASES_LOOK_NS + TICK), 1,
           "but no longer, also when it never comes back");
    bed_free(&bed);

    make();
    down = bed.words->down_since;
    set_clock(now);
    node = hold_by(1, now, end);
    down[1] = end - SECOND;
    is_u64(expire(end + SECOND), 0, "a second into the grace");
    table_node(&bed.t, node)->end += 2 * SECOND; /* as table_extend() does, tested elsewhere */
    down[1] = 0;
    is_u64(expire(end + 2 * SECOND - 1), 0, "a lease that was extended ends later");
    is_u64(expire(end + 2 * SECOND + LEASES_LOOK_NS + TICK), 1,
           "by the outage, not by the whole grace");
    bed_free(&bed);

    make();
    down = bed.words->down_since;
    set_clock(now);
    hold_by(1, now, end);
    down[1] = end + 1;
    is_u64(expire(ns(tick_of(end))), 1, "a lease that ended before the outage has ended");
    bed_free(&bed);

    make();
    down = bed.words->down_since;
    set_clock(now);
    hold_by(1, now, UINT64_MAX - 1);
    down[1] = UINT64_MAX - 2 * SECOND;
    is_u64(expire(now), 0, "a lease to the end of time");
    ok(table_next_due(&bed.t, SHARD) > now, "is not looked at all the time");
    is_u64(expire(UINT64_MAX - SECOND), 0, "at the end of time nothing wraps");
    bed_free(&bed);
    is_u64(wrong, 0, "the wheel is in order all the time");
}

static void test_sums(void)
{
    struct wheel w = {.now = 0x123456789};

    is_u64(leases_add(5, 7), 12, "5 + 7");
    is_u64(leases_add(0, UINT64_MAX), TIME_NEVER - 1, "a lease is never endless");
    is_u64(leases_add(UINT64_MAX - 1, 1), TIME_NEVER - 1, "sums saturate");
    is_u64(leases_add(UINT64_MAX - 5, 3), UINT64_MAX - 2, "but not too soon");
    is_u64(leases_slot_start(&w, 10), 0x12345678a, "a slot of level 0");
    is_u64(leases_slot_start(&w, 64 + 0x1f), 0x1234567c0, "a slot of level 1");
    is_u64(leases_slot_start(&w, 7 * 64 + 1), UINT64_C(1) << 42, "a slot of the last level");
}

int main(void)
{
    rng.state = gen_seed();
    test_sums();
    test_borders();
    test_many();
    test_renew();
    test_catch_up();
    test_between_cascades();
    test_grace();
    return done_testing();
}
