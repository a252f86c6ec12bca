/*
 * http/listing.h - which resources a query asks for, in which order. Pure.
 */
#ifndef HTTP_LISTING_H
#define HTTP_LISTING_H

#include "http/path.h"
#include "serving/top.h"
#include "serving/view.h"

enum { LISTING_LIMIT = 100, LISTING_LIMIT_MAX = 1000 };

struct listing {
    struct view_filter filter;
    uint32_t limit;
    bool sorted, descending;
    enum top_sort sort;
    char cursor[TOP_CURSOR_MAX];
    uint32_t cursor_len; /* 0: from the start */
};

/*
 * kind, prefix, contains, state, sort, order, cursor, limit; all may be absent, and what is empty is
 * absent. `others`: names that the query may have too, separated by blanks. False: *why is for the
 * client, static; `out` is then undefined.
 */
bool listing_parse(const struct path *path, const char *others, struct listing *out,
                   const char **why);

/* "held", "waiting", "idle", "any", or NULL. */
const char *listing_state_name(unsigned states);

#endif
