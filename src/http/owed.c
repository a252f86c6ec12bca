/*
 * http/owed.c - see owed.h. Runs in the HTTP worker.
 */
#include "http/owed.h"

#include "base/clock.h"
#include "http/http.h"

#define CROWDED_NS NS_PER_SEC /* so long nobody is slow */

enum { TIMEOUTS = 4 };

void owed_begin(struct http *h, struct owed *o, uint64_t bytes, bool own)
{
    *o = (struct owed){.began = clock_boottime_ns(), .size = bytes, .left = bytes, .own = own};
    if (own)
        h->unread += bytes;
}

void owed_less(struct http *h, struct owed *o, uint64_t bytes)
{
    if (bytes > o->left)
        bytes = o->left;
    o->left -= bytes;
    if (o->own)
        h->unread -= bytes;
}

static uint64_t age(const struct owed *o, uint64_t now)
{
    return now > o->began ? now - o->began : 0;
}

bool owed_too_long(const struct http *h, const struct owed *o, uint64_t now)
{
    uint64_t timeout = seconds_to_ns(h->settings->write_timeout);

    return timeout && o->left &&
           age(o, now) / TIMEOUTS > timeout + o->size / OWED_RATE * NS_PER_SEC / TIMEOUTS;
}

bool owed_slow(const struct owed *o, uint64_t now)
{
    uint64_t ns = age(o, now);

    return o->left && ns > CROWDED_NS &&
           (o->size - o->left) / (ns / NS_PER_MS) < OWED_RATE_CROWDED / 1000;
}

bool owed_crowded(const struct http *h)
{
    return h->unread > OWED_MAX;
}
