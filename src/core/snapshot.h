/*
 * core/snapshot.h - a table's ground truth as plain records: taken out of one table, put into
 * another.
 *
 * The two tables may differ in everything that layout.h says: sizes, places, hash key. What is
 * derived is not in the records; the table that takes them makes it anew, by the same functions
 * that every operation uses, so that what was put in obeys the invariants by construction.
 *
 * Whoever takes out reads a table that is whole and at rest. Whoever puts in is alone with the
 * table; each function that has a struct tx is a transaction, the caller commits it.
 */
#ifndef CORE_SNAPSHOT_H
#define CORE_SNAPSHOT_H

#include "core/table.h"

struct snapshot_resource {
    const char *key; /* key_len bytes, in the table that was read */
    uint32_t key_len;
    uint32_t limit;
    uint64_t last_active;
    uint8_t kind;
    uint8_t idle; /* nothing is on it: 1, else 0 */
};

/* The fields of a node that mean the same in any table. */
struct snapshot_node {
    uint64_t conn_id, order, salt, end, lease, since;
    uint32_t owner;
    uint32_t extended;
    uint8_t state;
    uint8_t flags; /* SNAPSHOT_FLAGS; TELL follows from state and BLOCKED (I10) */
};

enum { SNAPSHOT_FLAGS = NODE_TWO_PHASE | NODE_BLOCKED | NODE_KEPT | NODE_UNTOLD };

/* The shard's resource after *cursor (0 first), which becomes its index. False when there is none.
 */
bool snapshot_next_resource(const struct table *t, uint32_t shard, uint32_t *cursor,
                            struct snapshot_resource *out);

/* A resource's holders, oldest first, then its queue in order: the node after *cursor (0 first). */
bool snapshot_next_node(const struct table *t, uint32_t shard, uint32_t res, uint32_t *cursor,
                        struct snapshot_node *out);

/* The shard's lapsed nodes, which are in no list: the one after *cursor, and its resource. */
bool snapshot_next_lapsed(const struct table *t, uint32_t shard, uint32_t *cursor, uint32_t *res,
                          struct snapshot_node *out);

enum snapshot_result {
    SNAPSHOT_OK = 0,
    SNAPSHOT_FULL,  /* the table has no room for it */
    SNAPSHOT_WRONG, /* it cannot be true: a record was damaged */
};

/*
 * Makes a resource; *tx->reserved has a unit for it. `hash` is the key's in this table. Idle ones
 * must come in the order of their last activity (I14), and be settled at once.
 */
enum snapshot_result snapshot_add_resource(struct tx *tx, const struct snapshot_resource *r,
                                           uint64_t hash, uint32_t *res);
/* A node of that resource, in the order of snapshot_next_node(); its owner is there already. */
enum snapshot_result snapshot_add_node(struct tx *tx, uint32_t res, const struct snapshot_node *n,
                                       uint32_t *node);
/* All nodes of the resource have been added. WRONG: it is not what `idle` said. */
enum snapshot_result snapshot_settle(struct tx *tx, uint32_t res, bool idle);

#endif
