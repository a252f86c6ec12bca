/*
 * worker/report.h - what a long answer says: the JSON of stats, list and show, made in bounded
 * steps, one shard's lock at a time, so that a large table disturbs nobody.
 */
#ifndef WORKER_REPORT_H
#define WORKER_REPORT_H

#include "worker/worker.h"

struct report;

/* Once, before the sandbox: jansson would open a file for the seed of its hashes. */
int report_init(void);

/* For a whole request of one of the three verbs. NULL: no memory. */
struct report *report_begin(struct worker *w, const struct request *req);

/* One bounded step; true when the report is whole (or has failed). */
bool report_step(struct worker *w, struct report *r);

/* Bytes of a whole report, the reply's `ok ` and its LF included; 0: it failed (no memory, no such
   resource, a cursor that is none): answer `error`. */
uint64_t report_size(const struct report *r);

/* Copies at most `room` bytes from offset `at` on; returns how many. */
size_t report_read(const struct report *r, uint64_t at, char *out, size_t room);

void report_free(struct report *r);

#endif
