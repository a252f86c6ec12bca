/*
 * shm/dumpfields.h - what is in a dump: the records, and their fields in the order they are written.
 * docs/internals/dump.md says what each is for. Constant; any process.
 *
 * A new field of the region that must survive an upgrade gets its row at the end of its table here;
 * tests/lint/dump_test.py holds the structs against the tables.
 */
#ifndef SHM_DUMPFIELDS_H
#define SHM_DUMPFIELDS_H

#include "core/snapshot.h"
#include "shm/conns.h"
#include "shm/dumpfile.h"

/* Never given to another thing once they are used. 1 is the end. */
enum dump_type {
    DUMP_ORIGIN = 2,
    DUMP_REGION = 3,
    DUMP_WORKER = 4,
    DUMP_CONN = 5,
    DUMP_RESOURCE = 6,
    DUMP_NODE = 7,
    DUMP_LAPSED = 8,
    DUMP_COUNTERS = 9,
};

/* Which server wrote it, and when. The first record. */
struct dump_origin {
    uint64_t boottime; /* ns */
    uint64_t realtime;
    uint64_t max_nodes; /* limits of the region */
    uint32_t max_locks;
    uint32_t max_conns;
    char boot_id[40];
    char program[16];
    uint32_t max_sessions;
};

/* Words of struct region of the same names. The second record. */
struct dump_region {
    uint64_t created;
    uint64_t fence_next;
    uint64_t fence_limit;
    uint64_t grants_from;
    uint64_t conn_id_next;
    uint32_t draining;
};

struct dump_worker {
    uint32_t worker;
    uint64_t down_since;
    struct worker_slot slot;
};

/* What the worker has counted; WORKER_MAX: the master. Behind its DUMP_WORKER. */
struct dump_counters {
    uint32_t worker;
    struct counters counters;
};

/* Bytes: the input ring from in_head on, whole, for what a worker that was killed has received and
   not recorded is in it too; then what is unsent of the output. None without a buffer. */
struct dump_conn {
    uint32_t slot;
    uint32_t in_bytes;
    uint8_t buffered;
    uint8_t big; /* the input ring is a big one */
    struct conn c;
};

/* struct snapshot_resource; bytes: the key. The DUMP_NODEs that follow are on it. */
/* struct snapshot_node: holders, oldest first, then the queue in order. */

/* A lapsed node; bytes: the key of its resource, which has come before. */
struct dump_lapsed {
    struct snapshot_node node;
    uint8_t kind;
};

extern const struct dump_kind dump_origin_kind, dump_region_kind, dump_worker_kind, dump_counters_kind,
    dump_conn_kind, dump_resource_kind, dump_node_kind, dump_lapsed_kind;

#endif
