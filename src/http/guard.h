/*
 * http/guard.h - how much one address may have: connections, sessions, requests a second. Three caps
 * that know nothing of each other. Clients of a Unix socket have no address, and no cap.
 *
 * Memory: addresses that have something, and QUIET_MAX of those that asked a moment ago.
 */
#ifndef HTTP_GUARD_H
#define HTTP_GUARD_H

#include "net/address.h"

#include <stdbool.h>

struct call;
struct http;

int guard_init(struct http *h); /* 0 or a negative error */
void guard_tick(struct http *h); /* now and then: forgets addresses that are quiet */

/* False: 429 has been answered. */
bool guard_rate(struct call *c);

/* Connections and sessions of an address. False: it has as many as it may. */
bool guard_connect(struct http *h, const struct address *from);
void guard_disconnect(struct http *h, const struct address *from);
bool guard_session(struct http *h, const struct address *from);
/* One that there is already: it counts whatever the cap says now. */
void guard_session_kept(struct http *h, const struct address *from);
void guard_session_over(struct http *h, const struct address *from);

#endif
