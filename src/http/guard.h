/*
 * http/guard.h - who may ask, and how often: CORS, rate limit, authentication. In this order, before
 * routing; counting is between the first two (call.c).
 */
#ifndef HTTP_GUARD_H
#define HTTP_GUARD_H

#include "http/link.h"

struct call;
struct guard;
struct http;

int guard_init(struct http *h); /* 0 or -ENOMEM */
void guard_adjust(struct http *h); /* other settings */
void guard_tick(struct http *h);   /* now and then: forgets addresses that are quiet */

/* Adds CORS headers to the answer; true: it was a preflight, and has been answered. */
bool guard_cors(struct call *c);
/* False: 429 has been answered. */
bool guard_rate(struct call *c);
/* False: it will be answered with 401, 100 ms from now. */
bool guard_auth(struct call *c);

/* Connections and sessions of an address. False: it has as many as it may. */
bool guard_connect(struct http *h, const struct address *from);
void guard_disconnect(struct http *h, const struct address *from);
bool guard_session(struct http *h, const struct address *from);
void guard_session_over(struct http *h, const struct address *from);

#endif
