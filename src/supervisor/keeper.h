/*
 * supervisor/keeper.h - the master's side of connections: a duplicate of each socket, by slot, the
 * exact caps, and who has how many.
 */
#ifndef SUPERVISOR_KEEPER_H
#define SUPERVISOR_KEEPER_H

#include "net/address.h"
#include "shm/conns.h"

/* Of a slot's connection: the master's own copy, for the region may be written over. */
struct kept {
    struct address from;
    uint32_t worker;
    bool taken;
};

struct keeper {
    struct region *r;
    struct kept *kept; /* by slot */
    uint64_t last_id;  /* of a connection */
    int *fd;        /* by slot; 0 = none: a free slot's, or an orphan's */
    uint32_t *free; /* stack of free slots */
    uint32_t nfree;
    uint32_t open;  /* connections */
    uint32_t load[WORKER_MAX]; /* connections of each worker */
    uint32_t max, max_per_ip;  /* caps; per ip 0 = none */
    void *by_addr;  /* tsearch(3) tree of counts by address */
};

int keeper_init(struct keeper *k, struct region *r, uint32_t max, uint32_t max_per_ip);

/* Right after that: takes over what an earlier master left; `conn_fd` by slot, 0 = that socket is
   gone. The slots of whose connections that is so are orphaned. */
void keeper_inherit(struct keeper *k, const int *conn_fd);

void keeper_destroy(struct keeper *k); /* its memory, not its sockets */

enum keeper_refusal { KEEPER_OK, KEEPER_FULL, KEEPER_FULL_IP };

/* Whether the caps admit one more from there. */
enum keeper_refusal keeper_admits(const struct keeper *k, const struct address *from);

/* Takes the socket over for a worker: fills a slot and returns it. Caps were asked before. */
uint32_t keeper_add(struct keeper *k, int fd, const struct address *from, uint32_t worker,
                    uint64_t now);

/* Closes the duplicate of a slot that its worker is done with; other slots are left alone. */
void keeper_reap(struct keeper *k, uint32_t slot);
/* All such slots: what messages told of, and what a lost message did not. */
void keeper_reap_all(struct keeper *k);
/* Between two workers: its socket is gone, or of no use to an heir (and is shut down). */
void keeper_orphan(struct keeper *k, uint32_t slot);
/* That, with all connections of a worker that no heir can go on with: those over TLS. */
void keeper_orphan_tls(struct keeper *k, uint32_t worker);
/* Whether the slot's worker gave its socket back. */
bool keeper_is_returned(const struct keeper *k, uint32_t slot);
/* Such a slot is open again, as a connection of `worker`: hand it over. */
void keeper_reopen(struct keeper *k, uint32_t slot, uint32_t worker);

#endif
