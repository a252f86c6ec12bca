/*
 * http/polls.h - requests on locks that are not answered at once.
 *
 * Those of one session run one after another: while one waits the others stand in line behind it, in
 * order; but release and renew never do. A request waits for its turn in that line, for a grant (a
 * long poll: its session is PHASE_BLOCKED in the region), or until more may be promised (fences.h).
 * What waited for its turn or a promise is served again by its handler.
 */
#ifndef HTTP_POLLS_H
#define HTTP_POLLS_H

#include <stdbool.h>
#include <stdint.h>

struct call;
struct http;

int polls_init(struct http *h); /* 0 or -ENOMEM */

/* Whether it is this request's turn. False: it is in line, and will be served again. */
bool polls_turn(struct call *c);

/* Nothing may be promised to it now: it will be served again when that has changed. */
void polls_starve(struct call *c);

/* op_block() was in its transaction, which is over: it is answered when it is granted, or at the end
   of its time. */
void polls_block(struct call *c);

/* It has been answered: the next in line is served. */
void polls_done(struct http *h, struct call *c);

/* The session is gone: whatever waits hears 410. */
void polls_end(struct http *h, uint32_t slot);

/* The session's request that waits for a grant was a dead process's. */
void polls_lost(struct http *h, uint32_t slot);

/* Grants made by others to sessions, in the shards of `mask`. */
void polls_deliver(struct http *h, uint64_t mask);

/* The server is ending: waits for a grant end with 503 `draining`. */
void polls_drain(struct http *h);

/* The region's words about fences have changed: what could not be promised may be now. */
void polls_fences(struct http *h);

/* Now and then. */
void polls_tick(struct http *h);

#endif
