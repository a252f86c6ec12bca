/*
 * tests/soak/client.h - the load of the soak: soak.c moves bytes, timers and connections and
 * writes the history; script.c decides what a connection does next.
 */
#ifndef TESTS_SOAK_CLIENT_H
#define TESTS_SOAK_CLIENT_H

#include "history.h"

enum { ASKS = 16, HOLDS = 16, OUT = 2048, LINE = 96 };

struct key {
    char name[40];  /* empty: none */
    unsigned limit; /* 0: a lock */
    bool hot;
};

struct ask {
    enum cmd cmd;
    struct key key;
    unsigned lease;
};

struct hold {
    struct key key;
    char token[33];
    unsigned lease;   /* 0: the server's default */
    unsigned renewed; /* how often */
    bool acquired;    /* by e, and w was not sent: another e would be refused */
};

/* What a connection's timer is for. */
enum then {
    THEN_NOTHING,
    THEN_BEGIN, /* nothing to do: the script may begin something */
    THEN_REST,  /* write what is left of a request */
    THEN_WAIT,  /* the second half of two-phase */
    THEN_RENEW,
    THEN_RELEASE,
    THEN_LEAVE, /* end it, whatever it is doing */
    THEN_HALF,  /* half-close behind a blocked request */
};

struct conn {
    struct conn *next, *prev; /* in a list of timers, or of those that are ready */
    enum then then;
    int fd;
    unsigned id;
    bool connecting, half;
    unsigned asked_at, asked_n;
    struct ask asked[ASKS];
    unsigned held;
    struct hold holds[HOLDS];
    struct key queued; /* e said so, and w was not sent yet */
    unsigned queued_lease;
    size_t out_at, out_n, line_n;
    char out[OUT], line[LINE];
    char last; /* of a line longer than LINE */
};

/* soak.c */
extern unsigned long long count_grants;
extern uint64_t highest_fence;
extern unsigned round_n;
unsigned chance(unsigned n); /* 0 … n-1 */
bool percent(unsigned n);
void loop_timer(struct conn *c, enum then then, unsigned ms);
void loop_ask(struct conn *c, enum cmd cmd, const struct key *key, const char *arg, unsigned lease);
void loop_send(struct conn *c);                   /* what was asked, perhaps in pieces */
void loop_half_close(struct conn *c);             /* with what is not sent yet in one segment */
void loop_leave(struct conn *c, bool reset);      /* and makes a new one in its place */
struct conn *loop_idle(const struct conn * not ); /* some connection that does nothing, or NULL */
bool loop_draining(void);

/* script.c */
void script_begin(struct conn *c);
void script_reply(struct conn *c, const struct ask *ask, const char *line);
void script_settle(struct conn *c); /* all replies have come */
void script_then(struct conn *c, enum then then);
void script_gone(struct conn *c); /* before a connection is forgotten */

#endif
