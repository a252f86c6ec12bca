/*
 * shm/undump.h - a dump that is being read: what undump.c and undump_conns.c share. Private to
 * them.
 */
#ifndef SHM_UNDUMP_H
#define SHM_UNDUMP_H

#include "shm/dump.h"
#include "shm/dumpfields.h"

struct undump {
    struct region *r;
    struct dump_in in;
    struct dump_result *out;
    struct table t;
    struct tx tx;
    uint64_t now;
    struct iobufs bufs[WORKER_MAX]; /* made when a worker needs some */
    uint32_t res;                   /* the last resource, 0 = none yet; in tx.shard */
    struct idle *idle;
    size_t nidle, room;
};

/* An idle resource, to be made when all others are: at->at is where its record begins. */
struct idle {
    uint64_t last_active;
    size_t at;
};

/* Notes why, once; returns err. */
int undump_refuse(struct undump *u, int err, const char *why);
int undump_corrupt(struct undump *u, const char *why);
/* The record's fields into `to`. 0, or what it is refused with. */
int undump_get(struct undump *u, const struct dump_record *rec, const struct dump_kind *kind,
               void *to);

/* undump_conns.c: all connections, wherever they stand in the file. */
int undump_conns(struct undump *u);
static inline bool undump_is_session(const struct dump_conn *d)
{
    return (d->c.session_high | d->c.session_low) != 0;
}
/* Where the one is that was in slot `old`; 0 = nowhere. */
uint32_t undump_slot(const struct undump *u, uint32_t old);
/* What names a connection's slot, or a node of it, and cannot be said before both are there. */
int undump_conns_finish(struct undump *u);

#endif
