/*
 * tests/shm/crowd.h - a region full of connections that hold, wait, enqueue and are lost, at
 * random, without processes: the test plays all workers.
 */
#ifndef TESTS_SHM_CROWD_H
#define TESTS_SHM_CROWD_H

#include "shm/conns.h"
#include "shm/dump.h"
#include "shm/shared.h"

enum { CROWD_WORKERS = 5, CROWD_KEYS = 60 };

struct crowd {
    struct region *r;
    struct shared sh[CROWD_WORKERS];
    struct iobufs bufs[CROWD_WORKERS];
    uint64_t now;
};

/* The first `conns` slots are connected. */
void crowd_make(struct crowd *c, const struct region_limits *limits, uint32_t conns);
/* The same for a region that was filled by a dump. */
void crowd_join(struct crowd *c, struct region *r, uint64_t now);
void crowd_free(struct crowd *c);

/*
 * One thing that happens, drawn from proc_random(). With `twin`, a crowd that came out of a dump of
 * this one, the same happens there, to the connection that `slot` names; false when it ended
 * otherwise.
 */
bool crowd_step(struct crowd *c, struct crowd *twin, const uint32_t *slot);

/* Fields of connections and workers that no request would set, at random. */
void crowd_decorate(struct crowd *c);

/* A lock of its own for a connection. False when it was not granted. */
bool crowd_take(struct crowd *c, uint32_t conn, enum kind kind, const char *key, uint32_t len,
                uint32_t limit, bool two_phase);

/* Six connections, of which five hold, wait, have enqueued and lost; the sixth has bytes in its
 * rings. */
struct region *crowd_small(struct crowd *c);

struct region *crowd_fresh(uint32_t locks, uint32_t conns); /* an empty region */
int crowd_dump(struct region *r);                           /* a memfd */

#endif
