/*
 * serving/top.c - see top.h. A heap whose root is the row that goes first when a better one comes.
 */
#include "serving/top.h"

#include "base/num.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* By which a row is compared: ascending in any order that was asked for. */
struct place {
    uint64_t rank;
    const char *key;
    uint32_t key_len;
    uint8_t kind;
};

struct top {
    enum top_sort sort;
    bool descending, has_after;
    uint32_t limit, n;
    uint64_t offered, dropped;
    struct place after;
    char after_key[KEY_MAX];
    uint32_t *heap; /* rows, the last one in the order first */
    struct view_row *row;
};

static const struct {
    const char *name;
    bool descends;
} sorts[TOP_SORTS] = {
    [TOP_KEY] = {"key", false},
    [TOP_WAITERS] = {"waiters", true},
    [TOP_OLDEST_WAIT] = {"oldest_wait", true},
    [TOP_HELD_SINCE] = {"held_since", false},
    [TOP_LEASE_LEFT] = {"lease_left", false},
};

int top_sort_of(const char *name, size_t n)
{
    for (int i = 0; i < TOP_SORTS; i++)
        if (strlen(sorts[i].name) == n && memcmp(sorts[i].name, name, n) == 0)
            return i;
    return -1;
}

const char *top_sort_name(enum top_sort sort)
{
    return sorts[sort].name;
}

bool top_descends(enum top_sort sort)
{
    return sorts[sort].descends;
}

static uint64_t rank_of(const struct top *t, const struct view_row *r)
{
    uint64_t value;
    bool up = !t->descending;

    switch (t->sort) {
    case TOP_WAITERS:
        value = r->nwaiters;
        break;
    case TOP_OLDEST_WAIT:
        if (r->nwaiters == 0)
            return UINT64_MAX;
        value = r->waits_since;
        up = !up; /* who waits since long ago waits for long */
        break;
    case TOP_HELD_SINCE:
    case TOP_LEASE_LEFT:
        if (r->nholders == 0)
            return UINT64_MAX;
        value = t->sort == TOP_HELD_SINCE ? r->holder.since : r->holder.end;
        break;
    default:
        return 0;
    }
    return up ? value : ~value;
}

static struct place place_of(const struct top *t, const struct view_row *r)
{
    return (struct place){.rank = rank_of(t, r), .key = r->key, .key_len = r->key_len,
                          .kind = r->kind};
}

static int compare_keys(const struct place *a, const struct place *b)
{
    uint32_t n = a->key_len < b->key_len ? a->key_len : b->key_len;
    int way = memcmp(a->key, b->key, n);

    if (way == 0 && a->key_len != b->key_len)
        way = a->key_len < b->key_len ? -1 : 1;
    return way ? way : a->kind - b->kind;
}

/* Whether a comes before b. */
static bool before(const struct top *t, const struct place *a, const struct place *b)
{
    int way;

    if (a->rank != b->rank)
        return a->rank < b->rank;
    way = compare_keys(a, b);
    return t->sort == TOP_KEY && t->descending ? way > 0 : way < 0;
}

static bool row_before(const struct top *t, uint32_t a, uint32_t b)
{
    struct place of_a = place_of(t, &t->row[a]), of_b = place_of(t, &t->row[b]);

    return before(t, &of_a, &of_b);
}

static void swap(struct top *t, uint32_t a, uint32_t b)
{
    uint32_t row = t->heap[a];

    t->heap[a] = t->heap[b];
    t->heap[b] = row;
}

static void sift_up(struct top *t, uint32_t i)
{
    for (; i > 0 && row_before(t, t->heap[(i - 1) / 2], t->heap[i]); i = (i - 1) / 2)
        swap(t, i, (i - 1) / 2);
}

/* Of the first n of the heap. */
static void sift_down(struct top *t, uint32_t i, uint32_t n)
{
    for (;;) {
        uint32_t last = i, child = 2 * i + 1;

        for (uint32_t k = child; k < n && k <= child + 1; k++)
            if (row_before(t, t->heap[last], t->heap[k]))
                last = k;
        if (last == i)
            return;
        swap(t, i, last);
        i = last;
    }
}

struct top *top_new(enum top_sort sort, bool descending, uint32_t limit)
{
    struct top *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->sort = sort;
    t->descending = descending;
    t->limit = limit;
    t->heap = calloc(limit, sizeof(*t->heap));
    t->row = calloc(limit, sizeof(*t->row));
    if (t->heap && t->row)
        return t;
    top_free(t);
    return NULL;
}

void top_free(struct top *t)
{
    free(t->heap);
    free(t->row);
    free(t);
}

void top_offer(struct top *t, const struct view_row *row)
{
    struct place new = place_of(t, row);

    t->offered++;
    if (t->has_after && !before(t, &t->after, &new))
        return;
    if (t->n < t->limit) {
        t->row[t->n] = *row;
        t->heap[t->n] = t->n;
        sift_up(t, t->n++);
        return;
    }
    t->dropped++;
    struct place last = place_of(t, &t->row[t->heap[0]]);
    if (!before(t, &new, &last))
        return;
    t->row[t->heap[0]] = *row;
    sift_down(t, 0, t->n);
}

uint32_t top_finish(struct top *t)
{
    for (uint32_t n = t->n; n > 1; n--) {
        swap(t, 0, n - 1);
        sift_down(t, 0, n - 1);
    }
    return t->n;
}

const struct view_row *top_row(const struct top *t, uint32_t i)
{
    return &t->row[t->heap[i]];
}

uint64_t top_offered(const struct top *t)
{
    return t->offered;
}

/* RANK KIND KEY: 16 digits, a letter, two digits a byte. */
const char *top_cursor(const struct top *t, char buf[TOP_CURSOR_MAX])
{
    struct place last;
    char *out = buf;

    if (t->dropped == 0 || t->n == 0)
        return NULL;
    last = place_of(t, top_row(t, t->n - 1));
    num_format_hex(out, last.rank);
    out += NUM_HEX_DIGITS;
    *out++ = last.kind == KIND_SEM ? 's' : 'l';
    for (uint32_t i = 0; i < last.key_len; i++)
        out += snprintf(out, 3, "%02x", (unsigned char)last.key[i]);
    *out = '\0';
    return buf;
}

bool top_after(struct top *t, const char *cursor, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    size_t key_len = n > NUM_HEX_DIGITS ? (n - NUM_HEX_DIGITS - 1) / 2 : 0;

    if (key_len < 1 || key_len > KEY_MAX || n != NUM_HEX_DIGITS + 1 + 2 * key_len ||
        num_parse_hex(cursor, &t->after.rank) != 0)
        return false;
    cursor += NUM_HEX_DIGITS;
    if (*cursor != 'l' && *cursor != 's')
        return false;
    t->after.kind = *cursor++ == 's' ? KIND_SEM : KIND_LOCK;
    for (size_t i = 0; i < key_len; i++) {
        const char *high = memchr(digits, cursor[2 * i], 16);
        const char *low = memchr(digits, cursor[2 * i + 1], 16);

        if (!high || !low)
            return false;
        t->after_key[i] = (char)((high - digits) << 4 | (low - digits));
    }
    t->after.key = t->after_key;
    t->after.key_len = (uint32_t)key_len;
    return t->has_after = true;
}
