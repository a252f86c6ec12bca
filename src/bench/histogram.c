/*
 * bench/histogram.c - see histogram.h.
 */
#include "bench/histogram.h"

#include <math.h>

#define LINEAR (UINT64_C(1) << HISTOGRAM_BITS)

static uint32_t bucket_of(uint64_t value)
{
    unsigned shift;

    if (value < LINEAR)
        return (uint32_t)value;
    shift = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
    return (uint32_t)((shift + 1) * LINEAR + ((value >> shift) - LINEAR));
}

/* The greatest value of a bucket. */
static uint64_t top_of(uint32_t bucket)
{
    uint32_t octave = bucket >> HISTOGRAM_BITS;

    if (octave == 0)
        return bucket;
    /* That of the last bucket wraps to UINT64_MAX, as it must. */
    return ((bucket % LINEAR + LINEAR + 1) << (octave - 1)) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
    if (h->n == 0 || value < h->min)
        h->min = value;
    if (value > h->max)
        h->max = value;
    h->n++;
    h->sum += value;
    h->squares += (unsigned __int128)value * value;
    h->count[bucket_of(value)]++;
}

void histogram_merge(struct histogram *h, const struct histogram *more)
{
    if (more->n == 0)
        return;
    if (h->n == 0 || more->min < h->min)
        h->min = more->min;
    if (more->max > h->max)
        h->max = more->max;
    h->n += more->n;
    h->sum += more->sum;
    h->squares += more->squares;
    for (uint32_t i = bucket_of(more->min); i <= bucket_of(more->max); i++)
        h->count[i] += more->count[i];
}

uint64_t histogram_quantile(const struct histogram *h, uint32_t num, uint32_t den)
{
    uint64_t rank = (uint64_t)(((unsigned __int128)h->n * num + den - 1) / den);
    uint64_t below = 0;

    if (h->n == 0)
        return 0;
    for (uint32_t i = bucket_of(h->min); i <= bucket_of(h->max); i++) {
        below += h->count[i];
        if (below >= rank)
            return top_of(i) < h->max ? top_of(i) : h->max;
    }
    return h->max;
}

double histogram_mean(const struct histogram *h)
{
    return h->n > 0 ? (double)h->sum / (double)h->n : 0;
}

/*
 * With q and r, quotient and rest of sum / n, the sum of (x - q)^2 is squares - q sum - q r, all of
 * it whole numbers, so nothing cancels. That of (x - mean)^2 is r^2 / n less.
 */
double histogram_stdev(const struct histogram *h)
{
    uint64_t q, r;
    unsigned __int128 about_q;

    if (h->n < 2)
        return 0;
    q = h->sum / h->n;
    r = h->sum % h->n;
    about_q = h->squares - (unsigned __int128)q * h->sum - (unsigned __int128)q * r;
    return sqrt(((double)about_q - (double)r * (double)r / (double)h->n) / (double)(h->n - 1));
}
