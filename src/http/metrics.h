/*
 * http/metrics.h - /metrics: the counters of all processes, which lie in the region.
 */
#ifndef HTTP_METRICS_H
#define HTTP_METRICS_H

#include <stdint.h>

struct call;

/* Handler */
void metrics_serve(struct call *c);

/* A call has been answered. */
void metrics_count(const struct call *c, int status, uint64_t took_ns);

#endif
