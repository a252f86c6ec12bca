/*
 * tests/serving/offenders_test.c - serving/offenders: how long whose answers are held back, what is one
 * address, what is forgotten, and that a crowd of addresses finds room for what it may have and no more.
 */
#include "serving/offenders.h"

#include "base/clock.h"
#include "tests/tap.h"

#include <arpa/inet.h>
#include <string.h>

static struct region *r;
static uint64_t now = 1000 * NS_PER_SEC;

static struct address address(int family, const char *text)
{
    struct address a = {.family = (uint8_t)family, .port = (uint16_t)(now % 50000)};

    if (family != AF_UNIX)
        inet_pton(family, text, a.addr);
    return a;
}

/* ms */
static uint64_t fails(int family, const char *text)
{
    struct address a = address(family, text);

    now += 7 * NS_PER_MS;
    return offenders_failed(r, &a, now) / NS_PER_MS;
}

static void schedule(void)
{
    static const uint64_t want[] = {0, 0, 0, 100, 200, 400, 800, 1600, 3200, 4000, 4000};

    for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++)
        is_u64(fails(AF_INET, "192.0.2.1"), want[i], "failure %u", i + 1);
    for (unsigned i = 0; i < 1000; i++)
        fails(AF_INET, "192.0.2.1");
    is_u64(fails(AF_INET, "192.0.2.1"), 4000, "%s", "192.0.2.1");
    is_u64(fails(AF_INET, "192.0.2.2"), 0, "%s", "192.0.2.2");
}

static void one_address(void)
{
    for (unsigned i = 0; i < 3; i++)
        is_u64(fails(AF_INET6, "2001:db8:1:2::1"), 0, "%s", "2001:db8:1:2::1");
    is_u64(fails(AF_INET6, "2001:db8:1:2:ffff::9"), 100, "%s", "2001:db8:1:2:ffff::9");
    is_u64(fails(AF_INET6, "2001:db8:1:3::1"), 0, "%s", "2001:db8:1:3::1");
    for (unsigned i = 0; i < 3; i++)
        is_u64(fails(AF_UNIX, "one"), 0, "%s", "one");
    is_u64(fails(AF_UNIX, "another"), 100, "%s", "another");
    is_u64(fails(AF_INET, "0.0.0.0"), 0, "%s", "0.0.0.0");
}

static void forgotten(void)
{
    for (unsigned i = 0; i < 4; i++)
        fails(AF_INET, "198.51.100.1");
    now += (OFFENDERS_FORGET_S - 1) * NS_PER_SEC;
    is_u64(fails(AF_INET, "198.51.100.1"), 200, "%s", "198.51.100.1");
    now += (OFFENDERS_FORGET_S + 1) * NS_PER_SEC;
    is_u64(fails(AF_INET, "198.51.100.1"), 0, "%s", "198.51.100.1");
    /* A clock that another process read later. */
    now -= 3 * NS_PER_SEC;
    is_u64(fails(AF_INET, "198.51.100.1"), 0, "%s", "198.51.100.1");
}

/* Words that a crash has written over say something, and that is all. */
static void any_words(void)
{
    uint64_t x = 88172645463325252u;
    bool good = true;

    for (unsigned i = 0; i < OFFENDERS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        r->offenders[i] = x;
    }
    for (unsigned i = 0; i < 1000; i++) {
        struct address a = {.family = AF_INET, .addr = {10, 0, (uint8_t)(i >> 8), (uint8_t)i}};

        good = good && offenders_failed(r, &a, now) <= OFFENDERS_MOST_MS * NS_PER_MS;
    }
    ok(good, "delays by words that are none");
    memset(r->offenders, 0, sizeof(r->offenders));
}

/* Who goes on failing is known among many who fail now and then, wherever the hash puts it; nearly all. */
static void crowd(void)
{
    enum { INSISTENT = 20 };
    uint64_t last[INSISTENT] = {0};
    unsigned known = 0, late = 0;

    memset(r->offenders, 0, sizeof(r->offenders));
    for (uint32_t i = 0; i < 100000; i++) {
        struct address a = {.family = AF_INET};

        memcpy(a.addr, &i, sizeof(i));
        now += NS_PER_MS;
        offenders_failed(r, &a, now);
        for (unsigned k = 0; k < INSISTENT && i % 100 == 0; k++) {
            struct address again = {.family = AF_INET, .addr = {203, 0, 113, (uint8_t)k}};

            last[k] = offenders_failed(r, &again, now);
        }
    }
    for (unsigned k = 0; k < INSISTENT; k++)
        late += last[k] == OFFENDERS_MOST_MS * NS_PER_MS;
    ok(late >= INSISTENT - 4, "%u of %u that fail again and again, among 100,000", late, INSISTENT);
    for (unsigned i = 0; i < OFFENDERS; i++)
        known += r->offenders[i] != 0;
    is_u64(known, OFFENDERS, "addresses that are known");
}

int main(void)
{
    struct region_limits limits = {.max_locks = 64, .max_conns = 8};
    int err;

    r = region_create(&limits, &err);
    if (!r)
        bail_out("no region: %d", err);
    schedule();
    one_address();
    forgotten();
    any_words();
    crowd();
    region_destroy(r);
    return done_testing();
}
