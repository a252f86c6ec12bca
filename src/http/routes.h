/*
 * http/routes.h - which request means what. Pure but for the handlers' names.
 */
#ifndef HTTP_ROUTES_H
#define HTTP_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct call;
struct path;

/* As bits, so that a path's can be collected. OTHER: known to libevent, served nowhere. */
enum http_method {
    METHOD_GET = 1,
    METHOD_POST = 2,
    METHOD_DELETE = 4,
    METHOD_HEAD = 8,
    METHOD_OPTIONS = 16,
    METHOD_OTHER = 32,
};
enum { METHODS = 6 };

enum route_flag {
    ROUTE_OPEN = 1,      /* needs no authentication */
    ROUTE_UNLIMITED = 2, /* no rate limit */
    ROUTE_BASIC = 4,     /* takes HTTP Basic, too: a browser can ask its user */
    ROUTE_SESSION = 8,   /* needs X-Dflockd-Session */
    ROUTE_LOCK = 16,     /* {key} is of a lock, */
    ROUTE_SEM = 32,      /* or of a semaphore */
    ROUTE_BODY_MAY_LACK = 64, /* no body stands for {} */
};

/* What a body may have: see body.h. */
enum body_field {
    FIELD_ACQUIRE_TIMEOUT = 1,
    FIELD_TIMEOUT = 2,
    FIELD_LEASE = 4,
    FIELD_LIMIT = 8,
    FIELD_TOKEN = 16,
};

enum route_id {
#define ROUTE(id, ...) ROUTE_ID_##id,
#include "http/routes.def"
#undef ROUTE
    ROUTE_COUNT, /* also the index of "unmatched" in statistics */
};

typedef void route_handler(struct call *c);

struct route {
    enum http_method method;
    const char *template;
    unsigned flags, fields;
    route_handler *serve;
    const char *summary;
};

extern const struct route route_table[ROUTE_COUNT];

/*
 * The route of a path for a method: HEAD finds GET's. NULL: there is none; then *allow has the methods
 * that the path has (0: there is no such path), HEAD and OPTIONS included. *any is a route of that path
 * whatever the method, for the label of the metrics; NULL: none.
 */
const struct route *routes_find(const struct path *path, enum http_method method, unsigned *allow,
                                const struct route **any);

/* The path's segment that stands for {name} in the template, e.g. "key". -1: it has none. */
int routes_param(const struct route *route, const char *name);

/* "GET, HEAD, OPTIONS", for Allow. */
const char *routes_methods_text(unsigned methods, char *buf, size_t n);
const char *routes_method_name(enum http_method method);

#endif
