/*
 * client/lock.h - what a `dflock` is inside: a claim, who drives it, and the news of its loss.
 *
 * The claim is under `mutex`, which is never held while anything blocks. While a call blocks in one
 * thread (`busy`), that thread alone drives the claim, and others leave it messages: `cancelled`,
 * `closed`, and a byte in `wake`. While the lock is held and nobody calls, the engine drives it.
 *
 * Lock order: mutex, then the engine's.
 */
#ifndef CLIENT_LOCK_H
#define CLIENT_LOCK_H

#include "client/claim.h"
#include "client/dflock.h"
#include "client/engine.h"

#include <pthread.h>
#include <stdbool.h>

/* poll() does not count the time of a suspend. */
#define LOCK_SLEEP_MAX_MS 1000

enum lock_mode { LOCK_UNUSED, LOCK_BLOCKING, LOCK_DRIVEN };

struct dflock {
    /* Never changed. */
    struct dflock_options *options;
    const struct addr *server;
    char *key;

    pthread_mutex_t mutex;
    struct claim claim;
    struct addr_list *to; /* what claim.to points at */
    enum lock_mode mode;
    bool busy, cancelled, closed;
    int wake; /* an eventfd; -1 until it is needed */
    struct watch watch;

    /* Losses that are to be told of: how many there were, how many have been begun with, and up to
       which nobody wants to know any more. */
    unsigned losses, losses_begun, losses_done;
    unsigned tellers; /* threads that call the callback, or are about to */
    pthread_cond_t told;
};

/* Locks; 0, or what forbids this call now, raised, with nothing locked. */
int lock_enter(struct dflock *l, enum lock_mode mode, const char *call);

/* Locks, for those that only read: a mutex is changed by that all the same. */
struct dflock *lock_reading(const struct dflock *l);

/* Locked before and after, not meanwhile. Makes sure that the claim can dial. */
int lock_resolve(struct dflock *l, const char *call);

/* ---- blocking.c ---- */

/* Locked: the thread that blocks looks at what it was left. */
void lock_wake(struct dflock *l);

/* ---- loss.c ---- */

/* Locked, after whatever may have lost it. */
void loss_note(struct dflock *l);
/* Locked: begins to tell of a loss, in a thread. False: there was none to be had, try again. */
bool loss_tell(struct dflock *l);
/* Locked, and unlocked during the callback: tells in this thread. */
void loss_tell_here(struct dflock *l);
/* Locked, but perhaps not meanwhile: nobody is told any more. A callback that has begun is waited
   for, unless it is the one that calls, and not for ever. */
void loss_forget(struct dflock *l);
/* Locked: waits for callbacks that run. */
void loss_wait(struct dflock *l);

/* ---- background.c: the engine's calls ---- */

void background_run(struct watch *w);
/* Locked, when nobody is driving it any more. 0 or -errno: the engine cannot take it. */
int background_take(struct dflock *l);
/* Locked, after whatever may have lost it. */
void background_tell(struct dflock *l);

#endif
