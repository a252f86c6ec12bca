/*
 * bench/report.h - what dflock-bench says: while it runs, and at the end.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/histogram.h"
#include "bench/options.h"

#include <stdbool.h>
#include <stdint.h>

struct result {
    struct histogram latency;
    uint64_t wall_ns;
    uint64_t requests;
    uint64_t grants, places, violations; /* of the check; over all stages */
    int interrupted;                     /* by this signal, or 0 */
};

/* The line above the results, before the load begins: text only. */
void report_begins(const struct settings *s);

/* The results, on standard output; 0 or -errno of writing them. */
int report_result(const struct settings *s, const struct result *r);

/* A line on standard error that replaces the one before; nothing if that is no terminal. `seconds`
 * since the measurement began. */
void report_progress(double seconds, uint64_t done);
void report_progress_ends(void);

#endif
