/*
 * shm/heritage.h - what a worker gets at birth. Nothing else passes from master to worker but
 * connections, by the channel, and what lies in the region.
 */
#ifndef SHM_HERITAGE_H
#define SHM_HERITAGE_H

#include "shm/region.h"

struct settings;
struct tls_files;

enum {
    HERITAGE_DOCS = 4,
    HERITAGE_LISTENER = 0, /* the connection slot that stands for a listening socket of HTTP */
};

struct heritage {
    struct region *region;
    const struct settings *settings;
    const struct tls_files *tls_files; /* NULL, or empty: no TLS */
    uint32_t worker; /* slot */
    int channel;     /* SOCK_SEQPACKET to the master: struct channel_message */
    int rendezvous;  /* listens, for the next master; 0 = none: this worker ends with its master */
    int region_fd;   /* for the next master */
    int docs[HERITAGE_DOCS]; /* memfds of the slot, for answers too long for a ring */
    const int *listener; /* listening sockets of HTTP, for its worker alone */
    unsigned nlisteners;
    const int *conn_fd; /* by connection slot: the inherited duplicate, 0 = none. Only those of
                           this slot's connections are still open */
};

enum channel_type {
    CHANNEL_CONN = 1,   /* master → worker, with the socket: one slot */
    CHANNEL_CLOSED = 2, /* worker → master: `n` slots are CONN_CLOSED, or CONN_RETURNED */
    CHANNEL_LEAVE = 3,  /* master → worker: end, status 0, when this turn is over; an heir takes over */
    /* From a worker that has lost its master to the one that has called it, in this order: */
    CHANNEL_HELLO = 4,   /* id is its pid; slot[0] its slot, slot[1] its generation; HELLO_FDS */
    CHANNEL_SOCKETS = 5, /* `n` slots of its connections, with their sockets */
    CHANNEL_SAID = 6,    /* that was all */
    CHANNEL_ORPHANS = 7, /* master → worker: it has slots that are CONN_ORPHANED */
    CHANNEL_SETTINGS = 8, /* master → worker, with a memfd: struct settings, generation `id` */
    CHANNEL_ROOM = 9, /* master → worker: others wait; who of `n` slots is a silent stranger ends */
};

enum { CHANNEL_SLOTS = 64 };
enum hello_fd { HELLO_REGION, HELLO_RENDEZVOUS, HELLO_DOCS, HELLO_FDS = HELLO_DOCS + HERITAGE_DOCS };

struct channel_message {
    uint32_t type;
    uint32_t n;
    uint64_t id; /* CHANNEL_CONN: of the connection, so that a late message names nobody else */
    uint32_t slot[CHANNEL_SLOTS];
};

#endif
