/*
 * bench/link.h - one connection in an epoll loop: who waits for which reply, and what epoll
 * watches. It speaks the line protocol, or HTTP (web.h).
 *
 * One thread.
 */
#ifndef BENCH_LINK_H
#define BENCH_LINK_H

#include "client/dflock.h"

#include <stdbool.h>
#include <stdint.h>

struct slot;
struct web;

struct link {
    dflock_conn *conn; /* or */
    struct web *web;   /* NULL: the line protocol */
    const char *address;
    int epfd, fd, events; /* what epoll has of it; fd -1: nothing */
    struct link *next;    /* of those that have something to send */
    bool unsent;
    bool up;       /* it has answered */
    uint64_t used; /* when something was last asked */
    /* Who asked, in order: a ring of a power of two. NULL asked for a sign of life. */
    struct slot **asked;
    uint32_t mask, first, n;
};

/* Begins to connect. `most`: requests under way at a time. 0 or an error of dflock.h. */
int link_open(struct link *l, int epfd, const char *address, const dflock_options *o, bool http,
              uint32_t most);
void link_close(struct link *l);

/* A request whose reply is for `slot`; link_process() sends it. 0 or an error of dflock.h. */
int link_ask(struct link *l, struct slot *slot, const char *command, const char *key,
             const char *arg);

/* Sends and receives what it can, and tells epoll what to watch. 0 or why the connection ended. */
int link_process(struct link *l);

/* 1 and who it is for and *reply; 0: there is none yet; or why there will be none. */
int link_reply(struct link *l, struct slot **slot, struct dflock_reply *reply);

/* When link_process() must be called at the latest; -1: when epoll says so. */
int link_timeout_ms(const struct link *l);

#endif
