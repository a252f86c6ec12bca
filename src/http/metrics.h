/*
 * http/metrics.h - /metrics: the counters of all processes, which lie in the region, and what the
 * table's own counts say. A scrape costs the same whatever the table holds.
 */
#ifndef HTTP_METRICS_H
#define HTTP_METRICS_H

#include "http/call.h"
#include "proto/reply.h"

struct http;

/* At the start: requests that were counted by another table of routes begin anew. */
void metrics_init(struct http *h);

/* Handler */
void metrics_serve(struct call *c);

enum { METRICS_CLIENT_LEFT = 499 }; /* as proxies count it */

/* A call has been answered, or its client has left. */
void metrics_count(const struct call *c, int status, uint64_t took_ns);

/* The word that the line protocol would have said instead of this error. */
enum reply metrics_word(enum http_error error);
/* A call will be answered with this error: limits have counters. */
void metrics_error(struct http *h, enum http_error error);

/* A connection was closed at accept because its address has as many as it may. */
void metrics_refused(struct http *h);
/* A TLS handshake has ended, well or not. */
void metrics_handshake(struct http *h, bool good);

#endif
