/*
 * serving/top.h - of many rows the first few in some order: as many are kept, never all, so that a
 * page of a large table costs a walk but no memory. Rows without what they are ordered by come last;
 * where two are equal their keys decide.
 */
#ifndef SERVING_TOP_H
#define SERVING_TOP_H

#include "serving/view.h"

enum { TOP_CURSOR_MAX = 2 * KEY_MAX + 32 }; /* its text, with the NUL */

enum top_sort {
    TOP_KEY,
    TOP_WAITERS,
    TOP_OLDEST_WAIT,
    TOP_HELD_SINCE, /* ascending: held for the longest time first */
    TOP_LEASE_LEFT,
    TOP_SORTS,
};

struct top;

/* NULL: no memory. At least one row. */
struct top *top_new(enum top_sort sort, bool descending, uint32_t limit);

/* Only rows behind that one: what top_cursor() gave for the same order. False: it is none. */
bool top_after(struct top *t, const char *cursor, size_t n);

void top_offer(struct top *t, const struct view_row *row);

/* When all have been offered: puts them in order and says how many there are. */
uint32_t top_finish(struct top *t);
const struct view_row *top_row(const struct top *t, uint32_t i);
uint64_t top_offered(const struct top *t); /* how many rows there were in all */

/* The place behind the last row; NULL: nothing comes behind it. */
const char *top_cursor(const struct top *t, char buf[TOP_CURSOR_MAX]);

void top_free(struct top *t);

/* "key", "waiters", … -1: there is no such order. */
int top_sort_of(const char *name, size_t n);
const char *top_sort_name(enum top_sort sort);
/* The way round that people mean when they do not say. */
bool top_descends(enum top_sort sort);

#endif
