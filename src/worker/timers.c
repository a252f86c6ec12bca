/*
 * worker/timers.c - deadlines of connections: a binary heap of slots, lazily corrected.
 *
 * A deadline that moves to a later time (each request does that) costs nothing: the entry stays
 * where it is, and when it fires conn_timeout() finds nothing due and sets it anew.
 */
#include "worker/worker.h"

#include <errno.h>
#include <stdlib.h>

int timers_init(struct timers *t, uint32_t slots)
{
    t->n = 0;
    t->heap = malloc(((size_t)slots + 1) * sizeof(*t->heap));
    return t->heap ? 0 : -ENOMEM;
}

static void put(struct worker *w, uint32_t pos, uint32_t slot)
{
    w->timers.heap[pos] = slot;
    w->peers[slot].timer_pos = pos + 1;
}

static void up(struct worker *w, uint32_t pos, uint32_t slot)
{
    uint64_t due = w->peers[slot].timer_due;

    while (pos > 0) {
        uint32_t parent = (pos - 1) / 2;

        if (w->peers[w->timers.heap[parent]].timer_due <= due)
            break;
        put(w, pos, w->timers.heap[parent]);
        pos = parent;
    }
    put(w, pos, slot);
}

static void down(struct worker *w, uint32_t pos, uint32_t slot)
{
    uint64_t due = w->peers[slot].timer_due;
    uint32_t n = w->timers.n;

    for (;;) {
        uint32_t child = 2 * pos + 1;

        if (child >= n)
            break;
        if (child + 1 < n && w->peers[w->timers.heap[child + 1]].timer_due <
                                 w->peers[w->timers.heap[child]].timer_due)
            child++;
        if (w->peers[w->timers.heap[child]].timer_due >= due)
            break;
        put(w, pos, w->timers.heap[child]);
        pos = child;
    }
    put(w, pos, slot);
}

void timers_set(struct worker *w, uint32_t slot, uint64_t due)
{
    struct peer *p = &w->peers[slot];

    if (p->timer_pos) {
        if (due >= p->timer_due)
            return;
        p->timer_due = due;
        up(w, p->timer_pos - 1, slot);
    } else if (due != TIME_NEVER) {
        p->timer_due = due;
        up(w, w->timers.n++, slot);
    }
}

void timers_remove(struct worker *w, uint32_t slot)
{
    uint32_t pos = w->peers[slot].timer_pos;
    uint32_t last;

    if (!pos)
        return;
    w->peers[slot].timer_pos = 0;
    last = w->timers.heap[--w->timers.n];
    if (last == slot)
        return;
    if (w->peers[last].timer_due < w->peers[slot].timer_due)
        up(w, pos - 1, last);
    else
        down(w, pos - 1, last);
}

uint64_t timers_next(const struct worker *w)
{
    return w->timers.n ? w->peers[w->timers.heap[0]].timer_due : TIME_NEVER;
}

uint32_t timers_pop(struct worker *w)
{
    uint32_t slot;

    if (timers_next(w) > w->now)
        return 0;
    slot = w->timers.heap[0];
    timers_remove(w, slot);
    return slot;
}
