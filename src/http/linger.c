/*
 * http/linger.c - see linger.h. Runs in the HTTP worker.
 *
 * A reference to the bufferevent outlives libevent's connection: it has the socket, and closes it
 * when the last reference goes. libevent shuts the socket's side down meanwhile.
 */
#include "http/linger.h"

#include "base/clock.h"
#include "http/http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>

enum { LINGER_MOST = 256 };

#define LINGER_NS UINT64_C(10000000000)

struct one {
    struct one *prev, *next; /* the younger one */
    struct lingering *all;
    struct bufferevent *b;
    uint64_t until;
};

struct lingering {
    struct one *first, *last;
    struct one *fresh; /* this one and those behind it have not begun */
    unsigned n;
};

int linger_init(struct http *h)
{
    h->lingering = calloc(1, sizeof(*h->lingering));
    return h->lingering ? 0 : -ENOMEM;
}

void linger(struct http *h, struct bufferevent *b)
{
    struct lingering *all = h->lingering;
    struct one *o = calloc(1, sizeof(*o));

    if (!o)
        return;
    bufferevent_incref(b);
    o->all = all;
    o->b = b;
    o->until = clock_boottime_ns() + LINGER_NS;
    o->prev = all->last;
    *(o->prev ? &o->prev->next : &all->first) = o;
    all->last = o;
    all->n++;
    if (!all->fresh)
        all->fresh = o;
}

static void end(struct one *o)
{
    struct lingering *all = o->all;

    *(o->prev ? &o->prev->next : &all->first) = o->next;
    *(o->next ? &o->next->prev : &all->last) = o->prev;
    all->n--;
    bufferevent_setcb(o->b, NULL, NULL, NULL, NULL);
    bufferevent_disable(o->b, EV_READ | EV_WRITE);
    bufferevent_decref(o->b);
    free(o);
}

static void throw_away(struct bufferevent *b, void *one)
{
    struct evbuffer *in = bufferevent_get_input(b);

    (void)one;
    evbuffer_drain(in, evbuffer_get_length(in));
}

static void ended(struct bufferevent *b, short what, void *one)
{
    (void)b, (void)what;
    end(one);
}

static void begin(struct one *o)
{
    throw_away(o->b, o);
    bufferevent_setcb(o->b, throw_away, NULL, ended, o);
    if (bufferevent_enable(o->b, EV_READ) != 0)
        end(o);
}

void linger_turn(struct http *h)
{
    struct lingering *all = h->lingering;

    /* Not before libevent has done with them. */
    while (all->fresh) {
        struct one *o = all->fresh;

        all->fresh = o->next;
        begin(o);
    }
    while (all->first && (all->n > LINGER_MOST || h->now >= all->first->until))
        end(all->first);
}
