/*
 * tests/core/bed.h - a lock table in private memory, and its operations as data.
 *
 * An operation is a struct, so that one piece of code can make it at random (gen.c), another run
 * it (op_run() here), another say what it should have done (model.c), and the crash test can run
 * the same one again and again.
 */
#ifndef TESTS_CORE_BED_H
#define TESTS_CORE_BED_H

#include "core/table.h"

enum {
    BED_KEYS = 256,
    BED_START = 8192, /* the table's offset; before it lie the words below */
    TICK = 1 << WHEEL_TICK_SHIFT,
};

#define SECOND UINT64_C(1000000000)
#define MINUTE (60 * SECOND)
#define YEAR (UINT64_C(31556952) * SECOND)

/* What the region keeps beside the table. In the block, because `reserved` is journalled. */
struct words {
    uint64_t fence_next;
    uint64_t fence_limit;
    uint64_t promise_until;
    uint64_t grants_from;
    uint64_t down_since[WORKER_MAX];
    uint32_t reserved[WORKER_MAX];
    uint32_t units; /* of max-locks, in nobody's hand */
};

struct bed_size {
    uint32_t max_locks;
    uint32_t owners;
    /* Below what layout_compute() gives, so that small things run out and copies are cheap;
       0 = as computed. */
    uint32_t chunks;
    uint32_t res_per_shard;
    uint32_t buckets;
};

struct bed_key {
    char bytes[KEY_MAX];
    struct table_key key;
};

struct bed {
    char *block;
    uint64_t size;
    struct geometry geo;
    struct table t;
    struct words *words;
    uint64_t conn_next;
    uint64_t salt_next;
    uint32_t nkeys;
    struct bed_key key[BED_KEYS];
};

void bed_make(struct bed *b, const struct bed_size *size);
void bed_free(struct bed *b);

/* From here on the bed uses this block, a copy of the one it had. A copy of a bed, with a copy of
   the block, is a bed too. */
void bed_attach(struct bed *b, char *block);

/* Adds a key of `len` bytes that differs from all others; its hash's top bits name the shard. */
uint32_t bed_add_key(struct bed *b, enum kind kind, uint32_t len, uint64_t hash);

/* A connection in slot `owner`, with a new id. */
void bed_connect(struct bed *b, uint32_t owner, uint32_t worker);
void bed_disconnect(struct bed *b, uint32_t owner); /* after all its nodes are dropped */

enum op_kind {
    OP_ACQUIRE, /* and enqueue: two_phase */
    OP_EXPIRE_KEY,
    OP_WAIT,
    OP_RELEASE,
    OP_RENEW,
    OP_EVICT,
    OP_DELIVER,
    OP_UNBLOCK,
    OP_LOSE_WAIT,
    OP_DROP_OWNER,
    OP_DROP_TOMBSTONE,
    OP_EXPIRE,
    OP_COLLECT,
    OP_EXTEND,
    OP_KINDS
};

extern const char *const op_name[OP_KINDS];

struct op {
    enum op_kind kind;
    uint32_t shard;
    uint32_t worker; /* that runs it */
    uint32_t key;    /* index in bed.key */
    uint32_t owner;
    uint32_t limit;
    uint32_t max_waiters;
    uint32_t node;   /* deliver, unblock, lose_wait; extend: the cursor */
    bool try_only, two_phase, patient, block, deliver, release_held, kept;
    uint64_t now;
    uint64_t lease;
    uint64_t fence, salt; /* release, renew, evict */
    uint64_t time;        /* collect: before; drop_tombstone: not after; extend: the gap */
};

struct outcome {
    enum verdict verdict;
    bool more; /* of those that answer with a bool */
    struct grant grant;
    uint64_t tell;
    uint32_t ngrants;
    uint32_t expired;
    uint32_t cursor; /* extend */
    uint32_t logged; /* journal entries used */
};

/* Begins a transaction and runs the operation in it. The caller commits or aborts. */
void op_run(struct bed *b, const struct op *op, struct tx *tx, struct outcome *out);

#endif
