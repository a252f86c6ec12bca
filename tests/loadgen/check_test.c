/*
 * tests/loadgen/check_test.c - histories made up by hand: each fault is objected to, in words that
 * say where and when; what only looks like one is not.
 */
#include "bench/check.h"

#include "base/clock.h"

#include "tests/tap.h"

#include <stdio.h>
#include <string.h>

enum { LEASE = 10 };
#define S NS_PER_SEC

static struct check c;
static struct check_key key;
static struct check_wish a, b, w3;

static void fresh(void)
{
    check_init(&c, false, INT64_C(1700000000) * (int64_t)S);
    key = (struct check_key){.name = "a-key"};
    a = b = w3 = (struct check_wish){0};
}

static const char *token(uint64_t fence)
{
    static char text[33];

    snprintf(text, sizeof(text), "%016llx0123456789abcdef", (unsigned long long)fence);
    return text;
}

static void asked(struct check_wish *w, uint32_t worker, uint64_t floor, double at)
{
    check_asked(&c, w, worker, floor, (uint64_t)(at * 1e9));
}

static void granted(struct check_wish *w, uint64_t fence, double at)
{
    check_granted(&c, &key, w, token(fence), fence, LEASE, (uint64_t)(at * 1e9));
}

static void releasing(struct check_wish *w, double at)
{
    check_releasing(&c, &key, w, (uint64_t)(at * 1e9));
}

static bool says(const char *part)
{
    return c.violations > 0 && strstr(c.text[0], part) != NULL;
}

static void in_turn(void)
{
    fresh();
    asked(&a, 1, 0, 1);
    asked(&b, 2, 0, 1.1);
    granted(&a, 7, 1.2);
    releasing(&a, 1.2);
    granted(&b, 8, 1.3);
    asked(&a, 1, 8, 1.4);
    releasing(&b, 1.4);
    granted(&a, 9, 1.5);
    is_u64(c.violations, 0, "one after the other");
    is_u64(c.grants, 3, "all of them looked at");
    check_destroy(&c);
}

static void two_holders(void)
{
    fresh();
    asked(&a, 1, 0, 1);
    asked(&b, 22, 0, 1.1);
    granted(&a, 7, 1.25);
    granted(&b, 8, 2);
    is_u64(c.violations, 1, "two holders");
    ok(says("two holders") && says("a-key"), "it is said of which key: %s", c.text[0]);
    ok(says("00000000000000070123456789abcdef") && says("00000000000000080123456789abcdef"),
       "with both tokens");
    ok(says("worker 1 ") && says("worker 22 "), "and both workers");
    ok(says("2023-11-14T22:13:21.250Z") && says("2023-11-14T22:13:22.000Z"), "and when");
    check_destroy(&c);
}

/* When the lease of the first can have ended, the second is no offence; a moment before it is. */
static void after_the_lease(void)
{
    fresh();
    asked(&a, 1, 0, 1);
    granted(&a, 7, 1.2);
    asked(&b, 2, 7, 1.3);
    granted(&b, 8, 11);
    is_u64(c.violations, 0, "the lease can have ended");
    check_destroy(&c);

    fresh();
    asked(&a, 1, 0, 1);
    granted(&a, 7, 1.2);
    asked(&b, 2, 7, 1.3);
    granted(&b, 8, 10.98);
    is_u64(c.violations, 1, "it can not: the clocks differ by less");
    check_destroy(&c);
}

/* Who has waited for longer than a lease has it from when the one before gave it back. */
static void after_a_long_wait(void)
{
    fresh();
    asked(&b, 2, 0, 1.1);
    asked(&a, 1, 0, 10);
    granted(&a, 8, 10.1);
    releasing(&a, 19);
    granted(&b, 9, 19.1);
    asked(&a, 1, 8, 20);
    granted(&a, 10, 28);
    ok(c.violations == 1 && says("two holders"), "both hold it: %s", c.text[0]);
    check_destroy(&c);

    fresh();
    asked(&b, 2, 0, 1);
    asked(&a, 1, 0, 10);
    granted(&a, 8, 10.1);
    releasing(&a, 19);
    granted(&b, 7, 19.1);
    asked(&a, 1, 8, 20);
    granted(&a, 10, 20.1);
    is_u64(c.violations, 0, "b had it before a, who held it at 19 s: its lease has ended");
    check_destroy(&c);

    fresh();
    asked(&b, 2, 0, 1);
    asked(&a, 1, 0, 2);
    granted(&a, 8, 2.1);
    releasing(&a, 15);
    granted(&b, 9, 15.1);
    asked(&a, 1, 8, 20);
    granted(&a, 10, 20.1);
    is_u64(c.violations, 0,
           "at 15 s the lease of a can have ended, and that of b have begun before");
    check_destroy(&c);
}

/* A grant that comes late is not held any more. */
static void late_grant(void)
{
    fresh();
    asked(&a, 1, 0, 1);
    asked(&b, 2, 0, 11);
    granted(&b, 8, 11.5);
    granted(&a, 7, 11.7);
    is_u64(c.violations, 0, "the first grant came when its lease had ended");
    check_destroy(&c);
}

static void fences(void)
{
    fresh();
    asked(&a, 1, 7, 1);
    granted(&a, 7, 2);
    ok(c.violations == 1 && says("does not grow") && says("fence 7"), "the same fence again: %s",
       c.text[0]);
    check_destroy(&c);

    fresh();
    asked(&a, 1, 0, 1);
    asked(&b, 2, 0, 1);
    granted(&a, 7, 2);
    releasing(&a, 2);
    granted(&b, 6, 3);
    ok(c.violations == 1 && says("does not grow"), "a smaller one, asked for at the same time: %s",
       c.text[0]);
    check_destroy(&c);

    fresh();
    asked(&a, 1, 0, 1);
    asked(&b, 2, 0, 1);
    granted(&a, 7, 10.5);
    releasing(&a, 10.5);
    granted(&b, 6, 11.5);
    is_u64(c.violations, 0, "it may have been granted first, its lease can have ended");
    check_destroy(&c);
}

static void order(void)
{
    fresh();
    asked(&a, 1, 0, 1);
    check_queued(&c, &key, &a);
    asked(&b, 2, 0, 2);
    granted(&b, 7, 3);
    is_u64(c.violations, 0, "who came later has a grant: not known yet whether it was first");
    releasing(&b, 3);
    granted(&a, 8, 4);
    ok(c.violations == 1 && says("not in order"), "it was: %s", c.text[0]);
    ok(says("00000000000000070123456789abcdef") && says("00000000000000080123456789abcdef"),
       "with both tokens");
    is_u64(c.places, 1, "a place was looked at");
    check_destroy(&c);

    fresh();
    asked(&a, 1, 0, 1);
    asked(&b, 2, 0, 2);
    check_queued(&c, &key, &a);
    granted(&b, 7, 3);
    releasing(&b, 3);
    granted(&a, 8, 4);
    is_u64(c.violations, 0, "b had asked before a was known to be in the queue");
    check_destroy(&c);

    fresh();
    asked(&a, 1, 0, 1);
    check_queued(&c, &key, &a);
    asked(&b, 2, 0, 2);
    granted(&b, 9, 11.5);
    releasing(&b, 11.5);
    granted(&a, 8, 11.6);
    is_u64(c.violations, 0, "the grant of a came late, but it was the first one");
    check_destroy(&c);
}

/* Three in the queue, who leave it from its middle, its end and its beginning. */
static void long_queue(void)
{
    fresh();
    asked(&a, 1, 0, 1);
    asked(&b, 2, 0, 1);
    asked(&w3, 3, 0, 1);
    check_queued(&c, &key, &a);
    check_queued(&c, &key, &b);
    check_queued(&c, &key, &w3);
    granted(&b, 1, 2);
    releasing(&b, 2);
    granted(&w3, 2, 2);
    releasing(&w3, 2);
    granted(&a, 3, 2);
    releasing(&a, 2);
    is_u64(c.violations, 0, "none is known to have come before another");
    ok(!key.first && !key.last, "the queue is empty");
    check_queued(&c, &key, &a);
    asked(&b, 2, 3, 3);
    check_queued(&c, &key, &b);
    asked(&w3, 3, 3, 3);
    granted(&w3, 4, 4);
    releasing(&w3, 4);
    granted(&a, 5, 5);
    releasing(&a, 5);
    granted(&b, 6, 5);
    is_u64(c.violations, 2, "the third passed both who were there");
    check_destroy(&c);
}

static void refused(void)
{
    fresh();
    asked(&a, 1, 0, 1);
    granted(&a, 7, 2);
    releasing(&a, 2);
    ok(check_refused(&c, &key, &a, (uint64_t)(5 * S)) && says("not kept"),
       "a release refused early: %s", c.text[0]);
    ok(!check_refused(&c, &key, &a, 11 * S), "and when the lease can have ended");
    is_u64(c.violations, 1, "only the first counts");
    check_destroy(&c);
}

static void without_end(void)
{
    fresh();
    asked(&a, 1, 0, 1);
    check_granted(&c, &key, &a, token(1), 1, 9223372036, 2 * S);
    asked(&b, 2, 0, 1);
    check_granted(&c, &key, &b, token(2), 2, UINT64_MAX, 3 * S);
    is_u64(c.violations, 1, "the longest leases are no short ones");
    for (uint64_t i = 3; i < 50; i++)
        check_granted(&c, &key, i % 2 ? &a : &b, token(i), i, LEASE, 2 * S);
    is_u64(c.violations, 48, "all are counted");
    ok(strstr(c.text[CHECK_SHOWN - 1], "two holders") != NULL, "the first ones are kept in words");
    check_destroy(&c);
}

int main(void)
{
    in_turn();
    two_holders();
    after_the_lease();
    after_a_long_wait();
    late_grant();
    fences();
    order();
    long_queue();
    refused();
    without_end();
    return done_testing();
}
