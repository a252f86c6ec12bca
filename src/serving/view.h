/*
 * serving/view.h - looks at the table: what is there is copied under a shard's lock, a bounded number
 * of resources at a time, so that a large table disturbs nobody. What is copied at different times
 * need not fit together.
 */
#ifndef SERVING_VIEW_H
#define SERVING_VIEW_H

#include "shm/conns.h"
#include "shm/shared.h"

enum {
    VIEW_STEP = 128, /* resource slots looked at under one lock */
    VIEW_QUEUE = 100,
    VIEW_HOLDERS = 1000, /* copied at most; their number is always whole */
};

/* A holder or waiter. */
struct view_entry {
    uint64_t conn_id; /* 0: there is none */
    uint64_t fence;   /* of a holder */
    uint64_t since, end, lease; /* ns; the last two: of a holder */
    uint8_t addr[16];
    uint16_t port;
    uint8_t family; /* 0: its connection is gone */
    bool session;   /* of HTTP */
};

struct view_row {
    struct view_entry holder; /* of several the one that was granted last */
    uint64_t last_active;
    uint64_t waits_since; /* the head of the queue; UINT64_MAX: nobody waits */
    uint32_t limit, nholders, nwaiters;
    uint16_t key_len;
    uint8_t kind;
    char key[KEY_MAX];
};

/* What a resource is now, as bits: a set of them is asked for. One may be held and waited for. */
enum view_state {
    VIEW_HELD = 1,
    VIEW_WAITING = 2,
    VIEW_IDLE = 4, /* neither: it is kept for --gc-max-idle */
    VIEW_ANY = 7,
};

struct view_filter {
    unsigned kinds;  /* bits 1 << KIND_… */
    unsigned states; /* enum view_state */
    char prefix[KEY_MAX], contains[KEY_MAX];
    uint32_t prefix_len, contains_len;
};

/* Of all resources, whatever the filter. */
struct view_totals {
    uint64_t locks, locks_held, lock_waiters;
    uint64_t semaphores, semaphore_holders, semaphore_waiters;
    uint64_t idle;
    uint64_t queues; /* keys that somebody waits for; who waits for longest: */
    uint64_t waits_since;
    uint8_t waits_kind;
    uint16_t waits_key_len;
    char waits_key[KEY_MAX];
};

/* Where a walk goes on; {0, 1} at the start. */
struct view_walk {
    uint32_t shard, index;
    bool over; /* there is nothing behind it */
};

/*
 * Looks at the next VIEW_STEP slots, or fewer: until `room` rows are wanted or the shard ends. Returns
 * how many rows there are. `totals` may be NULL.
 */
uint32_t view_step(struct shared *sh, struct view_walk *at, const struct view_filter *filter,
                   uint64_t now, struct view_row *rows, uint32_t room,
                   struct view_totals *totals);

struct view_one {
    uint32_t limit, nholders, nwaiters;
    uint32_t holders_shown, queue_shown;
    struct view_entry holder[VIEW_HOLDERS];
    struct view_entry queue[VIEW_QUEUE]; /* in order */
};

/* One resource in full. False: there is none, or its shard is beyond repair. */
bool view_one(struct shared *sh, enum kind kind, const char *key, uint32_t key_len, uint64_t now,
              struct view_one *out);

/* Percent-encodes bytes for a segment of a path; writes at most 3 * n, returns how many. */
size_t view_escape(char *out, const char *bytes, size_t n);

/* "192.0.2.7:4711", or NULL: its connection is gone. */
const char *view_peer(const struct view_entry *e, char *buf, size_t n);

#endif
