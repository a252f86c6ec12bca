/*
 * serving/offenders.h - whose first requests are wrong again and again waits longer for each answer.
 *
 * What is known of an address is one word of the region, shared by all workers, so that neither many
 * workers nor one that dies makes guessing cheaper. Nothing is known of an address that has not failed
 * for OFFENDERS_FORGET_S, and of some when more fail than there are words: who fails least lately goes.
 */
#ifndef SERVING_OFFENDERS_H
#define SERVING_OFFENDERS_H

#include "net/address.h"
#include "shm/region.h"

enum {
    OFFENDERS_FREE = 3, /* failures that are answered at once */
    OFFENDERS_FIRST_MS = 100, /* the next one; then twice as long, and so on */
    OFFENDERS_MOST_MS = 4000,
    OFFENDERS_FORGET_S = 60,
};

/*
 * Notes a failure. How long its answer is to be held back, ns. An IPv6 network of 64 bits counts as
 * one address, for a client has all of it; all peers at Unix sockets are one.
 */
uint64_t offenders_failed(struct region *r, const struct address *from, uint64_t now);

#endif
