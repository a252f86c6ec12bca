/*
 * bench/webwire.h - what a load asks, which it says in the words of the line protocol, as requests of
 * the HTTP API; and what is answered, as the replies that the line protocol would have given. So
 * whoever makes, checks and measures the load need not know which of the two it speaks.
 *
 * Pure but for the memory that jansson takes.
 */
#ifndef BENCH_WEBWIRE_H
#define BENCH_WEBWIRE_H

#include "client/dflock.h"

#include <stdbool.h>
#include <stddef.h>

enum { WEBWIRE_SESSION = 32, WEBWIRE_ANSWER_MAX = 64 * 1024, WEBWIRE_TEXT = 160 };

enum webwire_kind {
    WEBWIRE_OPEN, /* a session */
    WEBWIRE_PING,
    WEBWIRE_CLOSE,
    WEBWIRE_ACQUIRE,
    WEBWIRE_ENQUEUE,
    WEBWIRE_WAIT,
    WEBWIRE_RELEASE,
    WEBWIRE_KINDS,
};

/* What goes with all requests of a connection. */
struct webwire_from {
    const char *host;
    const char *token;                 /* NULL: none */
    char session[WEBWIRE_SESSION + 1]; /* "": there is none yet */
};

/* What a command of the line protocol is: l e w r, or ping, which opens the session if there is none. */
enum webwire_kind webwire_kind(const struct webwire_from *from, const char *command);

/* key and arg as in the line protocol. Allocated; NULL: no memory. */
char *webwire_request(const struct webwire_from *from, enum webwire_kind kind, const char *key,
                      const char *arg, size_t *len);

/* An answer among the bytes that have come. */
struct webwire_answer {
    int status;
    const char *body;
    size_t body_len, len; /* len: of all of it */
};

/* 1: it is whole; 0: there must be more; -1: no dflockd answers that, *why is static. */
int webwire_answer(const char *in, size_t n, struct webwire_answer *a, const char **why);

/* *reply but for its text, which is written to `text`. What opens a session leaves it in *from. A
   refusal that the line protocol does not know is DFLOCK_ERR_STATE: it says nothing about the lock. */
void webwire_reply(struct webwire_from *from, enum webwire_kind kind,
                   const struct webwire_answer *a, struct dflock_reply *reply,
                   char text[WEBWIRE_TEXT]);

#endif
