/*
 * tests/bench/load.h - what the parts of the load client share: what is wanted (struct plan), one
 * thread's part of it (struct runner), a connection.
 *
 *   load.c      options, threads, the figures
 *   loadrun.c   a thread's event loop: bytes out, lines in
 *   loadwork.c  the workloads: what is asked, and what a reply leads to
 *   loadwire.c  the protocols: requests as text, whether a reply is right
 *   loadlink.c  sockets; loadtls.c: TLS
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "bench/histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

enum {
    LOAD_TOKEN = 32,        /* bytes of a token */
    LOAD_REQUEST_MAX = 192, /* the longest request of either protocol */
    LOAD_KEY_MAX = 48,
    LOAD_REPLY_MAX = 64, /* the longest reply that is right */
};

/* --- loadwire.c */

struct wire {
    const char *name;
    bool queues; /* a lock request waits while the lock is held */
    /* The requests for a key as text of at most LOAD_REQUEST_MAX bytes. */
    size_t (*lock)(char *out, const char *key);
    size_t (*unlock)(char *out, const char *key);
    /* Where a release has its token, which is copied from the grant. 0: it has none. */
    size_t (*token_at)(const char *key);
    /* Whether a line, without its LF, is a grant; its token is stored, if it has one. */
    bool (*granted)(const char *line, size_t n, char token[LOAD_TOKEN]);
    bool (*released)(const char *line, size_t n);
};

extern const struct wire wire_dflockd, wire_redis;

/* --- what is wanted */

struct work;

struct plan {
    const struct wire *wire;
    const struct work *work;
    unsigned connections, depth, threads;
    double seconds, rate; /* rate 0: as fast as replies come */
    const char *prefix;
    const char *secret; /* told first by each connection, or NULL */
    struct ssl_ctx_st *tls; /* or NULL */
    struct sockaddr_storage to;
    socklen_t to_len;
};

/* --- a connection */

/* A lock of its own, and the requests for it; one request of it is under way at a time. */
struct slot {
    uint64_t since; /* when the request that is under way was sent, or due */
    bool busy, held;
    uint8_t lock_n, unlock_n, token_at;
    char lock[LOAD_REQUEST_MAX], unlock[LOAD_REQUEST_MAX];
};

struct conn {
    int fd;                     /* -1: none */
    bool watched;               /* it is in the epoll set */
    bool leaves;                /* to be closed, and opened anew */
    uint8_t kept;               /* bytes of a reply that is not whole */
    unsigned index;             /* among all connections */
    unsigned next_out, next_in; /* of the slots */
    unsigned under_way;         /* requests without a reply */
    uint64_t issued, owed;      /* open loop: requests so far; due and not sent */
    struct ssl_st *ssl;
    char *unsent; /* what the socket did not take; else NULL */
    size_t unsent_n;
    struct slot *slot; /* plan.depth of them */
    char rest[LOAD_REPLY_MAX];
};

/* --- a thread's part */

struct runner {
    const struct plan *plan;
    struct conn *conn;
    unsigned nconns, live;
    int epfd;
    bool stopping;         /* the time is over: what is under way ends, locks are released */
    uint64_t began, ended; /* ns: the start, the last reply */
    uint64_t interval;     /* open loop: between two requests of this thread, ns; else 0 */
    uint64_t done;         /* what the workload counts */
    uint64_t errors;
    char complaint[160]; /* what the first of them was */
    uint64_t under_way;  /* requests without a reply */
    uint64_t due;        /* open loop: requests that have become due so far */
    char *out;           /* what a connection asks, until it is sent with one call */
    size_t out_n;
    char in[1 << 16];
    struct histogram latency;
};

/* --- loadwork.c */

struct work {
    const char *name;
    const char *counts;     /* what "requests" is in the figures */
    bool needs_queue, once; /* once: its connections are made anew again and again */
    bool renews;
    /* What a connection asks first, or, open loop, whenever a request of it has become due. */
    void (*ask)(struct runner *r, struct conn *c, uint64_t now);
    void (*reply)(struct runner *r, struct conn *c, const char *line, size_t n, uint64_t now);
};

extern const struct work work_ops, work_renew, work_cycle, work_hot;

/* --- loadrun.c */

/* Connects all, for workloads that keep connections. False: complained. */
bool runner_connect(struct runner *r);

/* From now on, until the time is over and all is answered (or 5 s have passed in vain). */
void runner_run(struct runner *r);

/* For workloads: appends to what the connection at hand asks. */
void runner_ask(struct runner *r, struct conn *c, const char *request, size_t n);

void runner_error(struct runner *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

uint64_t now_ns(void);

/* --- loadlink.c */

/* A new connection from the index-th address of the loopback network: the echo server deals those
 * out evenly, and local ports do not run out. With `wait`, it is there, its TLS handshake too; else
 * it may be under way. False: errno says why. */
bool link_open(struct conn *c, const struct plan *plan, bool wait);
void link_close(struct conn *c);

/* Bytes, 0: not now, -1: the connection has ended. */
ssize_t link_send(struct conn *c, const char *bytes, size_t n);
ssize_t link_recv(struct conn *c, char *bytes, size_t n);

/* Whether bytes lie here already that epoll knows nothing of. */
bool link_more(const struct conn *c);

/* What was not sent waits for room in the socket; else, over TLS, for what the server says. */
bool link_full(const struct conn *c);

#endif
