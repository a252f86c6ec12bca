/*
 * http/linger.h - connections that the server has ended, though their clients may still be sending.
 *
 * To close a socket with bytes that nobody has read is to reset the connection, and the client may
 * lose the answer with it. So what it sends is read and thrown away until it ends its side, too, for
 * LINGER_NS at most. Such connections are in no cap: there are LINGER_MOST, the oldest goes first.
 */
#ifndef HTTP_LINGER_H
#define HTTP_LINGER_H

#include <stdbool.h>

struct bufferevent;
struct http;

int linger_init(struct http *h); /* 0 or -ENOMEM */

/* libevent is about to close the connection, whose answer is written: the socket stays for a while.
   Without memory it does not. */
void linger(struct http *h, struct bufferevent *b);

/* Once a turn. */
void linger_turn(struct http *h);

#endif
