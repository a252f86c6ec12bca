/*
 * serving/report.h - what a long answer says: the JSON of stats, list and show, made in bounded steps.
 * The same for all protocols but for what is before it.
 */
#ifndef SERVING_REPORT_H
#define SERVING_REPORT_H

#include "serving/top.h"
#include "serving/view.h"

enum report_what { REPORT_STATS, REPORT_LIST, REPORT_SHOW };

enum report_fault {
    REPORT_FINE = 0,
    REPORT_NO_MEMORY,
    REPORT_NOT_FOUND,  /* no such resource */
    REPORT_LOST,       /* its shard is beyond repair */
    REPORT_BAD_CURSOR, /* it is none, or one of another order */
};

struct report_query {
    enum report_what what;
    const char *head; /* before the object; static */
    /* SHOW */
    enum kind kind;
    const char *key;
    uint32_t key_len;
    /* LIST */
    struct view_filter filter;
    uint32_t limit;     /* resources, at least one */
    const char *cursor; /* NULL: from the start */
    size_t cursor_len;
    bool details; /* who holds each, since when; where to look for the rest */
    bool sorted;  /* the first `limit` of all in an order; else as they lie in the table */
    enum top_sort sort;
    bool descending;
};

struct report;

/* Once, before the sandbox: jansson would open a file for the seed of its hashes. */
int report_init(void);

/* What the query points to may go afterwards. NULL: no memory. */
struct report *report_begin(struct shared *sh, const struct report_query *q, uint64_t now);

/* One bounded step; true when the report is whole (or has failed). */
bool report_step(struct shared *sh, struct report *j, uint64_t now);

/* Of a whole one: why it says nothing. */
enum report_fault report_fault(const struct report *j);

/* Bytes of a whole report, head and LF included; 0: it has a fault. */
uint64_t report_size(const struct report *j);

/* Copies at most `room` bytes from offset `at` on; returns how many. */
size_t report_read(const struct report *j, uint64_t at, char *out, size_t room);

/* The same without a copy: its i-th piece, which may be empty. NULL: there are no more. */
const char *report_piece(const struct report *j, unsigned i, size_t *n);

void report_free(struct report *j);

#endif
