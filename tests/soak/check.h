/*
 * tests/soak/check.h - what the checker knows: checker.c reads a history and follows each
 * connection, judge.c judges each reply, keys.c what happened to each key when all is read.
 *
 * Nothing here knows the server. Each rule uses only facts that are certain:
 *   - a request is executed between its sending and the receipt of its reply;
 *   - a hold surely lasts from the receipt of the grant to the sending of the release that was
 *     answered ok; of a hold that was never released, to the earliest end that its lease can have,
 *     or to the moment its connection was about to end;
 *   - a hold has surely ended when a release or renew of it has been answered, or its lease plus
 *     all that may extend it has passed, or its connection has been closed for "soon";
 *   - an enqueued request is surely in the queue when `queued` has been received.
 * "Soon" is the only bound of time that is not the protocol's: SOON, plus each moment in which the
 * client did not run, plus HANG for each worker that was stopped meanwhile.
 */
#ifndef TESTS_SOAK_CHECK_H
#define TESTS_SOAK_CHECK_H

#include "history.h"

#define SOON (12 * NS_PER_SEC)
#define HANG (3 * NS_PER_SEC)
#define DEFAULT_LEASE 33
#define NEVER UINT64_MAX

enum outcome {
    WAITING, /* no answer yet, or `queued` */
    GRANTED,
    TIMED_OUT,
    REFUSED, /* an error, or the lease ended before the client waited for it */
    GONE,    /* the client, or a half-close, ended it */
    LOST,    /* the server ended its connection */
};

/* A wish for a slot, from l or e to its end. */
struct want {
    uint32_t key, conn;
    uint32_t next; /* of the connection */
    enum outcome outcome;
    bool two_phase, acquired, half, released, refused;
    uint64_t line;
    uint64_t sent, wait_sent; /* l, e; w */
    uint64_t queued;          /* receipt of `queued`, or 0 */
    uint64_t timeout;         /* in ns */
    uint64_t received;        /* receipt of the grant */
    uint64_t ended;           /* receipt of another answer; the end of the connection */
    uint64_t fence, salt;
    uint64_t floor;        /* highest fence received before it was sent */
    uint64_t lease;        /* in ns, the last one granted */
    uint64_t lease_seen;   /* receipt of the answer that granted that */
    uint64_t lease_from;   /* earliest end of the lease */
    uint64_t release_sent; /* of the first, or NEVER */
    uint64_t held_until;   /* sending of the release that was answered ok, or 0 */
    uint64_t gone;         /* its connection is about to end, or NEVER */
    uint64_t over;         /* receipt of what says that it is held no more, or NEVER */
};

struct key {
    char *name; /* with the kind before it */
    uint64_t limit;
};

/* A request that is to be answered. */
struct pending {
    enum cmd cmd;
    uint64_t line, sent, timeout, lease, bound; /* bound: the lease's earliest end before a renew */
    uint32_t want;
};

/* checker.c */
extern struct want *wants;
extern uint32_t wants_n;                 /* the first is no want */
extern uint64_t line_n, grants, highest; /* highest: fence that was received */
extern unsigned long violations;

/* tables.c */
extern struct key *keys;
extern uint32_t keys_n;
void *grow(void *p, size_t n, size_t size);
void broken(const char *what) __attribute__((noreturn)); /* not a history */
uint32_t find_key(enum cmd cmd, const char *name, uint64_t limit);
uint32_t *find_fence(uint64_t fence); /* the want that has it, or where it would be */
void away(uint64_t t, uint64_t cost); /* something did not run: "soon" is later by so much */
void object(const char *rule, uint64_t line, uint64_t t, uint32_t conn, const char *key,
            const char *fmt, ...) __attribute__((format(printf, 6, 7)));
uint64_t late(uint64_t t);  /* what follows from something at t has happened by then */
uint64_t early(uint64_t t); /* what led to something at t had not happened before */

/* judge.c */
bool parse_token(const char *s, uint64_t *fence, uint64_t *salt);
const char *key_name(uint32_t want);
bool answered(const struct event *ev, const struct pending *p); /* false: not of this command */

/* keys.c */
void check_keys(void);

#endif
