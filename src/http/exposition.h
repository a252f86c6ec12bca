/*
 * http/exposition.h - counters as text: Prometheus' text format 0.0.4.
 */
#ifndef HTTP_EXPOSITION_H
#define HTTP_EXPOSITION_H

#include "shm/region.h"

struct evbuffer;
struct http;

/* Everything that /metrics says. False: no memory. */
bool exposition_write(struct http *h, struct evbuffer *out);

/* Where requests that were answered with this status are counted. */
unsigned exposition_status(int status);

#endif
