/*
 * http/sessions.h - sessions: what a connection is to clients of HTTP.
 *
 * A session is a connection slot behind max_conns (shm/conns.h) that outlives TCP connections and
 * this process. Private and lost with the process: which of its requests are in flight.
 */
#ifndef HTTP_SESSIONS_H
#define HTTP_SESSIONS_H

#include <stdbool.h>
#include <stdint.h>

struct call;
struct http;

int sessions_init(struct http *h); /* 0 or -ENOMEM */

/* A predecessor's: their leases are extended by `gap` ns; what its requests waited for is given up,
   places in a queue that `enqueue` made stay. Without listening sockets (HTTP was switched off) they
   end, as lost by the server: sessions_turn() ends the process after the last. */
void sessions_take_over(struct http *h, uint64_t gap);

/* This process did not run: their leases are extended by that. */
void sessions_extend(struct http *h, uint64_t gap);

/* Now and then: ends those that have been idle for too long; while the server drains, all that hold
   nothing and have nothing in flight. */
void sessions_tick(struct http *h);

/* Those that are ending, in bounded steps; true: there is more to do. */
bool sessions_turn(struct http *h);

/* The slot of a session by the text of its id. 0: unknown; -1: malformed. */
int64_t sessions_find(const struct http *h, const char *id, uint64_t len);

/* No session has a slot above. */
uint32_t sessions_top(const struct http *h);

/* A request of the session begins and ends. */
void sessions_enter(struct http *h, struct call *c);
void sessions_leave(struct http *h, struct call *c);

/* Its cleanup, as that of a disconnect: waits in flight end with 410 first. */
void sessions_drop(struct http *h, uint32_t slot, const char *why);

/* Handlers */
void sessions_new(struct call *c);
void sessions_end(struct call *c);
void sessions_ping(struct call *c);

#endif
