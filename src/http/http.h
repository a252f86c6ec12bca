/*
 * http/http.h - the process that serves HTTP: what its files share. See docs/internals/http.md.
 *
 * Everything here is private memory and can be lost at any instruction. What must survive, sessions
 * and what they hold and wait for, is in the region: a session is a connection slot behind max_conns
 * (shm/conns.h), and the table's operations are called directly.
 *
 *   process   life: start, turns, the master's messages   calls     its system calls
 *   server    evhttp, TLS                                 link      a TCP connection, deadlines
 *   framing   what evhttp lets through                    call      a request and its answer
 *   linger    connections that the server has ended    owed      what is unread of answers
 *   routes    the table of them                           path, body   what a request says
 *   guard     caps and rates of addresses              auth, cors  who may ask
 *   secure    TLS for libevent                          sessions   as a connection is to TCP
 *   locks     operations                                  polls     those that wait
 *   look      health, stats, resources                    listing   which resources are asked for
 *   tasks     answers made in bounded steps               openapi, page
 *   metrics   what is counted                             exposition   what /metrics says
 *   usage     what this process uses
 */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include "base/num.h"
#include "config/settings.h"
#include "http/usage.h"
#include "serving/lifeline.h"
#include "shm/conns.h"
#include "shm/heritage.h"
#include "shm/shared.h"

#include <event2/event.h>

struct http {
    const struct heritage *heritage;
    const struct settings *settings;
    struct settings *own_settings; /* after a reload: h->settings, to be freed with the next */
    struct region *r;
    struct shared sh;
    struct lifeline life;
    struct event_base *base;
    struct event *bell, *channel, *nudge;
    struct evhttp *server;
    struct ssl_ctx_st *tls; /* what handshakes use, NULL: there are none */
    struct guard *guard;       /* guard.c's */
    struct sessions *sessions; /* sessions.c's */
    struct polls *polls;       /* polls.c's */
    struct tasks *tasks;       /* tasks.c's */
    struct links *links;       /* link.c's */
    struct lingering *lingering; /* linger.c's */
    struct usage usage;
    const char *openapi;       /* openapi.c's: the document, once it was asked for */
    uint64_t now; /* BOOTTIME ns: http_now() reads it again */
    uint64_t heard; /* counts connections that came, and reads that brought something */
    uint64_t next_tick;
    bool tick_waits; /* the last one was put off */
    uint32_t fences_turn; /* of the region, as last seen */
    int efd;
    int new_settings; /* a memfd that came by the channel, 0 = none */
    uint32_t new_generation;
    uint64_t unread; /* bytes of answers that are still on their way out: owed.h */
    bool draining;
    bool leaves; /* the process is to end */
};

/* The process's whole life; returns its exit status. */
int http_run(const struct heritage *heritage);

#endif
