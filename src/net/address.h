/*
 * net/address.h - where a connection comes from, as its slot in the region has it.
 */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <stdint.h>
#include <sys/socket.h>

struct address {
    uint8_t family; /* AF_INET, AF_INET6, AF_UNIX */
    uint16_t port;
    uint8_t addr[16]; /* a v4-mapped address counts as v4 */
};

void address_from(const struct sockaddr_storage *ss, struct address *out);

#endif
