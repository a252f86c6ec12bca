/*
 * core/layout.h - the lock table's records, as they lie in shared memory.
 *
 * Every process that maps the region sees these structs at the same offsets, so they hold indices
 * and never pointers, and only scalars of at most 8 bytes (the journal logs one scalar at a time).
 * Index 0 means "none" in every index field; arrays of records therefore start at 1.
 *
 * docs/internals/table.md explains each field and says which are ground truth (what cannot be
 * derived from the rest) and which are derived (repair_rebuild() can make them again).
 *
 * Invariants, checked by check.c in this order and named by these numbers in logs and tests:
 *   I1  a resource has at most `limit` holders
 *   I2  a resource has waiters only while it is full, or the shard is marked starved
 *   I3  tickets strictly increase along each queue
 *   I4  each node of a claimed chunk is in exactly one of: free list or unused tail of its chunk,
 *       a queue, a holder list, named by its resource (spare), none of them (lapsed); and its state
 *       agrees
 *   I5  every fence in the table is below the region's next fence, every ticket below the shard's
 *   I6  each live resource is reachable once, from its own bucket; free ones from the free list
 *   I7  each node with an owner is in that owner's list of this shard, once, and the owner's slot
 *       carries the node's connection id
 *   I8  counts equal a recount: holders, waiters, tombstones, nodes, resources, idle ones; those of
 *       the shard, too
 *   I9  the journal is empty
 *   I10 a node has TELL set exactly when it is on the pending list of its owner's worker
 *   I11 every index is inside its array
 *   I12 each holder is in the timer wheel once, at a place not later than its end; each spare, too,
 *       wherever
 *   I13 semaphore holders are in the token index, two-phase nodes in the pair index, once, and
 *       nothing else is
 *   I14 idle resources, and only they, are in the idle list, in order of their last activity
 *   I15 each claimed chunk is linked to its shard; those with a free node are on the partial list
 */
#ifndef CORE_LAYOUT_H
#define CORE_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

/*
 * tests/upgrade builds the server once more, with records that lie elsewhere and arrays of other
 * sizes: a program that cannot share a region with this one, see docs/internals/dump.md.
 */
#ifdef REGION_LAYOUT_TEST
#define LAYOUT_SHIFT uint64_t shifts_the_rest;
enum { LAYOUT_TEST = 1 };
#else
#define LAYOUT_SHIFT
enum { LAYOUT_TEST = 0 };
#endif

enum {
    SHARD_COUNT = 64,
    WORKER_MAX = 64,
    KEY_MAX = 256,       /* bytes; protocol.md */
    KEY_INLINE = LAYOUT_TEST ? 40 : 64, /* longer keys live in the shard's long-key array */
    CHUNK_NODES = LAYOUT_TEST ? 32 : 64, /* nodes a shard claims at a time */
    WHEEL_LEVELS = 8,    /* of 64 slots each */
    WHEEL_TICK_SHIFT = 20, /* a tick is 2^20 ns, about 1.05 ms */
    SHARD_KINDS = 2,     /* of counts: locks, that is limit 1, and semaphores */
    TOMBSTONE_MAX = 1024, /* lapsed two-phase grants a connection may leave behind */
    JOURNAL_MAX = 128,   /* entries; the deepest transaction uses about 70 (die_at_store_test) */
};

#define TIME_NEVER UINT64_MAX

enum kind { KIND_LOCK = 0, KIND_SEM = 1 };

enum resource_state { RES_FREE = 0, RES_LIVE = 1, RES_IDLE = 2 };

/* A key and what hangs on it. 128 bytes. */
struct resource {
    LAYOUT_SHIFT
    uint64_t hash;        /* keyed hash of kind and key; bucket = hash & mask */
    uint64_t last_active; /* BOOTTIME ns of the last call that named it rightly */
    uint32_t limit;
    uint32_t nholders;
    uint32_t nwaiters;
    uint32_t ntombs; /* lapsed nodes that keep it from being idle */
    uint32_t holders; /* list head, newest first */
    uint32_t q_head;  /* the waiter that is granted next */
    uint32_t q_tail;
    uint32_t next; /* bucket chain, or free list */
    uint32_t idle_prev;
    uint32_t idle_next;
    uint32_t spare; /* node of the last holder, for the next one: see spare.h */
    uint16_t key_len;
    uint8_t kind;
    uint8_t state;
    char key[KEY_INLINE];
};

enum node_state {
    NODE_FREE = 0,
    NODE_WAITING = 1, /* in its resource's queue */
    NODE_HELD = 2,    /* in its resource's holder list and in the timer wheel */
    NODE_LAPSED = 3,  /* the lease ended before the owner heard of the grant, or before `w` */
    NODE_SPARE = 4,   /* nobody's: its resource keeps it, and it is still in the timer wheel */
};

enum node_flag {
    NODE_TELL = 1,      /* on the pending list of its owner's worker */
    NODE_TWO_PHASE = 2, /* made by `e`, not yet settled by `w`; in the pair index */
    NODE_BLOCKED = 4,   /* a request of its owner waits for it */
    NODE_KEPT = 8,      /* its owner is gone by the server's fault: whoever renews it owns it */
    NODE_UNTOLD = 16,   /* granted from the queue, its token not yet given to anybody */
};

/* A waiter or a holder: one record in two states. 104 bytes. */
struct node {
    LAYOUT_SHIFT
    uint64_t conn_id; /* whose it is, also after that connection is gone */
    uint64_t order;   /* WAITING: ticket; HELD and LAPSED: fence */
    uint64_t salt;    /* second half of the token */
    uint64_t end;     /* HELD: lease end, BOOTTIME ns */
    uint64_t lease;   /* ns */
    uint64_t since;   /* WAITING: queued at; HELD: granted at; LAPSED: lapsed at */
    uint32_t res;
    uint32_t owner; /* owner slot, 0 = none */
    uint32_t prev;  /* queue or holder list; `next` also the chunk's free list */
    uint32_t next;
    uint32_t own_prev; /* owner's list of this shard */
    uint32_t own_next;
    uint32_t pend_prev; /* the shard's pending list of the owner's worker */
    uint32_t pend_next;
    uint32_t tok_next;  /* token index chain */
    uint32_t pair_next; /* pair index chain */
    uint32_t tw_prev;   /* timer wheel slot list */
    uint32_t tw_next;
    uint16_t tw_slot; /* level * 64 + slot + 1, 0 = not in the wheel */
    uint8_t state;
    uint8_t flags;
    uint32_t extended; /* HELD: ns by which `end` was put off since the lease began: leases_extend() */
};

/*
 * Nodes come in chunks that a shard claims from the common pool, so that one hot key can use the
 * whole table while nothing is ever allocated across shards.
 */
struct chunk {
    LAYOUT_SHIFT
    uint32_t free_head; /* nodes given back */
    uint32_t bump;      /* nodes [bump, CHUNK_NODES) were never used since the claim */
    uint32_t nfree;
    uint32_t linked; /* 1 once the claiming shard accounts for it */
    uint32_t prev;   /* partial list: claimed chunks with a free node */
    uint32_t next;
    struct node node[CHUNK_NODES];
};

/*
 * What may own nodes: a connection, or later an HTTP session. `held[s]` heads the list of its
 * nodes in shard s and changes only under that shard's mutex, which is why it is an array.
 */
struct owner {
    LAYOUT_SHIFT
    uint64_t id;     /* connection id, 0 = slot unused */
    uint32_t worker; /* slot of the worker that serves it */
    uint32_t reserved;
    uint32_t held[SHARD_COUNT];
    uint32_t tombs[SHARD_COUNT];
};

struct journal_entry {
    uint64_t old;
    uint64_t where; /* byte offset from the base << 4 | size of the scalar */
};

struct journal {
    uint32_t count;
    uint32_t reserved;
    struct journal_entry entry[JOURNAL_MAX];
};

/* The timer wheel of one shard: see leases.c. */
struct wheel {
    LAYOUT_SHIFT
    uint64_t now;      /* tick that everything before has been dealt with */
    uint64_t occupied[WHEEL_LEVELS];
    uint32_t draining; /* slot (level * 64 + slot + 1) whose nodes are being moved down, 0 = none */
    uint32_t reserved;
    uint32_t slot[WHEEL_LEVELS * 64];
};

enum shard_state {
    SHARD_OK = 0,
    /* A rebuild was begun; it must be finished before anything else, and believes what it finds.
       No value that a stray store makes; whatever is none of these is mended as SHARD_OK is. */
    SHARD_REBUILDING = 0x52424c44,
    SHARD_QUARANTINED = 2, /* beyond repair; its keys answer `error` */
};

/* What each transaction touches is one cache line, with the journal's count at its end; the entries
   begin the next one. */
struct shard {
    LAYOUT_SHIFT
    uint32_t state;
    uint32_t moving; /* chunk (+1) being claimed or given back; not journalled, see pool.c */
    uint64_t idle_oldest; /* last_active of idle_head, or TIME_NEVER; read without the mutex */
    uint32_t idle_head; /* longest idle first */
    uint32_t idle_tail;
    uint32_t nidle;    /* resources on the idle list */
    uint32_t nheld[SHARD_KINDS]; /* holders and waiters of all its resources: read without the mutex */
    uint32_t nwaiting[SHARD_KINDS];
    uint32_t starved;  /* nothing could be promised: from this resource slot on a free slot may lie
                          beside a waiter, until table_expire() has been there; 0 = nowhere */
    uint32_t partial;  /* chunks with a free node */
    uint32_t nfree;    /* free nodes in all its chunks */
    struct journal journal;
    uint64_t ticket_next;
    uint32_t res_free;    /* list of freed resource slots */
    uint32_t res_bump;    /* slots above were never used */
    uint32_t res_count;
    uint32_t nchunks;
    uint32_t pending[WORKER_MAX];
    struct wheel wheel;
};

/* Sizes and places of everything above, fixed when the region is made. */
struct geometry {
    uint64_t from;         /* a transaction changes nothing before this offset … */
    uint64_t size;         /* … nor from here on: the end of the table */
    uint64_t shards;       /* offsets from the base */
    uint64_t next_due;     /* u64 a shard: no lease ends before it; read without the mutex. Apart
                              from the shards, so that looking at all of them is cheap */
    uint64_t owners;
    uint64_t chunk_owner;
    uint64_t chunks;
    uint64_t resources;
    uint64_t long_keys;
    uint64_t buckets;
    uint64_t tok_buckets;
    uint64_t pair_buckets;
    uint64_t shard_stride;
    uint32_t nowners;      /* owner slots 1..nowners */
    uint32_t nchunks;      /* chunks 0..nchunks-1, nodes 1..nchunks*CHUNK_NODES */
    uint32_t res_per_shard; /* slots 1..res_per_shard of each shard */
    uint32_t res_mask;     /* buckets of a shard - 1 */
    uint32_t node_mask;    /* token and pair buckets of a shard - 1 */
    uint32_t max_locks;
};

/* What the geometry is computed from. */
struct layout_limits {
    uint32_t max_locks;  /* resources the table must be able to hold, 1 … 2^26 */
    uint32_t max_owners; /* connections and sessions, 1 … 2^22 */
    uint64_t max_nodes;  /* holders and waiters; 0 = derived from the two above */
};

/* Nodes by default: a holder for each lock, a place in some queue for each connection, and room for
   one semaphore of the largest limit. Only what is used is ever touched. */
uint64_t layout_nodes(uint32_t max_locks, uint32_t max_owners);

/*
 * Places the table from byte `start` of a block on (aligned up to a page). Returns 0, or -ERANGE
 * when the limits are outside the ranges above or the journal could not address the block.
 */
int layout_compute(const struct layout_limits *limits, uint64_t start, struct geometry *out);

_Static_assert(LAYOUT_TEST || sizeof(struct resource) == 128, "resource");
_Static_assert(LAYOUT_TEST || sizeof(struct node) == 104, "node");
_Static_assert(sizeof(struct journal_entry) == 16, "journal entry");
_Static_assert(LAYOUT_TEST || offsetof(struct shard, journal.entry) == 64, "shard's first line");

#endif
