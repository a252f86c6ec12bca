/*
 * shm/dumpfields.c - see dumpfields.h.
 */
#include "shm/dumpfields.h"

/* The bytes in a dump are said, not taken from the struct: a field may grow in memory. */
#define FIELD(type, member, bytes)                                                                 \
    {offsetof(type, member), sizeof(((type *)0)->member), bytes, 1}
#define KIND(type_, table)                                                                         \
    {.type = (type_), .nfields = sizeof(table) / sizeof((table)[0]), .fields = (table)}

/* Numbers that are written as they are. Who changes one must convert when a dump is read. */
_Static_assert(KIND_LOCK == 0 && KIND_SEM == 1, "kinds of keys in dumps");
_Static_assert(NODE_WAITING == 1 && NODE_HELD == 2 && NODE_LAPSED == 3, "states of nodes in dumps");
_Static_assert(NODE_TWO_PHASE == 2 && NODE_BLOCKED == 4 && NODE_KEPT == 8 && NODE_UNTOLD == 16,
               "flags of nodes in dumps");
_Static_assert(CONN_OPEN == 1 && CONN_CLOSED == 2 && CONN_RETURNED == 3 && CONN_ORPHANED == 4,
               "states of connections in dumps");
_Static_assert(PHASE_READY == 0 && PHASE_BLOCKED == 1 && PHASE_JOB == 2 && PHASE_STREAM == 3 &&
                   PHASE_SKIP == 4 && PHASE_LAST == 5 && PHASE_PENALTY == 6 && PHASE_DROP == 7 &&
                   PHASE_LATE == 8,
               "phases of connections in dumps");
_Static_assert(CONN_AUTHENTICATED == 1 && CONN_ADMIN == 2 && CONN_HALF_CLOSED == 4 &&
                   CONN_LOST == 8 && CONN_DROPPED == 16 && CONN_TUNED == 32 && CONN_TLS == 64 &&
                   CONN_ADMITTED == 128,
               "flags of connections in dumps");
_Static_assert(DIED_COUNTED == 0 && DIED_KILLED == 1 && DIED_CRASHED == 2, "deaths in dumps");

static const struct dump_field origin_fields[] = {
    FIELD(struct dump_origin, boottime, 8),   FIELD(struct dump_origin, realtime, 8),
    FIELD(struct dump_origin, max_nodes, 8),  FIELD(struct dump_origin, max_locks, 4),
    FIELD(struct dump_origin, max_conns, 4),  FIELD(struct dump_origin, boot_id, 40),
    FIELD(struct dump_origin, program, 16),
    FIELD(struct dump_origin, max_sessions, 4),
};

static const struct dump_field region_fields[] = {
    FIELD(struct dump_region, created, 8),     FIELD(struct dump_region, fence_next, 8),
    FIELD(struct dump_region, fence_limit, 8), FIELD(struct dump_region, conn_id_next, 8),
    FIELD(struct dump_region, draining, 4),    FIELD(struct dump_region, grants_from, 8),
};

#define SLOT(member, bytes) FIELD(struct dump_worker, slot.member, bytes)
static const struct dump_field worker_fields[] = {
    FIELD(struct dump_worker, worker, 4),
    FIELD(struct dump_worker, down_since, 8),
    SLOT(generation, 4),
    SLOT(settled, 4),
    SLOT(started, 8),
    SLOT(deaths, 8),
    SLOT(serving, 4),
    SLOT(died, 4),
    SLOT(counted, 4),
    SLOT(fence_seen, 8),
    /* Where programs that know no record of counters look for them. */
    SLOT(counters.requests, 8),
    SLOT(counters.bad_requests, 8),
    SLOT(counters.tally.fast[TALLY_LOCK], 8),
    SLOT(counters.tally.queued[TALLY_LOCK], 8),
    SLOT(counters.timeouts, 8),
    SLOT(counters.tally.expired, 8),
    SLOT(counters.auth_failures, 8),
    SLOT(counters.rejected[LIMIT_LOCKS], 8),
    SLOT(counters.rejected[LIMIT_WAITERS], 8),
    SLOT(counters.repairs, 8),
    SLOT(counters.rebuilt, 8),
    SLOT(counters.quarantined, 8),
    SLOT(counters.poisoned, 8),
};

/* All that the member has. When one gets longer, what is behind it moves: then this needs a new type
   of record, or the room that COUNTERS_… and TALLY_BUCKETS leave. */
#define NUMBERS(member)                                                                            \
    {offsetof(struct dump_counters, counters.member), 8, 8,                                        \
     sizeof(((struct dump_counters *)0)->counters.member) / 8}
static const struct dump_field counters_fields[] = {
    FIELD(struct dump_counters, worker, 4),
    NUMBERS(requests),
    NUMBERS(bad_requests),
    NUMBERS(timeouts),
    NUMBERS(auth_failures),
    NUMBERS(repairs),
    NUMBERS(rebuilt),
    NUMBERS(quarantined),
    NUMBERS(poisoned),
    NUMBERS(handshakes),
    NUMBERS(handshakes_failed),
    NUMBERS(reloads),
    NUMBERS(reloads_failed),
    NUMBERS(restarts),
    NUMBERS(rejected),
    NUMBERS(commands),
    NUMBERS(tally.fast),
    NUMBERS(tally.queued),
    NUMBERS(tally.expired),
    NUMBERS(tally.wait.sum),
    NUMBERS(tally.wait.bucket),
    NUMBERS(tally.hold.sum),
    NUMBERS(tally.hold.bucket),
    NUMBERS(strangers_ended),
};
_Static_assert(LIMITS == 8 && COUNTERS_COMMANDS == 24 && COUNTERS_RESULTS == 16 &&
                   TALLY_KINDS == 2 && TALLY_BUCKETS == 24,
               "lengths of arrays in dumps");

#define CONN(member, bytes) FIELD(struct dump_conn, c.member, bytes)
static const struct dump_field conn_fields[] = {
    FIELD(struct dump_conn, slot, 4),
    FIELD(struct dump_conn, in_bytes, 4),
    FIELD(struct dump_conn, buffered, 1),
    FIELD(struct dump_conn, big, 1),
    CONN(id, 8),
    CONN(worker, 4),
    CONN(state, 1),
    CONN(phase, 1),
    CONN(flags, 1),
    CONN(family, 1),
    CONN(in_head, 8),
    CONN(in_tail, 8),
    CONN(out_head, 8),
    CONN(out_tail, 8),
    CONN(blocked_since, 8),
    CONN(blocked_until, 8),
    CONN(request_since, 8),
    CONN(idle_since, 8),
    CONN(write_since, 8),
    CONN(close_at, 8),
    CONN(accepted, 8),
    CONN(doc_pos, 8),
    CONN(doc_len, 8),
    CONN(doc, 4),
    CONN(port, 2),
    CONN(enqueues, 2),
    CONN(addr, 16),
    CONN(in_call, 1),
    CONN(deaths, 1),
    CONN(crashes, 1),
    CONN(blamed_at, 8),
    CONN(session_high, 8),
    CONN(session_low, 8),
};

static const struct dump_field resource_fields[] = {
    FIELD(struct snapshot_resource, kind, 1),
    FIELD(struct snapshot_resource, idle, 1),
    FIELD(struct snapshot_resource, limit, 4),
    FIELD(struct snapshot_resource, last_active, 8),
};

#define NODE(type, member)                                                                         \
    FIELD(type, member state, 1), FIELD(type, member flags, 1), FIELD(type, member owner, 4),      \
        FIELD(type, member conn_id, 8), FIELD(type, member order, 8),                              \
        FIELD(type, member salt, 8), FIELD(type, member end, 8), FIELD(type, member lease, 8),     \
        FIELD(type, member since, 8), FIELD(type, member extended, 4)
static const struct dump_field node_fields[] = {NODE(struct snapshot_node, )};
static const struct dump_field lapsed_fields[] = {
    NODE(struct dump_lapsed, node.),
    FIELD(struct dump_lapsed, kind, 1),
};

const struct dump_kind dump_origin_kind = KIND(DUMP_ORIGIN, origin_fields);
const struct dump_kind dump_region_kind = KIND(DUMP_REGION, region_fields);
const struct dump_kind dump_worker_kind = KIND(DUMP_WORKER, worker_fields);
const struct dump_kind dump_counters_kind = KIND(DUMP_COUNTERS, counters_fields);
const struct dump_kind dump_conn_kind = KIND(DUMP_CONN, conn_fields);
const struct dump_kind dump_resource_kind = KIND(DUMP_RESOURCE, resource_fields);
const struct dump_kind dump_node_kind = KIND(DUMP_NODE, node_fields);
const struct dump_kind dump_lapsed_kind = KIND(DUMP_LAPSED, lapsed_fields);
