/*
 * client/addr.h - where a server is: "host:port", "[ipv6]:port", "unix:/path", and what getaddrinfo()
 * makes of it. Any thread; takes no lock.
 */
#ifndef CLIENT_ADDR_H
#define CLIENT_ADDR_H

#include "client/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum { ADDR_HOST_MAX = 256, ADDR_PORT_DEFAULT = 6388 };

/* An address as configured; one allocation, owned by whoever parsed it. */
struct addr {
    char *text;               /* as it was written, without blanks around it */
    char host[ADDR_HOST_MAX]; /* without brackets; of a Unix socket the path */
    char port[6];
    bool local;               /* a Unix socket */
};

/* `n` bytes. 0, or DFLOCK_ERR_INVALID, DFLOCK_ERR_SYSTEM with the reason in *f. */
int addr_parse(struct addr *a, const char *text, size_t n, struct failure *f);
int addr_copy(struct addr *to, const struct addr *from);
void addr_free(struct addr *a);

/* What to connect to, in the order in which to try. */
struct addr_list {
    size_t n;
    struct {
        socklen_t len;
        struct sockaddr_storage addr;
    } at[16];
};

/* Looks the host up, which may block. 0, or DFLOCK_ERR_CONNECT with the reason in *f. */
int addr_resolve(const struct addr *a, struct addr_list *out, struct failure *f);

#endif
