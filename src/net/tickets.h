/*
 * net/tickets.h - the keys of TLS session tickets, in memory that all workers share: so a session
 * that one of them began is resumed by any other, and by the heir of a dead one.
 *
 * The master makes a new key every TICKETS_LIFE_NS, over the one that nobody uses any more; workers
 * only read. A key encrypts for that long and decrypts as long again, which is as long as a ticket
 * is good. No lock: a key is written whole before its number is published, and is left alone for two
 * lives afterwards. Who would read it even later finds a ticket that does not decrypt, and that is a
 * full handshake.
 */
#ifndef NET_TICKETS_H
#define NET_TICKETS_H

#include <stdint.h>

enum { TICKETS_LIFE_S = 7200, TICKETS_KEYS = 3, TICKET_NAME = 16 };

struct ticket_key {
    uint8_t name[TICKET_NAME]; /* in plain text in each ticket */
    uint8_t cipher[32];
    uint8_t mac[32];
};

struct tickets {
    uint64_t made;    /* BOOTTIME ns of the newest key */
    uint32_t newest;  /* its number, atomic; 0 = there is none */
    uint32_t previous; /* ditto; still good for decryption */
    struct ticket_key key[TICKETS_KEYS];
};

/* The master's: makes a key when there is none or the newest is old. 0 or a negative error; then the
   old ones stay. */
int tickets_turn(struct tickets *t, uint64_t now);

/* NULL: there is none. */
const struct ticket_key *tickets_newest(const struct tickets *t);
const struct ticket_key *tickets_find(const struct tickets *t, const uint8_t name[TICKET_NAME]);

#endif
