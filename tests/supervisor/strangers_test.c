/*
 * tests/supervisor/strangers_test.c - supervisor/strangers: who is one, when there are too many, and who
 * is asked to go, in which order and how many at a time.
 */
#include "supervisor/strangers.h"

#include "base/clock.h"
#include "tests/tap.h"

#include <stdlib.h>

enum { CONNS = 1000, TENTH = CONNS / 10 };

static struct region *r;
static struct keeper k;
static struct strangers s;
static uint64_t now = 1000 * NS_PER_SEC;
static uint32_t named[STRANGERS_ROOM];

static uint32_t come(void)
{
    const struct address from = {.family = AF_INET};
    uint32_t slot = keeper_add(&k, 0, &from, 0, now);

    strangers_add(&s, &k, slot);
    return slot;
}

static void go(uint32_t slot)
{
    conns_slot(r, slot)->state = CONN_CLOSED;
    keeper_reap(&k, slot);
}

static void all_go(void)
{
    for (uint32_t slot = 1; slot <= CONNS; slot++)
        if (k.kept[slot].taken)
            go(slot);
    now += 10 * NS_PER_SEC;
}

static void another_for(uint32_t slot)
{
    go(slot);
    come();
}

/* As the master does: when there are too many. */
static uint32_t ask(uint64_t ms)
{
    now += ms * NS_PER_MS;
    if (!strangers_full(&s, &k))
        bail_out("there are too few");
    return strangers_leave(&s, &k, now, named);
}

static void a_tenth(void)
{
    uint32_t slot[TENTH];

    for (uint32_t i = 0; i < TENTH; i++) {
        if (i == TENTH - 1)
            ok(!strangers_full(&s, &k), "room for one more");
        slot[i] = come();
    }
    ok(strangers_full(&s, &k), "a tenth");
    conns_slot(r, slot[7])->flags |= CONN_AUTHENTICATED;
    ok(!strangers_full(&s, &k), "one has authenticated");
    come();
    ok(strangers_full(&s, &k), "another has come");
    go(slot[9]);
    ok(!strangers_full(&s, &k), "one has gone");
    is_u64(come(), slot[9], "its slot is another's");
    ok(strangers_full(&s, &k), "who is counted");
    conns_slot(r, slot[3])->flags |= CONN_ADMITTED;
    ok(!strangers_full(&s, &k), "one was let in without a secret");
    k.max = 50;
    is_u64(strangers_max(&k), 5, "of 50");
    ok(strangers_full(&s, &k), "fewer, after a reload");
    k.max = 7;
    is_u64(strangers_max(&k), 4, "at least");
    k.max = CONNS;
    all_go();
    ok(!strangers_full(&s, &k), "all have gone");
}

static void who_goes(void)
{
    uint32_t slot[TENTH];

    for (uint32_t i = 0; i < TENTH; i++) {
        slot[i] = come();
        now += NS_PER_MS;
    }
    conns_slot(r, slot[0])->in_tail = 1;
    conns_slot(r, slot[2])->request_since = now;
    is_u64(ask(800), 0, "nobody is old enough");
    is_u64(ask(150), 1, "one");
    is_u64(named[0], slot[1], "the oldest that has said nothing");
    is_u64(ask(5), 0, "it is on its way");
    another_for(slot[1]);
    is_u64(ask(5), 2, "twice as many, once its place has been taken");
    ok(named[0] == slot[3] && named[1] == slot[4], "the next ones");
    is_u64(ask(5), 0, "they are on their way");
    another_for(slot[3]);
    another_for(slot[4]);
    is_u64(ask(5), 4, "twice as many again");
    for (unsigned i = 0; i < 8; i++) {
        come();
        ask(5);
    }
    is_u64(s.want, STRANGERS_ROOM, "there is an end to that");
    is_u64(ask(150), 1, "after a while without need, one");
    ok(named[0] != slot[5], "not one that was asked just now");
    is_u64(ask(1100), 1, "and one");
    is_u64(named[0], slot[5], "who has not gone within a second is asked again");
    all_go();
}

static void anew(void)
{
    struct strangers other = {0};
    uint32_t slot[5], n;

    for (uint32_t i = 0; i < 5; i++)
        slot[i] = come();
    go(slot[1]);
    go(slot[0]);
    slot[0] = come();
    conns_slot(r, slot[3])->flags |= CONN_ADMITTED;
    strangers_init(&other, r);
    strangers_guard(&other, &k, true);
    is_u64(other.n, 3, "those that are there");
    now += 2 * NS_PER_SEC;
    n = strangers_leave(&other, &k, now, named);
    is_u64(n == 1 && named[0] == slot[2], true, "the oldest first, whatever its slot");
    ok(slot[4] < slot[2] && slot[2] < slot[0], "which is neither the first nor the last");
    strangers_guard(&other, &k, false);
    strangers_add(&other, &k, slot[4]);
    k.max = 0;
    ok(!strangers_full(&other, &k), "without a secret nobody is one");
    k.max = CONNS;
    free(other.list);
    all_go();
}

int main(void)
{
    struct region_limits limits = {.max_locks = 64, .max_conns = CONNS};
    int err;

    r = region_create(&limits, &err);
    if (!r || keeper_init(&k, r, CONNS, 0) != 0 || strangers_init(&s, r) != 0)
        bail_out("no memory");
    strangers_guard(&s, &k, true);
    a_tenth();
    who_goes();
    anew();
    return done_testing();
}
