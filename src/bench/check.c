/*
 * bench/check.c - see check.h.
 */
#include "bench/check.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void check_init(struct check *c, bool several, int64_t epoch)
{
    memset(c, 0, sizeof(*c));
    c->several = several;
    c->epoch = epoch;
    pthread_mutex_init(&c->lock, NULL);
}

void check_destroy(struct check *c)
{
    pthread_mutex_destroy(&c->lock);
}

static void enter(struct check *c)
{
    if (c->several)
        pthread_mutex_lock(&c->lock);
}

static void leave(struct check *c)
{
    if (c->several)
        pthread_mutex_unlock(&c->lock);
}

/* As in the server's log. */
static const char *time_of_day(const struct check *c, uint64_t now, char out[32])
{
    int64_t ns = (int64_t)now + c->epoch;
    time_t seconds = (time_t)(ns / (int64_t)NS_PER_SEC);
    struct tm tm;
    size_t n;

    gmtime_r(&seconds, &tm);
    n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, 32 - n, ".%03dZ", (int)(ns % (int64_t)NS_PER_SEC / (int64_t)NS_PER_MS));
    return out;
}

__attribute__((format(printf, 4, 5))) static void
violated(struct check *c, const struct check_key *k, uint64_t now, const char *fmt, ...)
{
    char when[32], *text;
    va_list ap;
    int n;

    if (c->violations++ >= CHECK_SHOWN)
        return;
    text = c->text[c->violations - 1];
    n = snprintf(text, CHECK_TEXT, "%s: key %s: ", time_of_day(c, now, when), k->name);
    va_start(ap, fmt);
    vsnprintf(text + n, CHECK_TEXT - (size_t)n, fmt, ap);
    va_end(ap);
}

void check_asked(struct check *c, struct check_wish *w, uint32_t worker, uint64_t floor,
                 uint64_t now)
{
    enter(c);
    w->worker = worker;
    w->queued = false;
    w->asked = ++c->events;
    w->asked_ns = now;
    w->floor = floor;
    w->passed_fence = 0;
    leave(c);
}

void check_queued(struct check *c, struct check_key *k, struct check_wish *w)
{
    enter(c);
    w->queued = true;
    w->queued_at = ++c->events;
    w->next = NULL;
    w->prev = k->last;
    if (k->last)
        k->last->next = w;
    else
        k->first = w;
    k->last = w;
    c->places++;
    leave(c);
}

static void leave_queue(struct check_key *k, struct check_wish *w)
{
    if (w->prev)
        w->prev->next = w->next;
    else
        k->first = w->next;
    if (w->next)
        w->next->prev = w->prev;
    else
        k->last = w->prev;
    w->queued = false;
}

/* w has been granted. Who was in the queue when it was asked for comes first; whether he did says
 * his fence, when it is known. In a queue that is in order the first of it stands behind w. */
static void note_passed(struct check_key *k, const struct check_wish *w, uint64_t now)
{
    for (struct check_wish *q = k->first; q && q->queued_at < w->asked; q = q->next)
        if (q->passed_fence == 0 || w->fence < q->passed_fence) {
            q->passed_fence = w->fence;
            q->passed_ns = now;
            q->passed_worker = w->worker;
            memcpy(q->passed_token, w->token, sizeof(q->passed_token));
        }
}

static void judge_order(struct check *c, const struct check_key *k, const struct check_wish *w,
                        uint64_t now)
{
    char when[32];

    if (w->passed_fence > 0 && w->passed_fence < w->fence)
        violated(c, k, now,
                 "not in order: worker %" PRIu32
                 " was in the queue (token %s) before worker %" PRIu32
                 " asked, who was granted the lock first (token %s, received at %s)",
                 w->worker, w->token, w->passed_worker, w->passed_token,
                 time_of_day(c, w->passed_ns, when));
}

static void judge_fence(struct check *c, const struct check_key *k, const struct check_wish *w,
                        uint64_t now)
{
    if (w->fence <= w->floor)
        violated(c, k, now,
                 "the fence does not grow: worker %" PRIu32 " has token %s, fence %" PRIu64
                 ", but %" PRIu64 " had been received from this server before it asked",
                 w->worker, w->token, w->fence, w->floor);
    else if (w->fence <= k->highest && now < w->held_until)
        violated(c, k, now,
                 "the fence does not grow: worker %" PRIu32 " has token %s, fence %" PRIu64
                 ", but %" PRIu64 " had been granted for this key before",
                 w->worker, w->token, w->fence, k->highest);
}

static void judge_exclusive(struct check *c, const struct check_key *k, const struct check_wish *w,
                            uint64_t now)
{
    const struct check_wish *h = k->holder;
    char when[32];

    if (h && now < h->held_until && now < w->held_until)
        violated(c, k, now,
                 "two holders: worker %" PRIu32 " (token %s, received at %s) and worker %" PRIu32
                 " (token %s, now), neither has released",
                 h->worker, h->token, time_of_day(c, h->granted_ns, when), w->worker, w->token);
}

/* It was granted after it was asked for, and after the time of those who had it before. */
static uint64_t earliest_end(const struct check_key *k, const struct check_wish *w, uint64_t lease)
{
    uint64_t from = w->asked_ns, ns, end;

    if (w->fence > k->held_fence && k->held_ns > from)
        from = k->held_ns;
    if (__builtin_mul_overflow(lease, NS_PER_SEC - NS_PER_MS, &ns) ||
        __builtin_add_overflow(from, ns, &end))
        return UINT64_MAX;
    return end;
}

void check_granted(struct check *c, struct check_key *k, struct check_wish *w, const char *token,
                   uint64_t fence, uint64_t lease, uint64_t now)
{
    enter(c);
    c->events++;
    c->grants++;
    if (w->queued)
        leave_queue(k, w);
    memcpy(w->token, token, sizeof(w->token));
    w->fence = fence;
    /* Another thread may have read its clock later and come first. */
    if (now > k->seen)
        k->seen = now;
    now = k->seen;
    w->granted_ns = now;
    w->held_until = earliest_end(k, w, lease);
    judge_exclusive(c, k, w, now);
    judge_fence(c, k, w, now);
    judge_order(c, k, w, now);
    note_passed(k, w, now);
    if (fence > k->highest)
        k->highest = fence;
    k->holder = w;
    leave(c);
}

void check_releasing(struct check *c, struct check_key *k, struct check_wish *w, uint64_t now)
{
    enter(c);
    c->events++;
    if (k->holder == w)
        k->holder = NULL;
    if (now < w->held_until && now > k->held_ns) {
        k->held_ns = now;
        k->held_fence = w->fence;
    }
    leave(c);
}

bool check_refused(struct check *c, const struct check_key *k, const struct check_wish *w,
                   uint64_t now)
{
    bool early = now < w->held_until;

    enter(c);
    if (early)
        violated(c, k, now,
                 "not kept: worker %" PRIu32 " (token %s) may not release, %.3f s before its lease "
                 "can have ended",
                 w->worker, w->token, (double)(w->held_until - now) * 1e-9);
    leave(c);
    return early;
}
