/*
 * http/body.h - what the body of a request says: one JSON object of known fields. Pure but for the
 * memory that jansson takes.
 */
#ifndef HTTP_BODY_H
#define HTTP_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BODY_MAX = 1 << 20,   /* bytes */
    BODY_TOKEN_MAX = 256, /* of `token` */
    BODY_LIMIT_MAX = 1048576,
    BODY_WHY = 256, /* bytes of a reason, the NUL included */
};

#define BODY_SECONDS_MAX INT64_C(9223372036) /* what fits in ns, as in the line protocol */

/* Absent numbers are 0. */
struct body {
    int64_t acquire_timeout_s, timeout_s, lease_ttl_s;
    int64_t limit;
    char token[BODY_TOKEN_MAX + 1];
    size_t token_len;
};

/*
 * `fields`: those that it may have, FIELD_… of routes.h; all others are errors, and so are a wrong
 * type, a duplicate, bytes behind the object, a number out of its range, no token where there must
 * be one. False with a reason for the client: which field, and what is wanted; or where it is no
 * JSON. Part of it may be the client's own text, cut, in UTF-8. An empty reason: there is no memory,
 * which is not the client's fault. No bytes at all may be NULL.
 */
bool body_parse(const char *bytes, size_t n, unsigned fields, struct body *out, char why[BODY_WHY]);

#endif
