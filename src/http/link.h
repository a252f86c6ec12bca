/*
 * http/link.h - a TCP connection of HTTP: who it is, its deadlines, and how its end is noticed.
 *
 * libevent reads, parses and writes; a link stands beside its connection from accept to close. The
 * address is the socket's. Deadlines: handshake and head of a request together (LINK_HEAD_NS from its
 * first byte, or from accept), its body (--read-timeout), the answer (--write-timeout without
 * progress, and see owed.h), between two requests (LINK_IDLE_NS). Bytes that trickle in extend none.
 */
#ifndef HTTP_LINK_H
#define HTTP_LINK_H

#include "http/framing.h"
#include "http/owed.h"
#include "net/address.h"

#include <stdbool.h>
#include <stdint.h>

struct bufferevent;
struct call;
struct evbuffer;
struct evhttp_connection;
struct evhttp_request;
struct http;

#define LINK_HEAD_NS UINT64_C(10000000000)
#define LINK_IDLE_NS UINT64_C(120000000000)
#define LINK_HALF_NS UINT64_C(250000000) /* as in the line protocol */

enum link_phase {
    LINK_NEW,    /* accepted, libevent has not told yet which connection it is */
    LINK_HEAD,   /* handshake, head of a request */
    LINK_BODY,
    LINK_CALL,   /* it is being answered */
    LINK_ANSWER, /* the answer is being written */
    LINK_IDLE,   /* between two requests */
    LINK_CLOSING, /* nothing more is served; it is closed at once */
    LINK_PHASES,
};

struct link {
    struct http *h;
    struct evhttp_connection *conn;
    struct address from;
    struct call *call; /* being answered, NULL: none */
    struct framing_head head; /* of the request */
    struct owed owed; /* of the answer */
    int fd;
    /* link.c's own */
    struct bufferevent *b;
    enum link_phase phase;
    uint64_t since;            /* BOOTTIME ns: of the phase, or when the answer moved last */
    struct link *prev, *next;  /* of those in this phase, who has been in it longest first */
    unsigned long starved; /* memory_missed() when the answer was begun */
    int unacked; /* bytes of the answer, when its deadline was looked at last */
    bool tls;
    bool shaken;  /* its handshake has been counted */
    bool watched; /* its end */
    bool last;    /* it is closed after this answer */
    bool said;    /* that it ends, in an answer; it may be sending still */
};

int links_init(struct http *h); /* 0 or a negative error */

/* A connection that libevent is about to be given. False: there is no memory. */
bool link_expect(struct http *h, struct bufferevent *b, bool tls);

/* The connection that a request came by. NULL: there was no memory for it. */
struct link *link_of(const struct http *h, struct evhttp_connection *conn);

/* A call begins on it. */
void link_serves(struct link *l, struct call *c);
/* If a call of this socket's link is not answered yet, its client's leaving is watched for from now on,
   since libevent does not read meanwhile. Any end of the client's stream means that it has left; but
   who ends its side right after the request (LINK_HALF_NS) is answered all the same, unless it is a
   long poll. */
void link_waits(struct http *h, int fd);
/* The call is about to be answered. */
void link_served(struct link *l);
/* And now it is, with evhttp_send_reply(); the link may be gone afterwards. `lent`: the bytes of the
   body are not its own, and counted by whose they are. */
void link_send(struct link *l, struct evhttp_request *req, int status, const char *reason,
               struct evbuffer *body, bool lent);
/* Whether the client has left by now, though nobody has heard of it yet. */
bool link_has_left(const struct link *l);
/* It is closed, and its call hears that the client has left. */
void link_end(struct link *l);
/* All who have left until now: before grants are delivered. */
void links_end(struct http *h);
/* The connection is closed after this answer, whatever has been sent behind the request. */
void link_last(struct link *l);

/* Now and then: ends those whose deadline has passed. */
void links_tick(struct http *h);
/* libevent looks once more at what has come of requests. */
void links_read_again(struct http *h);

/* Whether an answer is being written. */
bool links_writing(const struct http *h);

const char *link_peer_text(const struct link *l, char *buf, size_t n);

#endif
