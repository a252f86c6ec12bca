/*
 * bench/histogram.h - how long operations took: counts in buckets no wider than 0.1 % of the value,
 * beside what is kept exactly: number, least, greatest, sum and sum of squares.
 *
 * Pure; one thread at a time. 440 KiB, of which only the pages of values that came are touched; all
 * zeros at first. The sum of all values must fit 64 bits: in nanoseconds, 584 years.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

/* Values below 2^BITS have a bucket each, then each power of two has 2^BITS buckets. */
#define HISTOGRAM_BITS 10
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

struct histogram {
    uint64_t n;
    uint64_t min, max; /* 0 while n is 0 */
    uint64_t sum;
    unsigned __int128 squares;
    uint64_t count[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);

/* As if all values of `more` had been added to h. */
void histogram_merge(struct histogram *h, const struct histogram *more);

/* The least value that num/den of all values do not exceed, at most 0.1 % too great, never above
 * the greatest that there was. 0 if there are none. 0 < num <= den. */
uint64_t histogram_quantile(const struct histogram *h, uint32_t num, uint32_t den);

double histogram_mean(const struct histogram *h);

/* Of a sample: the squares are divided by n - 1. Exact but for the last rounding. 0 below 2 values.
 */
double histogram_stdev(const struct histogram *h);

#endif
