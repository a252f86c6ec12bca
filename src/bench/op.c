/*
 * bench/op.c - see op.h.
 */
#include "bench/op.h"

#include <inttypes.h>
#include <string.h>

enum { TWO_STEPS_EVERY = 8 };

int op_begin(struct driver *d, struct slot *slot)
{
    struct worker *w = slot->worker;
    int err;

    slot->link = &w->links[w->turn++ % d->s->connections];
    slot->granted = false;
    if (d->check)
        check_asked(d->check, &slot->wish, w->id, d->highest[w->server], d->now);
    if (d->check && d->s->shared_key && (slot->nth++ + w->id) % TWO_STEPS_EVERY == 0) {
        slot->state = SLOT_QUEUEING;
        err = driver_ask(d, slot, "e", d->enqueue_arg);
        return err ? err : driver_ask(d, slot, "w", d->wait_arg);
    }
    slot->state = SLOT_ACQUIRING;
    return driver_ask(d, slot, "l", d->acquire_arg);
}

static const char *const names[] = {
    [SLOT_ACQUIRING] = "acquire",
    [SLOT_QUEUEING] = "enqueue",
    [SLOT_WAITING] = "wait",
    [SLOT_RELEASING] = "release",
};

/* What to do about a reply that is no success. */
static const char *advice(const struct slot *slot, int status, const char *text)
{
    switch (status) {
    case DFLOCK_ERR_TIMEOUT:
        return "not granted within the seconds of --timeout";
    case DFLOCK_ERR_MAX_LOCKS:
        return "each operation under way needs a key: raise the server's --max-locks, or lower "
               "--workers or --pipeline";
    case DFLOCK_ERR_MAX_WAITERS:
        return "raise the server's --max-waiters, or lower --workers";
    case DFLOCK_ERR_LEASE_EXPIRED:
        return "the lease had ended; ask for a longer one with --lease";
    case DFLOCK_ERR_DRAINING:
        return "the server is about to stop";
    case DFLOCK_ERR_AUTH:
        return "the server wants another token, or one at all";
    case DFLOCK_ERR_SERVER:
        return slot->state == SLOT_RELEASING
                   ? "the lock was not held any more: its lease had ended; ask for a longer one "
                     "with "
                     "--lease"
                   : "the server refuses such a request; its --max-lease-ttl may be below --lease";
    case DFLOCK_ERR_STATE:
        return strstr(text, "rate_limited")
                   ? "raise the server's --http-rate-limit-per-ip, or ask less by --rate"
               : strstr(text, "bad_request")
                   ? "the server refuses such a request; its --max-lease-ttl may be below --lease"
                   : "see the log of the server";
    default:
        return "no dflockd answers that";
    }
}

static int refused(struct driver *d, const struct slot *slot, const struct dflock_reply *reply)
{
    const char *hint = advice(slot, reply->status, reply->text);
    int code = reply->status == DFLOCK_ERR_AUTH ? EXIT_AUTH : EXIT_BROKEN;

    if (slot->state == SLOT_RELEASING && reply->status == DFLOCK_ERR_SERVER && d->check &&
        check_refused(d->check, slot->key, &slot->wish, d->now))
        hint = "the lock was not held any more, though its lease can not have ended";
    return driver_fail(d, code,
                       "worker %" PRIu32 ": %s of key %s at %s: the server answered "
                       "\"%.80s\": %s",
                       slot->worker->id, names[slot->state], slot->key->name, slot->link->address,
                       reply->text, hint);
}

static void granted(struct driver *d, struct slot *slot, const struct dflock_reply *reply)
{
    uint64_t fence = dflock_token_fence(reply->token), *highest = &d->highest[slot->worker->server];

    slot->granted = true;
    if (d->check)
        check_granted(d->check, slot->key, &slot->wish, reply->token, fence, reply->seconds,
                      d->now);
    else
        memcpy(slot->wish.token, reply->token, sizeof(slot->wish.token));
    if (fence > *highest)
        *highest = fence;
}

static int release(struct driver *d, struct slot *slot)
{
    slot->state = SLOT_RELEASING;
    return driver_release(d, slot);
}

/* The reply to a wait: the grant, or the same one again after "acquired". */
static int waited(struct driver *d, struct slot *slot, const struct dflock_reply *reply)
{
    if (!slot->granted)
        granted(d, slot, reply);
    else if (strcmp(slot->wish.token, reply->token) != 0)
        return driver_fail(d, EXIT_BROKEN,
                           "worker %" PRIu32 ": key %s at %s: the wait was answered "
                           "with token %s, the enqueue before it with %s",
                           slot->worker->id, slot->key->name, slot->link->address, reply->token,
                           slot->wish.token);
    return release(d, slot);
}

int op_answered(struct driver *d, struct slot *slot, const struct dflock_reply *reply)
{
    if (reply->status < 0)
        return refused(d, slot, reply);
    switch (slot->state) {
    case SLOT_ACQUIRING:
        granted(d, slot, reply);
        return release(d, slot);
    case SLOT_QUEUEING:
        if (reply->status == DFLOCK_HELD)
            granted(d, slot, reply);
        else
            check_queued(d->check, slot->key, &slot->wish);
        slot->state = SLOT_WAITING;
        return 0;
    case SLOT_WAITING:
        return waited(d, slot, reply);
    default:
        driver_done(d, slot);
        return 0;
    }
}
