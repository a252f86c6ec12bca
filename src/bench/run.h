/*
 * bench/run.h - a whole run: the drivers, each in a thread, stage by stage.
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "bench/options.h"
#include "bench/report.h"

/* Returns the exit status. *r is filled if `finished` says so: the measurement came to its end, or
 * was interrupted. Messages go to standard error. */
int run(const struct settings *s, struct result *r, bool *finished);

#endif
