/*
 * shm/dump.h - the region's content in a form that does not depend on its layout: for an upgrade to
 * a program whose structs differ, and for a restart.
 *
 * The old program writes when all its workers are gone, the new one reads into a region that it has
 * just made, of any size, before its first fork. docs/internals/dump.md has the form and what is
 * not in it: sockets, documents and the master's private memory travel by other ways.
 */
#ifndef SHM_DUMP_H
#define SHM_DUMP_H

#include "shm/region.h"

/*
 * Writes the whole region to `fd`. Runs in a child of the master, all workers are reaped: what they
 * left open is rolled back first, so the region changes, as under a takeover. 0 or a negative
 * error: ERR_CORRUPT (a shard is beyond repair: which keys are in it nobody knows any more),
 * ERR_CRYPTO, or what write(2) said.
 */
int dump_write(struct region *r, int fd);

/* Whether dump_write() would refuse because of a shard that is known to be beyond repair. Takes no
   lock: for the master, before it gives anything up. */
bool dump_hindered(const struct region *r);

struct dump_result {
    char why[160]; /* what is wrong, in words, when it is refused */
    uint64_t resources, holders, waiters;
    uint64_t
        collected; /* idle resources, the longest idle first, that the region has no room for */
    uint32_t conns;
    /* Where the connections are now: slot[i], for i from 1 to nslots, of the one that was in slot i of
       the old region; 0 = none was. A slot stays what it was unless the region has fewer. */
    uint32_t *slot;
    uint32_t nslots; /* of the array: the highest slot is below it */
};

/*
 * Fills a region that region_create() has just made. When it fails the region is of no use:
 * destroy it. `out` is filled in any case; dump_forget() frees it. Errors:
 *   -EINVAL       no dump at all
 *   ERR_VERSION   of a form, or with a content, that this program does not know
 *   ERR_CORRUPT   cut off, changed, or contradicting itself
 *   ERR_STALE     written before the machine was started: its times mean nothing now
 *   ERR_FULL      there is more in use than the region has room for
 *   ERR_CRYPTO, -ENOMEM, or what read(2) said
 */
int dump_read(struct region *fresh, int fd, struct dump_result *out);
void dump_forget(struct dump_result *out);

/* A trial: the same, into a region of these limits that is given up again. */
int dump_try(int fd, const struct region_limits *limits, struct dump_result *out);

#endif
