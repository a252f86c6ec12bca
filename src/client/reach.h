/*
 * client/reach.h - the way to a server, which never blocks: a socket for one of its addresses after the
 * other until one connects, then TLS. What is said over it is its owner's.
 *
 * One thread at a time.
 */
#ifndef CLIENT_REACH_H
#define CLIENT_REACH_H

#include "client/addr.h"
#include "client/options.h"
#include "client/transport.h"

#include <stdbool.h>
#include <stdint.h>

struct reach {
    struct transport t;
    const struct dflock_options *o;
    const struct addr *name;
    const struct addr_list *to;
    size_t at;              /* which of `to` is tried */
    uint64_t until;         /* of all of it */
    uint64_t attempt_until; /* of this address, if there are more */
    bool connected;         /* and shaking hands */
    struct failure attempt; /* why the last address did not do */
};

/* No socket. The options must outlive it. */
void reach_init(struct reach *r, const struct dflock_options *o);

/* Until the options' connect timeout from `now` (clock_boottime_ns()) has passed. `name` and `to` must
   outlive the connection. There must be no socket. */
void reach_begin(struct reach *r, const struct addr *name, const struct addr_list *to, uint64_t now);

/* 0: it is made, r->t is to be used; TRANSPORT_AGAIN: see `wants`; or an error with its reason in *f. */
int reach_step(struct reach *r, uint64_t now, struct failure *f);

/* When reach_step() must be called at the latest while it is not made. */
uint64_t reach_deadline(const struct reach *r);

/* Closes the socket. `reset`: a FIN could be misunderstood: as that of a client that has nothing more
   to say and still waits. */
void reach_close(struct reach *r, bool reset);

#endif
