/*
 * http/secure.h - TLS for connections that libevent reads and writes. In a build without TLS
 * (secure_none.c) the same functions say that there is none.
 */
#ifndef HTTP_SECURE_H
#define HTTP_SECURE_H

struct bufferevent;
struct event_base;
struct ssl_ctx_st;

/* For a socket that is yet to be set. NULL: there is no memory. */
struct bufferevent *secure_new(struct event_base *base, struct ssl_ctx_st *context);

/* How far its handshake has come: enum tls_handshake. */
int secure_handshake(struct bufferevent *b);

/* Just before it is closed: its peer hears that nothing was cut off. */
void secure_goodbye(struct bufferevent *b);

#endif
