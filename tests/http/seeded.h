/*
 * tests/http/seeded.h - random numbers that can be repeated: DFLOCKD_TEST_SEED; DFLOCKD_FUZZ_RUNS
 * changes how many runs there are. And memory whose end is the end of a page: what reads behind it
 * ends the test with a signal.
 */
#ifndef TESTS_HTTP_SEEDED_H
#define TESTS_HTTP_SEEDED_H

#include "tests/tap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct seeded {
    uint64_t state;
    char *edge; /* one behind the last byte that may be read */
};

enum { SEEDED_AREA = 128 * 1024 };

static inline struct seeded seeded_begin(void)
{
    const char *wanted = getenv("DFLOCKD_TEST_SEED");
    struct seeded s = {.state = wanted ? strtoull(wanted, NULL, 10) : (uint64_t)time(NULL)};
    char *area = mmap(NULL, SEEDED_AREA + (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (area == MAP_FAILED ||
        mprotect(area + SEEDED_AREA, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE) != 0)
        bail_out("no memory");
    s.edge = area + SEEDED_AREA;
    diag("DFLOCKD_TEST_SEED=%" PRIu64, s.state);
    return s;
}

static inline unsigned seeded_runs(unsigned usual)
{
    const char *wanted = getenv("DFLOCKD_FUZZ_RUNS");

    return wanted ? (unsigned)strtoul(wanted, NULL, 10) : usual;
}

/* splitmix64: any seed will do */
static inline size_t seeded_below(struct seeded *s, size_t n)
{
    uint64_t z = s->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (size_t)((z ^ z >> 31) % n);
}

/* A copy that ends where memory does. */
static inline char *seeded_at_edge(const struct seeded *s, const void *bytes, size_t n)
{
    return memcpy(s->edge - n, bytes, n);
}

#endif
