/*
 * http/path.h - the target of a request: its path in segments, percent-decoded one by one, so that
 * %2F is part of a segment; and its query. Pure.
 */
#ifndef HTTP_PATH_H
#define HTTP_PATH_H

#include <stdbool.h>
#include <stddef.h>

enum { PATH_SEGMENTS = 6, PATH_BYTES = 16384 };

struct path {
    unsigned n; /* segments; "/" has none. More than PATH_SEGMENTS: PATH_SEGMENTS + 1 */
    struct {
        const char *at; /* not terminated: any byte may be in it */
        size_t len;
        bool bad; /* a % that is not followed by two hexadecimal digits */
    } seg[PATH_SEGMENTS];
    const char *query; /* behind the ?, raw; "" = none */
    char bytes[PATH_BYTES];
};

/* False: no path at all (it begins neither with / nor with http://host), or too long. */
bool path_parse(struct path *p, const char *target);

/*
 * The value of the first parameter of this name, decoded (+ is a space), into buf. Its length; -1: it
 * is not there; -2: it is malformed or longer than n.
 */
int path_query(const struct path *p, const char *name, char *buf, size_t n);

#endif
