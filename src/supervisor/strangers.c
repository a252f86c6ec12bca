/*
 * supervisor/strangers.c - see strangers.h. Runs in the master; takes no lock.
 */
#include "supervisor/strangers.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

enum { SHARE = 10, LEAST = 4 };

#define LEAVES_NS (100 * NS_PER_MS)
#define ASK_AGAIN_NS NS_PER_SEC

int strangers_init(struct strangers *s, const struct region *r)
{
    s->list = malloc(((size_t)r->max_conns + LEAST) * sizeof(*s->list));
    return s->list ? 0 : -ENOMEM;
}

uint32_t strangers_max(const struct keeper *k)
{
    return k->max / SHARE < LEAST ? LEAST : k->max / SHARE;
}

static bool is_stranger(struct keeper *k, uint32_t slot, uint64_t id)
{
    const struct conn *c = conns_slot(k->r, slot);
    unsigned flags = __atomic_load_n(&c->flags, __ATOMIC_RELAXED);

    return k->kept[slot].taken && c->id == id && !(flags & (CONN_AUTHENTICATED | CONN_ADMITTED));
}

/* Ids are given in the order of acceptance. */
static int by_id(const void *a, const void *b)
{
    const struct stranger *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

void strangers_add(struct strangers *s, const struct keeper *k, uint32_t slot)
{
    s->moved = true;
    if (s->guarded)
        s->list[s->n++] = (struct stranger){.slot = slot, .id = conns_slot(k->r, slot)->id};
}

void strangers_guard(struct strangers *s, struct keeper *k, bool guarded)
{
    bool before = s->guarded;

    s->guarded = guarded;
    if (before == guarded)
        return;
    s->n = 0;
    for (uint32_t slot = 1; guarded && slot <= k->r->max_conns; slot++)
        if (is_stranger(k, slot, conns_slot(k->r, slot)->id))
            strangers_add(s, k, slot);
    qsort(s->list, s->n, sizeof(*s->list), by_id);
}

static void sweep(struct strangers *s, struct keeper *k)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->n; i++)
        if (is_stranger(k, s->list[i].slot, s->list[i].id))
            s->list[n++] = s->list[i];
    s->n = n;
}

bool strangers_full(struct strangers *s, struct keeper *k)
{
    /* So the list is never longer than the larger of LEAST and the table. */
    if (!s->guarded || s->n < strangers_max(k))
        return false;
    sweep(s, k);
    return s->n >= strangers_max(k);
}

/* Who was asked just now is on its way out; who has not left after that while has begun to speak just
   then, or its worker has died. */
static bool leaves(const struct stranger *x, uint64_t now)
{
    return x->asked && now < x->asked + LEAVES_NS;
}

static bool may_be_asked(struct keeper *k, const struct stranger *x, uint64_t now)
{
    const struct conn *c = conns_slot(k->r, x->slot);

    return __atomic_load_n(&c->in_tail, __ATOMIC_RELAXED) == 0 &&
           __atomic_load_n(&c->request_since, __ATOMIC_RELAXED) == 0 &&
           (!x->asked || now >= x->asked + ASK_AGAIN_NS);
}

uint32_t strangers_leave(struct strangers *s, struct keeper *k, uint64_t now, uint32_t *slot)
{
    uint32_t named = 0, leaving = 0;

    if (now > s->since + LEAVES_NS)
        s->want = 1; /* nobody has waited for a while */
    else if (s->moved && s->want < STRANGERS_ROOM)
        s->want *= 2;
    s->since = now;
    s->moved = false;
    for (uint32_t i = 0; i < s->n && leaving < s->want; i++) {
        struct stranger *x = &s->list[i];

        if (now < conns_slot(k->r, x->slot)->accepted + STRANGER_SILENT_NS)
            break; /* nor are those that came later as old */
        if (leaves(x, now)) {
            leaving++;
        } else if (may_be_asked(k, x, now)) {
            x->asked = now;
            slot[named++] = x->slot;
            leaving++;
        }
    }
    return named;
}
