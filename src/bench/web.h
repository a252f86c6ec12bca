/*
 * bench/web.h - a connection to a server's HTTP API with a session of its own, in an event loop: what
 * dflock_conn is for the line protocol. One request is under way at a time, the next one is sent when
 * it has been answered; the connection is kept alive.
 *
 * One thread. Errors are those of dflock.h, with where_reason() for people.
 */
#ifndef BENCH_WEB_H
#define BENCH_WEB_H

#include "client/dflock.h"

struct web;

/* Begins to connect. The options must outlive it. 0 or an error. */
int web_open(struct web **out, const char *address, const dflock_options *o);
/* Says that the session is over, if that does not block, and closes. NULL is ignored. */
void web_free(struct web *w);

/* A request of the line protocol: l e w r, or ping, of which the first opens the session. */
int web_submit(struct web *w, const char *command, const char *key, const char *arg);

/* The others are as dflock_conn's. */
int web_process(struct web *w);
int web_next(struct web *w, struct dflock_reply *reply);
int web_fd(const struct web *w);
int web_events(const struct web *w);
int web_timeout_ms(const struct web *w);

#endif
