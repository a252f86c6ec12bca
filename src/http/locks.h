/*
 * http/locks.h - the operations on locks and semaphores, and those that wait.
 */
#ifndef HTTP_LOCKS_H
#define HTTP_LOCKS_H

#include <stdint.h>

struct call;
struct http;

/* Handlers; the call has a key, a session and a body that was checked. */
void locks_acquire(struct call *c);
void locks_release(struct call *c);
void locks_renew(struct call *c);
void locks_enqueue(struct call *c);
void locks_wait(struct call *c);

/* Grants made by others to sessions, in the shards of `mask`. */
void locks_deliver(struct http *h, uint64_t mask);

/* The server is ending: blocked waits end with 503 `draining`. */
void locks_drain(struct http *h);

/* The region's words about fences have changed: what could not be promised may be now. */
void locks_fences(struct http *h);

#endif
