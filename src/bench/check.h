/*
 * bench/check.h - whether what was seen can come from a server that keeps its promises: one holder
 * at a time, first come first served, fences that grow.
 *
 * Each rule uses only facts that are certain for who sees requests go and replies come, so that no
 * delay of a network, of the server or of this program makes one up:
 *   - a request is executed after it was sent and before its reply came;
 *   - a lock is surely held from the receipt of the grant until its release is sent, but not beyond
 *     the earliest end of its lease: the lease counted from when the request was sent, or from when
 *     somebody who had the lock before, by his fence, still held it, less a thousandth for clocks
 * that do not run alike;
 *   - a place in the queue is surely taken when `queued` has been received;
 *   - fences are given in the order of the grants, whenever these are received.
 *
 *   exclusive   two grants of a key are surely held at the same moment.
 *   fenced      a fence is not above one that was received from the same server before the request
 *               for it was sent; or not above one of the same key, received while the lease of the
 *               new one can not have ended.
 *   in order    a place was surely taken before another request for the key was sent, and that
 *               one was granted first, by their fences.
 *   kept        a release is refused before the lease can have ended.
 *
 * An eviction by an operator looks like a violation; for the holder it is one.
 *
 * Whoever uses this says what happened in the order in which it happened: check_asked() before the
 * request is sent, the others after the reply was read, check_releasing() before the release is
 * sent; `now` is a reading of CLOCK_BOOTTIME between the event and the call. One check is used by
 * one thread, or by several if it was made for that; it is the only thing here that takes a lock.
 */
#ifndef BENCH_CHECK_H
#define BENCH_CHECK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK_SHOWN 10  /* violations kept in words; the others are counted */
#define CHECK_TEXT 1024 /* a key has at most 256 bytes */

/* What is wanted of a key, from the request to the release. One per slot, used again and again. */
struct check_wish {
    uint32_t worker;
    bool queued;        /* it is in the key's queue, or its grant is on the way */
    uint64_t asked;     /* when it was sent, in events of the check */
    uint64_t asked_ns;  /* and by the clock */
    uint64_t floor;     /* the highest fence received from the server before */
    uint64_t queued_at; /* when `queued` came, in events of the check */
    uint64_t fence;
    uint64_t granted_ns;
    uint64_t held_until; /* the earliest end of the lease */
    char token[33];
    struct check_wish *prev, *next; /* of the key's queue */
    /* The least fence that was granted to somebody who asked when this one was in the queue. */
    uint64_t passed_fence, passed_ns;
    uint32_t passed_worker;
    char passed_token[33];
};

/* All zeros at first but the name. */
struct check_key {
    const char *name;
    struct check_wish *holder;       /* the last one granted, until its release is sent */
    struct check_wish *first, *last; /* those in the queue, in the order of queued_at */
    uint64_t highest;                /* fence */
    uint64_t held_ns, held_fence;    /* when somebody surely held it, and by which fence */
    uint64_t seen;                   /* the last `now` of a grant */
};

struct check {
    bool several; /* threads */
    pthread_mutex_t lock;
    int64_t epoch; /* of the clock `now`, in ns of the time of day */
    uint64_t events;
    uint64_t grants; /* that were looked at */
    uint64_t places; /* in a queue that were compared with later requests */
    uint64_t violations;
    char text[CHECK_SHOWN][CHECK_TEXT];
};

/* epoch: what is to be added to `now` for the time of day. */
void check_init(struct check *c, bool several, int64_t epoch);
void check_destroy(struct check *c);

/* floor: the highest fence that this server has given to the caller so far. */
void check_asked(struct check *c, struct check_wish *w, uint32_t worker, uint64_t floor,
                 uint64_t now);
void check_queued(struct check *c, struct check_key *k, struct check_wish *w);
/* lease in seconds. */
void check_granted(struct check *c, struct check_key *k, struct check_wish *w, const char *token,
                   uint64_t fence, uint64_t lease, uint64_t now);
void check_releasing(struct check *c, struct check_key *k, struct check_wish *w, uint64_t now);
/* The release was refused. Returns whether that is a violation: the lease can not have ended. */
bool check_refused(struct check *c, const struct check_key *k, const struct check_wish *w,
                   uint64_t now);

#endif
