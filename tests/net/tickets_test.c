/*
 * tests/net/tickets_test.c - keys of TLS tickets: how long each is good for, and what a death or a
 * stray store between two steps leaves.
 */
#include "net/tickets.h"

#include "tests/tap.h"

#include <string.h>

#define LIFE (TICKETS_LIFE_S * UINT64_C(1000000000))

static struct tickets t;

static void turn(uint64_t now)
{
    if (tickets_turn(&t, now) != 0)
        bail_out("no random numbers");
}

static struct ticket_key newest(void)
{
    const struct ticket_key *k = tickets_newest(&t);

    if (!k)
        bail_out("no key");
    return *k;
}

static bool same(const struct ticket_key *a, const struct ticket_key *b)
{
    return a && memcmp(a, b, sizeof(*a)) == 0;
}

static void test_lives(void)
{
    struct ticket_key first, second, third;
    uint8_t name[TICKET_NAME] = "unknown";

    ok(!tickets_newest(&t) && !tickets_find(&t, name), "no keys at first");
    turn(1000);
    first = newest();
    ok(same(tickets_find(&t, first.name), &first), "the first one, by its name");
    ok(!tickets_find(&t, name), "another name: none");
    turn(1000 + LIFE - 1);
    ok(same(tickets_newest(&t), &first), "it stays for its life");
    turn(1000 + LIFE);
    second = newest();
    ok(memcmp(&first, &second, sizeof(first)) != 0, "then there is another one");
    ok(memcmp(first.cipher, second.cipher, 32) != 0 && memcmp(first.mac, second.mac, 32) != 0 &&
           memcmp(first.cipher, first.mac, 32) != 0,
       "all of it is random");
    ok(same(tickets_find(&t, first.name), &first), "the first still decrypts");
    turn(1000 + 2 * LIFE);
    third = newest();
    ok(!tickets_find(&t, first.name), "for one life");
    ok(same(tickets_find(&t, second.name), &second) && same(tickets_find(&t, third.name), &third),
       "the others do");
    for (unsigned i = 3; i < 10; i++) {
        struct ticket_key before = newest();

        turn(1000 + i * LIFE);
        if (!same(tickets_find(&t, before.name), &before) || same(tickets_newest(&t), &before))
            ok(false, "turn %u", i);
    }
    ok(true, "and so on");
    second = newest();
    turn(500);
    ok(!same(tickets_newest(&t), &second), "made in the future: another one, the clock is another");
}

static void test_broken(void)
{
    struct ticket_key key = newest();
    uint32_t number = t.newest;

    /* The master died before it could publish: the next one does it again. */
    t.made = 0;
    t.previous = number;
    turn(5 * LIFE);
    ok(same(tickets_find(&t, key.name), &key), "turned twice at once: the key in use is not lost");
    t.newest = 77;
    ok(!tickets_newest(&t) && !tickets_find(&t, (uint8_t[TICKET_NAME]){1}), "no such key: none");
    turn(5 * LIFE);
    ok(tickets_newest(&t) != NULL, "the next turn makes one");
    t.previous = UINT32_MAX;
    key = newest();
    ok(same(tickets_find(&t, key.name), &key) && !tickets_find(&t, (uint8_t[TICKET_NAME]){1}),
       "nor a previous one");
}

int main(void)
{
    test_lives();
    test_broken();
    return done_testing();
}
