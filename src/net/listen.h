/*
 * net/listen.h - the addresses a server listens on.
 */
#ifndef NET_LISTEN_H
#define NET_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LISTEN_MAX = 64, LISTEN_TEXT = 128 };

struct listener {
    int fd;
    int family;               /* AF_INET, AF_INET6, AF_UNIX */
    bool loopback;            /* only this machine can connect */
    char text[LISTEN_TEXT];   /* as bound: 127.0.0.1:6388, [::1]:6388, a path */
};

/* Addresses for one protocol. */
struct listen_set {
    const char *host_option, *port_option; /* what says where, for messages */
    unsigned n;
    struct listener l[LISTEN_MAX];
    bool passed; /* all are the service manager's: bound by it, and served by it when we are gone */
    unsigned nspare;
    int spare[LISTEN_MAX]; /* see listen_spare() */
    char unix_path[108]; /* to be removed at the end; "" = none */
    char error[256];     /* why the last call failed, for a person */
};

/*
 * Resolves `host` and binds all its addresses. Port 0: the kernel chooses, and further calls that
 * pass 0 get the same port. 0 or a negative error with set->error filled.
 */
int listen_tcp(struct listen_set *set, const char *host, uint16_t port);

/* Takes over the path of a socket that nobody listens on any more; refuses one that is in use, and
   anything that is not a socket. */
int listen_unix(struct listen_set *set, const char *path, unsigned mode);

/*
 * A socket that the service manager passed, under this name: it is taken as it is bound, or refused.
 * Nothing is to be bound besides. 0 or a negative error with set->error filled.
 */
int listen_adopt(struct listen_set *set, const char *name, int fd);

/*
 * A socket that an earlier life of this server bound and left with the service manager. The calls
 * above take it instead of binding the same address again, so that who has connected meanwhile is
 * served; listen_settle() closes those that nothing asked for.
 */
void listen_spare(struct listen_set *set, int fd);
/* Those that nothing has asked for yet may be of another set. */
void listen_hand_on(struct listen_set *from, struct listen_set *to);
void listen_settle(struct listen_set *set);

/* Closes all; removes the unix socket. */
void listen_close(struct listen_set *set);

#endif
