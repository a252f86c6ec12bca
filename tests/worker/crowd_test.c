/*
 * tests/worker/crowd_test.c - when a worker lets others run before it sleeps.
 */
#include "tests/tap.h"
#include "worker/crowd.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

static void test_crowd(void)
{
    struct crowd c = {0};
    unsigned turns = 0;

    ok(!crowd_yields(&c, 1, SEC) && !crowd_yields(&c, 2, SEC), "two clients are no crowd");
    ok(crowd_yields(&c, 3, SEC), "three are");
    ok(!crowd_yields(&c, 0, SEC), "nothing has come: there is nobody to wait for");
    while (crowd_yields(&c, 1, SEC))
        turns++;
    is_u64(turns, 6, "and so for the eight turns after it");
}

/* Turns of 10 us for so long, each with a crowd; returns how long others had the processor. */
static uint64_t given_away(struct crowd *c, uint64_t *now, uint64_t ns, uint64_t yield, unsigned *yields)
{
    uint64_t end = *now + ns, given = 0;

    for (*yields = 0; *now < end; *now += 10 * US) {
        if (!crowd_yields(c, 5, *now))
            continue;
        crowd_yielded(c, *now, *now + yield);
        *now += yield;
        given += yield;
        ++*yields;
    }
    return given;
}

static void test_long(void)
{
    struct crowd c = {0};
    uint64_t now = SEC, given;
    unsigned yields;

    given = given_away(&c, &now, SEC, 100 * US, &yields);
    ok(yields > 9000 && given > 900 * MS, "short yields: each turn (%u)", yields);
    given = given_away(&c, &now, SEC, 4 * MS, &yields);
    ok(yields >= 2 && given <= 20 * MS, "long ones: %u in a second", yields);
    given = given_away(&c, &now, 10 * SEC, 4 * MS, &yields);
    ok(yields >= 5 && given <= 48 * MS, "and one a second from then on (%u in ten)", yields);
    given = given_away(&c, &now, 2 * SEC, 100 * US, &yields);
    ok(yields > 9000, "a short one, and all is as before (%u)", yields);
    ok(crowd_yields(&c, 5, now), "it yields");
    crowd_yielded(&c, now, now + 4 * MS);
    now += 4 * MS;
    ok(!crowd_yields(&c, 5, now + 999 * US) && crowd_yields(&c, 5, now + MS),
       "a single long one costs a millisecond without");
}

int main(void)
{
    test_crowd();
    test_long();
    return done_testing();
}
