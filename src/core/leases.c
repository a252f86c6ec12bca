/*
 * core/leases.c - a hierarchical timer wheel (Varghese and Lauck, SOSP 1987, scheme 7). The
 * shard's mutex is held.
 *
 * Why a wheel and not a heap: insert and remove are O(1) with four or five stores, whatever the
 * number of leases, and it needs no array of its own, only links in the nodes.
 *
 * Time is counted in ticks of 2^20 ns; an end is rounded up, so nothing ends early. A node due at
 * tick d lies, seen from the wheel's tick c, at level = (highest bit of d ^ c) / 6, in the slot
 * that is d's digit of that level. So everything at level 0 shares all higher digits with c,
 * everything of one level comes before everything of the next, and the first occupied slot of the
 * lowest occupied level starts earliest.
 *
 * Moving on to a slot above level 0 first stores c = its start and marks it `draining`; then its
 * nodes go down one a transaction. Until it is empty they lie in a slot that is not theirs as seen
 * from c; everybody else does.
 *
 * A renew to a later end only stores the end: the node lies too early, and when its slot comes it
 * is put where it belongs. A holder whose worker does not answer is looked at again every few
 * ticks: nobody says when the worker is back, or its holder belongs to no connection any more, and
 * then the lease must not end late by what was left of the grace.
 */
#include "core/leases.h"

#include "core/journal.h"
#include "core/owners.h"
#include "core/promise.h"

uint64_t leases_add(uint64_t time, uint64_t ns)
{
    return ns >= TIME_NEVER - 1 - time ? TIME_NEVER - 1 : time + ns;
}

static uint64_t down_since(const struct tx *tx, const struct node *n)
{
    uint64_t since;

    if (!n->owner || !tx->t->down_since)
        return 0;
    since = __atomic_load_n(&tx->t->down_since[owners_worker(tx->t, n->owner)], __ATOMIC_RELAXED);
    return since && since <= n->end ? since : 0;
}

static uint64_t grace_left(const struct node *n)
{
    return n->extended < LEASES_GRACE_NS ? LEASES_GRACE_NS - n->extended : 0;
}

bool leases_ended(const struct tx *tx, const struct node *n)
{
    uint64_t since;

    if (tx->now < n->end)
        return false;
    since = down_since(tx, n);
    if (since && tx->now > since) {
        uint64_t gap = tx->now - since;

        return tx->now >= leases_add(n->end, gap < grace_left(n) ? gap : grace_left(n));
    }
    return true;
}

static uint64_t due_tick(const struct tx *tx, const struct node *n)
{
    uint64_t end = n->end;

    if (tx->now >= end && !leases_ended(tx, n)) {
        /* At first soon, for a worker that only slept and has been woken; then less often. */
        uint64_t look = (tx->now - end) / 4;

        if (look < UINT64_C(1) << WHEEL_TICK_SHIFT)
            look = UINT64_C(1) << WHEEL_TICK_SHIFT;
        end = leases_add(tx->now, look < LEASES_LOOK_NS ? look : LEASES_LOOK_NS);
    }
    return (end >> WHEEL_TICK_SHIFT) + ((end & ((1u << WHEEL_TICK_SHIFT) - 1)) != 0);
}

static unsigned place(const struct wheel *w, uint64_t due)
{
    uint64_t apart = due ^ w->now;
    unsigned level;

    if (due <= w->now)
        return (unsigned)(w->now & 63); /* overdue: in the slot that is looked at next */
    level = (63u - (unsigned)__builtin_clzll(apart)) / 6;
    if (level >= WHEEL_LEVELS)
        level = WHEEL_LEVELS - 1; /* cannot be: 2^44 ticks are all there is */
    return level * 64 + (unsigned)(due >> (6 * level) & 63);
}

uint64_t leases_slot_start(const struct wheel *w, unsigned slot)
{
    unsigned shift = 6 * (slot / 64);
    uint64_t above = shift + 6 >= 64 ? 0 : w->now >> (shift + 6) << (shift + 6);

    return above | (uint64_t)(slot % 64) << shift;
}

/* The slot that starts earliest, -1 when all are empty. */
static int first_occupied(const struct wheel *w)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++)
        if (w->occupied[level])
            return (int)(level * 64 + (unsigned)__builtin_ctzll(w->occupied[level]));
    return -1;
}

static uint64_t tick_ns(uint64_t tick)
{
    return tick > TIME_NEVER >> WHEEL_TICK_SHIFT ? TIME_NEVER : tick << WHEEL_TICK_SHIFT;
}

/*
 * The wheel may stand still for long while nothing is due. Before a node is placed it catches up,
 * as far as no occupied slot is passed, or the node would land higher than needed and be moved
 * once more for each level. Places of others stay what they are: their slots lie ahead.
 */
static void catch_up(struct tx *tx)
{
    struct wheel *w = &tx->s->wheel;
    uint64_t tick = tx->now >> WHEEL_TICK_SHIFT;
    int first;

    if (tick < w->now + 64 || w->draining)
        return;
    first = first_occupied(w);
    if (first >= 0) {
        uint64_t start = leases_slot_start(w, (unsigned)first);

        if (start <= w->now)
            return;
        if (tick > start - 1)
            tick = start - 1;
    }
    if (tick > w->now)
        SET(tx, w->now, tick);
}

static void link_at(struct tx *tx, uint32_t node, unsigned slot)
{
    struct wheel *w = &tx->s->wheel;
    struct node *n = table_node(tx->t, node);
    uint32_t head = w->slot[slot];
    uint64_t start;

    SET(tx, n->tw_prev, 0);
    SET(tx, n->tw_next, head);
    SET(tx, n->tw_slot, slot + 1);
    if (head)
        SET(tx, table_node(tx->t, head)->tw_prev, node);
    else
        SET(tx, w->occupied[slot / 64], w->occupied[slot / 64] | UINT64_C(1) << slot % 64);
    SET(tx, w->slot[slot], node);
    start = tick_ns(leases_slot_start(w, slot));
    if (start < tx->t->next_due[tx->shard])
        SET(tx, tx->t->next_due[tx->shard], start);
}

void leases_insert(struct tx *tx, uint32_t node)
{
    const struct node *n = table_node(tx->t, node);

    if (n->tw_slot) {
        if (leases_slot_start(&tx->s->wheel, n->tw_slot - 1u) <= due_tick(tx, n))
            return; /* too early at worst */
        leases_remove(tx, node);
    }
    catch_up(tx);
    link_at(tx, node, place(&tx->s->wheel, due_tick(tx, table_node(tx->t, node))));
}

void leases_remove(struct tx *tx, uint32_t node)
{
    struct wheel *w = &tx->s->wheel;
    struct node *n = table_node(tx->t, node);
    unsigned slot = n->tw_slot - 1u;

    if (n->tw_prev)
        SET(tx, table_node(tx->t, n->tw_prev)->tw_next, n->tw_next);
    else
        SET(tx, w->slot[slot], n->tw_next);
    if (n->tw_next)
        SET(tx, table_node(tx->t, n->tw_next)->tw_prev, n->tw_prev);
    if (!w->slot[slot])
        SET(tx, w->occupied[slot / 64], w->occupied[slot / 64] & ~(UINT64_C(1) << slot % 64));
    SET(tx, n->tw_slot, 0);
}

static void set_end(struct tx *tx, uint32_t node, uint64_t end)
{
    struct node *n = table_node(tx->t, node);
    bool earlier = end < n->end;

    SET(tx, n->end, end);
    if (earlier) {
        leases_remove(tx, node);
        leases_insert(tx, node);
    }
}

void leases_begin(struct tx *tx, uint32_t node, uint64_t end)
{
    struct node *n = table_node(tx->t, node);

    if (n->extended)
        SET(tx, n->extended, 0);
    set_end(tx, node, end);
}

void leases_extend(struct tx *tx, uint32_t node, uint64_t gap)
{
    struct node *n = table_node(tx->t, node);

    if (gap > grace_left(n))
        gap = grace_left(n);
    if (!gap)
        return;
    SET(tx, n->extended, n->extended + (uint32_t)gap);
    set_end(tx, node, leases_add(n->end, gap));
}

void leases_look_again(struct tx *tx)
{
    uint64_t look = promise_look(tx);

    if (tx->t->next_due[tx->shard] > look)
        SET(tx, tx->t->next_due[tx->shard], look);
}

static void publish_next_due(struct tx *tx)
{
    const struct wheel *w = &tx->s->wheel;
    int first = first_occupied(w);
    uint64_t due = first < 0 ? TIME_NEVER : tick_ns(leases_slot_start(w, (unsigned)first));

    if (tx->s->starved && due > promise_look(tx))
        due = promise_look(tx);
    if (tx->t->next_due[tx->shard] != due)
        SET(tx, tx->t->next_due[tx->shard], due);
}

static void replace(struct tx *tx, uint32_t node)
{
    leases_remove(tx, node);
    link_at(tx, node, place(&tx->s->wheel, due_tick(tx, table_node(tx->t, node))));
}

enum leases_step leases_step(struct tx *tx, uint32_t *node)
{
    struct wheel *w = &tx->s->wheel;
    uint64_t now_tick = tx->now >> WHEEL_TICK_SHIFT;
    uint64_t start;
    int first;

    if (w->draining) {
        *node = w->slot[w->draining - 1];
        if (*node && table_node(tx->t, *node)->state == NODE_SPARE)
            return LEASES_SPARE;
        if (*node)
            replace(tx, *node);
        else
            SET(tx, w->draining, 0);
        return LEASES_MOVED;
    }
    first = first_occupied(w);
    start = first < 0 ? TIME_NEVER : leases_slot_start(w, (unsigned)first);
    if (start > now_tick) {
        publish_next_due(tx);
        return LEASES_IDLE;
    }
    if (start > w->now)
        SET(tx, w->now, start);
    if (first >= 64) {
        SET(tx, w->draining, first + 1);
        return LEASES_MOVED;
    }
    *node = w->slot[first];
    if (table_node(tx->t, *node)->state == NODE_SPARE)
        return LEASES_SPARE;
    if (leases_ended(tx, table_node(tx->t, *node)))
        return LEASES_ENDED;
    replace(tx, *node);
    return LEASES_MOVED;
}
