/*
 * tests/soak/keys.c - the rules about keys, when the whole history is read: see check.h for what
 * is certain. Each key is looked at alone, in n log n of its wants.
 */
#include "check.h"

#include <stdlib.h>
#include <string.h>

struct span {
    uint64_t from, to;
    uint32_t want;
};

static uint32_t *order;                    /* wants by key, then by time of sending */
static struct span *spans, *waits, *frees; /* of one key */
static uint64_t *times;

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int by_key(const void *a, const void *b)
{
    const struct want *x = &wants[*(const uint32_t *)a], *y = &wants[*(const uint32_t *)b];

    return x->key != y->key ? compare(x->key, y->key) : compare(x->sent, y->sent);
}

static int by_queued(const void *a, const void *b)
{
    return compare(wants[*(const uint32_t *)a].queued, wants[*(const uint32_t *)b].queued);
}

static int by_from(const void *a, const void *b)
{
    return compare(((const struct span *)a)->from, ((const struct span *)b)->from);
}

static int by_value(const void *a, const void *b)
{
    return compare(*(const uint64_t *)a, *(const uint64_t *)b);
}

/* When a granted want's hold is surely not over yet. */
static uint64_t surely_until(const struct want *w)
{
    if (w->held_until)
        return w->held_until;
    if (w->half)
        return 0; /* it may be over as soon as the reply is on its way */
    return least(least(w->lease_from, w->release_sent), w->gone);
}

/* When a granted want's hold is surely over. A lease that was extended each time its worker was
   away is allowed half as much again, and 3 s. */
static uint64_t surely_over(const struct want *w)
{
    uint64_t end = w->lease_seen + w->lease + w->lease / 2 + HANG;

    end = least(w->over, late(end));
    return w->outcome == LOST || w->gone == NEVER ? end : least(end, late(w->gone));
}

/* From when on it may have been in the table, and when it surely is not any more. */
static struct span presence(uint32_t i)
{
    const struct want *w = &wants[i];
    struct span s = {.from = w->sent, .to = w->ended, .want = i};

    if (w->outcome == GRANTED)
        s.to = surely_over(w);
    else if (w->outcome == GONE)
        s.to = late(w->gone);
    else if (w->outcome == WAITING)
        s.to = NEVER;
    else if (w->outcome == LOST)
        s.to = late(w->ended + w->lease + w->lease / 2 + HANG);
    return s;
}

/* When it may have had a slot. What is granted is told soon; but who enqueued is not told at all
   until it waits. */
static struct span possession(uint32_t i)
{
    const struct want *w = &wants[i];
    struct span s = presence(i);
    uint64_t told = w->outcome == GRANTED ? w->received : w->outcome == WAITING ? NEVER : w->ended;
    uint64_t since = told == NEVER ? NEVER : early(told);

    if (w->two_phase && (w->acquired || !w->wait_sent || since < w->wait_sent))
        since = w->sent;
    s.from = most(w->sent, since);
    return s;
}

/* holders: never more than the limit. fence-key: with a limit of 1 holds come in order of fences.
 */
static void check_holders(const uint32_t *of, size_t n, const struct key *key)
{
    uint64_t *ends = times; /* of holds that last, at most `limit` */
    size_t k = 0, lasting = 0;

    for (size_t i = 0; i < n; i++) {
        const struct want *w = &wants[of[i]];

        if (w->outcome == GRANTED && surely_until(w) > w->received)
            spans[k++] = (struct span){w->received, surely_until(w), of[i]};
    }
    qsort(spans, k, sizeof(*spans), by_from);
    for (size_t i = 0; i < k; i++) {
        const struct want *w = &wants[spans[i].want];
        size_t kept = 0;

        for (size_t j = 0; j < lasting; j++) {
            if (ends[j] > spans[i].from)
                ends[kept++] = ends[j];
        }
        lasting = kept;
        if (lasting >= key->limit)
            object("holders", w->line, w->received, w->conn, key->name,
                   "fence %llu is one too many for %llu, the last before it is line %llu",
                   (unsigned long long)w->fence, (unsigned long long)key->limit,
                   (unsigned long long)wants[spans[i ? i - 1 : 0].want].line);
        else
            ends[lasting++] = spans[i].to;
        if (key->limit == 1 && i && wants[spans[i - 1].want].fence >= w->fence)
            object("fence-key", w->line, w->received, w->conn, key->name,
                   "fence %llu after %llu of line %llu", (unsigned long long)w->fence,
                   (unsigned long long)wants[spans[i - 1].want].fence,
                   (unsigned long long)wants[spans[i - 1].want].line);
    }
}

/* fifo: who asks when another one is surely in the queue is granted after it; before it only when
   that one's wait may have timed out. */
static void check_fifo(uint32_t *of, size_t n, const struct key *key)
{
    uint32_t *queued = malloc((n + 1) * sizeof(*queued));
    uint64_t fence = 0, until = 0;
    size_t k = 0, at = 0;
    uint32_t ahead = 0, longest = 0;

    for (size_t i = 0; i < n; i++) {
        if (wants[of[i]].queued)
            queued[k++] = of[i];
    }
    qsort(queued, k, sizeof(*queued), by_queued);
    for (size_t i = 0; i < n; i++) { /* by time of sending */
        const struct want *w = &wants[of[i]];

        for (; at < k && wants[queued[at]].queued < w->sent; at++) {
            const struct want *q = &wants[queued[at]];

            if (q->outcome == GRANTED && q->fence > fence) {
                fence = q->fence;
                ahead = queued[at];
            } else if (q->outcome == TIMED_OUT && q->wait_sent + q->timeout > until) {
                until = q->wait_sent + q->timeout;
                longest = queued[at];
            }
        }
        if (w->outcome != GRANTED)
            continue;
        if (w->fence < fence)
            object("fifo", w->line, w->received, w->conn, key->name,
                   "fence %llu, sent after line %llu was queued, which has fence %llu",
                   (unsigned long long)w->fence, (unsigned long long)wants[ahead].line,
                   (unsigned long long)fence);
        if (w->received < until)
            object("fifo", w->line, w->received, w->conn, key->name,
                   "granted while line %llu was queued before it and had not timed out",
                   (unsigned long long)wants[longest].line);
    }
    free(queued);
}

/* How many of n sorted times are below t. */
static size_t below(const uint64_t *sorted, size_t n, uint64_t t)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (sorted[mid] < t)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* refused: a try fails, or an enqueue is queued, only when all slots may have been taken. */
static void check_refused(const uint32_t *of, size_t n, const struct key *key)
{
    uint64_t *from = times, *to = times + n;

    for (size_t i = 0; i < n; i++) {
        struct span s = presence(of[i]);

        from[i] = s.from;
        to[i] = s.to;
    }
    qsort(from, n, sizeof(*from), by_value);
    qsort(to, n, sizeof(*to), by_value);
    for (size_t i = 0; i < n; i++) {
        const struct want *w = &wants[of[i]];
        bool tried = w->outcome == TIMED_OUT && !w->two_phase && w->timeout == 0;
        uint64_t end = w->queued ? w->queued : w->ended;
        size_t present;

        if (!tried && !w->queued)
            continue;
        present = below(from, n, end + 1) - below(to, n, w->sent);
        if (present <= key->limit)
            object("refused", w->line, w->sent, w->conn, key->name,
                   "no slot for it, but at most %zu of %llu can have been taken", present - 1,
                   (unsigned long long)key->limit);
    }
}

/* stuck: nobody waits for longer than "soon" beside a slot that is surely free. */
static void check_stuck(const uint32_t *of, size_t n, const struct key *key)
{
    uint64_t *from = times, *to = times + n, free_since = 0;
    size_t a = 0, b = 0, waiting = 0, free_n = 0;

    for (size_t i = 0; i < n; i++) {
        const struct want *w = &wants[of[i]];
        uint64_t since = w->two_phase ? w->wait_sent : w->sent, till = w->ended;

        if (w->outcome == GRANTED)
            till = w->acquired ? 0 : w->received;
        if (since && till > since + SOON)
            waits[waiting++] = (struct span){since, till, of[i]};
    }
    if (!waiting)
        return;
    for (size_t i = 0; i < n; i++) {
        struct span s = possession(of[i]);

        from[i] = s.from;
        to[i] = most(s.from, s.to);
    }
    qsort(from, n, sizeof(*from), by_value);
    qsort(to, n, sizeof(*to), by_value);
    while (b < n) { /* a - b of them may have a slot */
        size_t before = a - b;

        if (a < n && from[a] <= to[b])
            a++;
        else
            b++;
        if (before < key->limit && a - b >= key->limit)
            frees[free_n++] = (struct span){free_since, from[a - 1], 0};
        else if (before >= key->limit && a - b < key->limit)
            free_since = to[b - 1];
    }
    if (free_since != NEVER)
        frees[free_n++] = (struct span){free_since, NEVER, 0};
    for (size_t i = 0; i < waiting; i++) {
        const struct want *w = &wants[waits[i].want];

        for (size_t j = 0; j < free_n; j++) {
            uint64_t since = most(waits[i].from, frees[j].from);

            if (least(waits[i].to, frees[j].to) > late(since)) {
                object("stuck", w->line, since, w->conn, key->name,
                       "it waits, and for %.3f s a slot is free",
                       (double)(least(waits[i].to, frees[j].to) - since) * 1e-9);
                break;
            }
        }
    }
}

void check_keys(void)
{
    size_t n = 0, room = wants_n + 1;

    order = malloc(room * sizeof(*order));
    spans = malloc(room * sizeof(*spans));
    waits = malloc(room * sizeof(*waits));
    frees = malloc(2 * room * sizeof(*frees));
    times = malloc(2 * room * sizeof(*times));
    if (!order || !spans || !waits || !frees || !times)
        abort();
    for (uint32_t i = 1; i < wants_n; i++)
        order[n++] = i;
    qsort(order, n, sizeof(*order), by_key);
    for (size_t i = 0, end; i < n; i = end) {
        const struct key *key = &keys[wants[order[i]].key];

        for (end = i; end < n && wants[order[end]].key == wants[order[i]].key; end++)
            ;
        check_holders(order + i, end - i, key);
        check_fifo(order + i, end - i, key);
        check_refused(order + i, end - i, key);
        check_stuck(order + i, end - i, key);
    }
    free(order);
    free(spans);
    free(waits);
    free(frees);
    free(times);
}
