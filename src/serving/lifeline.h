/*
 * serving/lifeline.h - the channel to the master, and what becomes of a process that has lost it.
 *
 * It serves on: nobody else has its sockets. It waits at its rendezvous until a new master calls; that
 * connection becomes the channel, and by it the new master is given all that the old one had of this
 * process: the region, the documents, a duplicate of every socket, as fast as the channel takes them
 * and between two requests of clients. When the server was about to end, or when there is no
 * rendezvous, the process ends instead.
 */
#ifndef SERVING_LIFELINE_H
#define SERVING_LIFELINE_H

#include "shm/heritage.h"

#include <stdbool.h>

enum { LIFELINE_SAID = 0, LIFELINE_HELLO = UINT32_MAX };

struct lifeline {
    const struct heritage *heritage;
    int channel;   /* -1: the master is gone */
    uint32_t next; /* connection slot from which on the new master is to be told; LIFELINE_… */
};

/* The first slots from *next on with their sockets, at most CHANNEL_SLOTS, in order; *next moves on
   behind the last one that was looked at. Returns how many. */
typedef unsigned (*lifeline_show)(void *arg, uint32_t *next, uint32_t *slot, int *fd);

void lifeline_init(struct lifeline *l, const struct heritage *heritage);

/* The master is gone: the channel is closed. True: watch heritage->rendezvous from now on. False: this
   process ends too. */
bool lifeline_lost(struct lifeline *l);

/* Somebody is at the rendezvous. The new channel, to be watched instead of it, or a negative error:
   it was nobody, or a stranger. */
int lifeline_answer(struct lifeline *l);

/* The new channel cannot be listened to: back to the rendezvous. */
void lifeline_hang_up(struct lifeline *l);

static inline bool lifeline_telling(const struct lifeline *l)
{
    return l->next != LIFELINE_SAID;
}

/* Tells the new master as much as the channel takes; each turn while lifeline_telling(). */
void lifeline_tell(struct lifeline *l, lifeline_show show, void *arg);

#endif
