/*
 * http/link.h - a TCP connection of HTTP: who it is, its deadlines, and how its end is noticed.
 *
 * libevent reads, parses and writes; a link stands beside its connection from accept to close. The
 * address is the socket's. Deadlines: handshake and head of a request together (HEAD_NS from its
 * first byte, or from accept), its body (--read-timeout), the answer (--write-timeout without
 * progress), between two requests (IDLE_NS).
 */
#ifndef HTTP_LINK_H
#define HTTP_LINK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct call;
struct evhttp_connection;
struct http;

/* As in struct conn. */
struct address {
    uint8_t family; /* AF_INET, AF_INET6, AF_UNIX */
    uint8_t addr[16];
    uint16_t port;
};

struct link {
    struct http *h;
    struct evhttp_connection *conn;
    struct address from;
    struct call *call; /* being answered, NULL: none */
    bool tls;
    /* … link.c's own */
};

/* The connection that a request came by. */
struct link *link_of(struct http *h, struct evhttp_connection *conn);

/* While a call is being answered, libevent does not read: the link's end is watched for. */
void link_serves(struct link *l, struct call *c);
void link_served(struct link *l);

#endif
