/*
 * tests/loadgen/histogram_test.c - quantiles against a sorted list, the standard deviation against
 * its definition, the ends of the range.
 */
#include "bench/histogram.h"

#include "tests/tap.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct histogram h, other;

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void fill(const uint64_t *values, size_t n)
{
    memset(&h, 0, sizeof(h));
    for (size_t i = 0; i < n; i++)
        histogram_add(&h, values[i]);
}

static double plain_stdev(const uint64_t *values, size_t n)
{
    long double mean = 0, sum = 0;

    for (size_t i = 0; i < n; i++)
        mean += (long double)values[i] / (long double)n;
    for (size_t i = 0; i < n; i++)
        sum += ((long double)values[i] - mean) * ((long double)values[i] - mean);
    return (double)sqrtl(sum / (long double)(n - 1));
}

/* Values of all sizes below 2^bits. */
static void against_a_list(unsigned bits)
{
    enum { N = 5000 };
    static const struct {
        uint32_t num, den;
    } quantiles[] = {{1, 2}, {9, 10}, {99, 100}, {999, 1000}, {1, 1000}, {1, 1}};
    static uint64_t values[N];
    uint64_t state = 88172645463325252u + bits;

    for (size_t i = 0; i < N; i++)
        values[i] = next_random(&state) >> (64 - bits + next_random(&state) % bits);
    fill(values, N);
    qsort(values, N, sizeof(values[0]), by_value);
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        uint64_t exact =
            values[(N * quantiles[i].num + quantiles[i].den - 1) / quantiles[i].den - 1];
        uint64_t got = histogram_quantile(&h, quantiles[i].num, quantiles[i].den);

        ok(got >= exact && got - exact <= exact / 1000,
           "%u bits: %u/%u of the values are at most "
           "%" PRIu64 ", said is %" PRIu64,
           bits, quantiles[i].num, quantiles[i].den, exact, got);
    }
    is_u64(h.min, values[0], "%u bits: the least", bits);
    is_u64(h.max, values[N - 1], "%u bits: the greatest", bits);
    ok(fabs(histogram_stdev(&h) / plain_stdev(values, N) - 1) < 1e-12, "%u bits: the deviation",
       bits);
}

static void ends(void)
{
    static const uint64_t few[] = {0, 1023, 1024, 2047, 2048, UINT64_MAX};

    memset(&h, 0, sizeof(h));
    is_u64(histogram_quantile(&h, 1, 2), 0, "no values");
    ok(histogram_mean(&h) == 0 && histogram_stdev(&h) == 0, "no mean, no deviation");
    for (size_t i = 0; i < sizeof(few) / sizeof(few[0]); i++) {
        fill(&few[i], 1);
        is_u64(histogram_quantile(&h, 1, 2), few[i], "only %" PRIu64, few[i]);
        is_u64(h.min, few[i], "it is the least");
    }
    ok(histogram_stdev(&h) == 0, "one value does not deviate");
}

/* Large values that are nearly alike: what is computed from sums of squares loses everything. */
static void deviation_is_exact(void)
{
    static const uint64_t alike[] = {UINT64_C(1) << 50, (UINT64_C(1) << 50) + 2,
                                     (UINT64_C(1) << 50) + 4};

    fill(alike, 3);
    ok(histogram_stdev(&h) == 2, "2^50, 2^50 + 2, 2^50 + 4 deviate by 2");
    fill((const uint64_t[]){1, 2, 4}, 3);
    ok(fabs(histogram_stdev(&h) - sqrt(7.0 / 3)) < 1e-15, "1, 2, 4 by the root of 7/3");
    ok(fabs(histogram_mean(&h) - 7.0 / 3) < 1e-15, "with a mean of 7/3");
}

static void merged(void)
{
    fill((const uint64_t[]){5, 700000, 12}, 3);
    other = h;
    fill((const uint64_t[]){3, 9000000000}, 2);
    histogram_merge(&h, &other);
    is_u64(h.n, 5, "of both");
    is_u64(h.min, 3, "the least of both");
    is_u64(h.max, 9000000000, "the greatest of both");
    is_u64(histogram_quantile(&h, 1, 2), 12, "the median of both");
    ok(fabs(histogram_stdev(&h) / plain_stdev((const uint64_t[]){5, 700000, 12, 3, 9000000000}, 5) -
            1) < 1e-12,
       "the deviation of both");
    memset(&other, 0, sizeof(other));
    histogram_merge(&other, &h);
    is_u64(other.min, 3, "into an empty one");
    memset(&h, 0, sizeof(h));
    histogram_merge(&other, &h);
    is_u64(other.n, 5, "an empty one changes nothing");
}

int main(void)
{
    for (unsigned bits = 8; bits <= 50; bits += 7)
        against_a_list(bits);
    ends();
    deviation_is_exact();
    merged();
    return done_testing();
}
