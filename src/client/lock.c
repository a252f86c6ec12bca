/*
 * client/lock.c - handles of locks and semaphore slots: made, asked, ended. See lock.h.
 */
#include "client/lock.h"

#include "base/clock.h"
#include "client/error.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static dflock *make(const char *key, uint32_t limit, const dflock_options *o, const char *call)
{
    struct failure f = {0};
    dflock *l;
    int server;

    if (key == NULL)
        failure_set(&f, DFLOCK_ERR_INVALID, "no key");
    else
        wire_check_key(key, &f);
    if (f.code != 0) {
        failure_raise(&f, call);
        return NULL;
    }
    l = calloc(1, sizeof *l);
    if (l == NULL)
        goto fail;
    l->wake = -1;
    l->key = strdup(key);
    l->options = options_copy(o);
    if (l->key == NULL || l->options == NULL)
        goto fail_parts;
    server = options_server(l->options, key, call); /* says itself what is wrong */
    if (server < 0) {
        dflock_options_free(l->options);
        free(l->key);
        free(l);
        return NULL;
    }
    l->server = &l->options->servers[server];
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->told, NULL);
    claim_init(&l->claim, l->options, l->server, l->key, limit);
    engine_watch_init(&l->watch, background_run);
    return l;

fail_parts:
    dflock_options_free(l->options);
    free(l->key);
    free(l);
fail:
    error_raise(DFLOCK_ERR_SYSTEM, call, "no memory");
    return NULL;
}

dflock *dflock_lock_new(const char *key, const dflock_options *o)
{
    return make(key, 0, o, "dflock_lock_new");
}

dflock *dflock_semaphore_new(const char *key, uint32_t limit, const dflock_options *o)
{
    struct failure f = {0};

    if (wire_check_limit(limit, &f) != 0) {
        failure_raise(&f, "dflock_semaphore_new");
        return NULL;
    }
    return make(key, limit, o, "dflock_semaphore_new");
}

void dflock_close(dflock *l)
{
    if (l == NULL)
        return;
    pthread_mutex_lock(&l->mutex);
    l->closed = true;
    if (!l->busy)
        claim_close(&l->claim, clock_boottime_ns());
    else
        lock_wake(l);
    loss_forget(l);
    pthread_mutex_unlock(&l->mutex);
}

void dflock_free(dflock *l)
{
    if (l == NULL)
        return;
    dflock_close(l);
    engine_leave(&l->watch);
    pthread_mutex_lock(&l->mutex);
    loss_wait(l);
    pthread_mutex_unlock(&l->mutex);
    claim_free(&l->claim);
    if (l->wake >= 0)
        close(l->wake);
    pthread_cond_destroy(&l->told);
    pthread_mutex_destroy(&l->mutex);
    free(l->to);
    dflock_options_free(l->options);
    free(l->key);
    free(l);
}

int lock_enter(struct dflock *l, enum lock_mode mode, const char *call)
{
    const char *why = NULL;
    int error = DFLOCK_ERR_STATE;

    if (l == NULL)
        return error_raise(DFLOCK_ERR_INVALID, call, "no handle");
    pthread_mutex_lock(&l->mutex);
    if (l->closed) {
        error = DFLOCK_ERR_CLOSED;
        why = "the handle was closed";
    } else if (l->busy) {
        why = "another thread is in a call that blocks";
    } else if (l->mode != LOCK_UNUSED && l->mode != mode) {
        why = mode == LOCK_DRIVEN ? "the handle is used with blocking calls"
                                  : "the handle is driven by an event loop";
    }
    if (why == NULL) {
        l->mode = mode;
        return 0;
    }
    pthread_mutex_unlock(&l->mutex);
    return error_raise(error, call, "%.80s: %s", l->key, why);
}

/* Most names have one address or two, and there is room for sixteen. */
static struct addr_list *trimmed(struct addr_list *to)
{
    struct addr_list *less = realloc(to, offsetof(struct addr_list, at) + to->n * sizeof to->at[0]);

    return less != NULL ? less : to;
}

int lock_resolve(struct dflock *l, const char *call)
{
    struct failure f = {0};
    struct addr_list *to;
    bool busy = l->busy;

    /* In other states it is not dialled for a call, or has an address. */
    if (l->claim.linked || (l->claim.state != CLAIM_IDLE && l->claim.state != CLAIM_LOST))
        return 0;
    /* Nobody else drives it meanwhile, so that it does not dial. */
    l->busy = true;
    pthread_mutex_unlock(&l->mutex);
    to = malloc(sizeof *to);
    if (to == NULL)
        failure_set(&f, DFLOCK_ERR_SYSTEM, "%.80s: no memory", l->key);
    else
        addr_resolve(l->server, to, &f);
    pthread_mutex_lock(&l->mutex);
    l->busy = busy;
    if (f.code != 0) {
        free(to);
        return failure_raise(&f, call);
    }
    free(l->to);
    l->claim.to = l->to = trimmed(to);
    return 0;
}

/* ---- What it is ------------------------------------------------------------------------------ */

struct dflock *lock_reading(const struct dflock *l)
{
    struct dflock *own = (struct dflock *)(uintptr_t)l;

    pthread_mutex_lock(&own->mutex);
    return own;
}

int dflock_is_held(const dflock *l)
{
    struct dflock *own;
    bool held;

    if (l == NULL)
        return 0;
    own = lock_reading(l);
    held = claim_is_held(&own->claim, clock_boottime_ns());
    pthread_mutex_unlock(&own->mutex);
    return held;
}

double dflock_lease_left(const dflock *l)
{
    struct dflock *own;
    uint64_t now;
    double left = 0;

    if (l == NULL)
        return 0;
    own = lock_reading(l);
    now = clock_boottime_ns();
    if (claim_is_held(&own->claim, now))
        left = (double)(own->claim.end - now) / (double)NS_PER_SEC;
    pthread_mutex_unlock(&own->mutex);
    return left;
}

const char *dflock_token(const dflock *l)
{
    return l != NULL ? l->claim.token : "";
}

uint64_t dflock_fence(const dflock *l)
{
    struct dflock *own;
    uint64_t fence;

    if (l == NULL)
        return 0;
    own = lock_reading(l);
    fence = own->claim.fence;
    pthread_mutex_unlock(&own->mutex);
    return fence;
}

uint64_t dflock_lease(const dflock *l)
{
    struct dflock *own;
    uint64_t lease;

    if (l == NULL)
        return 0;
    own = lock_reading(l);
    lease = own->claim.lease;
    pthread_mutex_unlock(&own->mutex);
    return lease;
}

const char *dflock_key(const dflock *l)
{
    return l != NULL ? l->key : "";
}

const char *dflock_server(const dflock *l)
{
    return l != NULL ? l->server->text : "";
}
