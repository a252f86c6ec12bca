/*
 * client/claim.h - the life of one claim to a lock or a semaphore's slot: asked for, queued, held,
 * renewed over as many connections as it takes, given back or lost. A state machine that never
 * blocks: a blocking call, an event loop of the caller's and the engine drive the same one.
 *
 * One thread at a time: its owner locks. `now` is clock_boottime_ns(), read before the call.
 *
 * The lease is counted from when it was asked for, that is before the request was sent. A grant
 * that was waited for (2 s, or a quarter of its lease) began at the server when it was delivered, which nobody here can know: it may
 * have been under way for long, or this process was stopped. So it counts only once it has been
 * renewed, and so does the grant of a first phase in the second.
 *
 * The server releases what a connection holds when it sees it end, which may be long after this
 * side saw it (a cable, a firewall). So for a while after a reconnection renewals come every
 * second.
 */
#ifndef CLIENT_CLAIM_H
#define CLIENT_CLAIM_H

#include "client/channel.h"

#include <stdbool.h>
#include <stdint.h>

enum claim_state {
    CLAIM_IDLE,
    CLAIM_ASKING, /* for the lock, a place in the queue, or the lock after that */
    CLAIM_QUEUED,
    CLAIM_HELD,
    CLAIM_RELEASING, /* for its user, or because a grant came too late for him */
    CLAIM_LOST,
    CLAIM_STATES
};

enum claim_ask { ASK_ACQUIRE, ASK_ENQUEUE, ASK_WAIT, ASK_RENEW, ASK_RELEASE };

/* A request whose reply is outstanding. */
struct claim_request {
    enum claim_ask what;
    bool void_;   /* nobody wants to know */
    bool certain; /* "error" means what it says, not that the server found the connection idle */
};

struct claim {
    /* Its owner's, unchanged while it lives; `to`: before a connection is needed. */
    const struct dflock_options *o;
    const struct addr *server;
    const char *key;
    uint32_t limit; /* 0: a lock */
    const struct addr_list *to;

    enum claim_state state;

    /* The call under way, and what came of the last. */
    bool working, done;
    int result;
    struct failure why;

    /* The connection. */
    struct channel *channel;
    bool linked; /* dialled, and not known to have ended */
    bool ready;  /* connected; requests have been sent */
    bool owning; /* what is held was granted over this one */
    unsigned dials;
    struct claim_request requests[3];
    size_t nrequests;
    bool again; /* there is something to send */

    /* Asking. */
    enum claim_ask asking;
    double timeout;
    bool may_redial; /* the connection is an older one: perhaps the server has closed it */
    uint64_t asked_at;
    uint64_t deadline; /* of asking and releasing */

    /* The lock: kept after its end. */
    char token[33];
    uint64_t fence, lease; /* seconds */

    /* Held. */
    bool unsure;      /* not before it has been renewed */
    bool first_phase; /* enqueue had it at once: wait may follow */
    uint64_t end;
    bool renewing;
    uint64_t renew_at;   /* when to begin, or begin again */
    uint64_t sent;       /* of the renewal under way */
    uint64_t give_up_at; /* this attempt */
    uint64_t tried_at, pause;
    uint64_t suspect_until; /* the server may still see a former connection end */
    struct failure trouble; /* of the last attempt */
    uint64_t random;

    /* Releasing. */
    bool giving_back;
    uint64_t retry_at;

    /* Lost. */
    struct failure loss;
    bool lost_now; /* set with it, cleared by who tells of it */
};

/* `limit` 0: a lock. The options and strings must outlive it. */
void claim_init(struct claim *c, const struct dflock_options *o, const struct addr *server,
                const char *key, uint32_t limit);
void claim_free(struct claim *c);

/* 0: begun, claim_step() goes on until c->done; then c->result is what the call returns, with the
   reason in c->why if that is negative. Otherwise an error (and c->why), and nothing was begun. */
int claim_start_acquire(struct claim *c, uint64_t now);
int claim_start_enqueue(struct claim *c, uint64_t now);
int claim_start_wait(struct claim *c, double timeout, uint64_t now);
int claim_start_release(struct claim *c, uint64_t now);

/* The call under way, or one that has just ended and whose result nobody has seen, will come to
   `code`: what it got is given back first, for which it is stepped on until c->done. */
void claim_abandon(struct claim *c, int code, const char *why, uint64_t now);

/* Does what is to be done and can be done now. */
void claim_step(struct claim *c, uint64_t now);

/* When claim_step() must be called at the latest, UINT64_MAX: never; besides that when the socket
   of claim_fd() (-1: none) has what claim_events() asks for. */
uint64_t claim_deadline(const struct claim *c);
int claim_fd(const struct claim *c);
short claim_events(const struct claim *c);

bool claim_is_held(const struct claim *c, uint64_t now);

/* Ends it at once, whatever it is doing: what is held is given back by a last message, if one can
   be sent, and by the end of the connection. */
void claim_close(struct claim *c, uint64_t now);

#endif
