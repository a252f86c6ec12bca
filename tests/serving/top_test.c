/*
 * tests/serving/top_test.c - serving/top against a sort of all rows, in each order, page by page; and
 * cursors that are none.
 */
#include "serving/top.h"

#include "tests/tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 1000 };

static struct view_row rows[ROWS];
static enum top_sort sort_by;
static bool descends;
static uint64_t seed = 88172645463325252u;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void make_rows(void)
{
    for (unsigned i = 0; i < ROWS; i++) {
        struct view_row *r = &rows[i];

        memset(r, 0, sizeof(*r));
        r->kind = i & 1;
        /* Each key once of each kind; some begin others, some have high bytes and zeros. */
        r->key_len = (uint16_t)snprintf(r->key, sizeof(r->key), "%u%s", i / 2,
                                        i % 6 < 2 ? "\xff\x01" : "");
        r->nholders = next_random() % 3 ? 1 : 0;
        r->nwaiters = next_random() % 4 ? 0 : (uint32_t)(next_random() % 5);
        r->waits_since = r->nwaiters ? 1 + next_random() % 50 : UINT64_MAX;
        r->holder.since = 1 + next_random() % 50;
        r->holder.end = 1 + next_random() % 50;
    }
}

/* What the order is about, as people mean it, larger = later when ascending; false: it has none. */
static bool value_of(const struct view_row *r, int64_t *value)
{
    *value = 0;
    switch (sort_by) {
    case TOP_WAITERS:
        *value = r->nwaiters;
        return true;
    case TOP_OLDEST_WAIT:
        *value = 1000 - (int64_t)r->waits_since;
        return r->nwaiters > 0;
    case TOP_HELD_SINCE:
        *value = (int64_t)r->holder.since;
        return r->nholders > 0;
    case TOP_LEASE_LEFT:
        *value = (int64_t)r->holder.end;
        return r->nholders > 0;
    default:
        return true;
    }
}

static int by_order(const void *x, const void *y)
{
    const struct view_row *a = x, *b = y;
    int64_t of_a, of_b;
    bool has_a = value_of(a, &of_a), has_b = value_of(b, &of_b);
    size_t n = a->key_len < b->key_len ? a->key_len : b->key_len;
    int way;

    if (has_a != has_b)
        return has_a ? -1 : 1;
    if (has_a && of_a != of_b)
        return (of_a < of_b) == descends ? 1 : -1;
    way = memcmp(a->key, b->key, n);
    if (way == 0)
        way = a->key_len != b->key_len ? (int)a->key_len - (int)b->key_len : a->kind - b->kind;
    return sort_by == TOP_KEY && descends ? -way : way;
}

static bool pages_agree(uint32_t limit)
{
    static struct view_row sorted[ROWS];
    char cursor[TOP_CURSOR_MAX] = "";
    uint32_t at = 0;
    bool more = true;

    memcpy(sorted, rows, sizeof(rows));
    qsort(sorted, ROWS, sizeof(sorted[0]), by_order);
    while (more && at <= ROWS) {
        struct top *t = top_new(sort_by, descends, limit);
        uint32_t n;

        if (!t || (cursor[0] && !top_after(t, cursor, strlen(cursor))))
            return false;
        for (unsigned i = 0; i < ROWS; i++)
            top_offer(t, &rows[i]);
        n = top_finish(t);
        for (uint32_t i = 0; i < n; i++, at++)
            if (at >= ROWS || memcmp(top_row(t, i), &sorted[at], sizeof(rows[0])) != 0)
                return false;
        more = top_cursor(t, cursor) != NULL;
        if (top_offered(t) != ROWS || (more && n != limit))
            return false;
        top_free(t);
    }
    return at == ROWS;
}

static void bad_cursors(void)
{
    static const char *const bad[] = {
        "", "x", "0000000000000000", "0000000000000000l", "0000000000000000l6", "0000000000000000k61",
        "000000000000000gl61", "0000000000000000l6G", "0000000000000000l61 "};
    struct top *t = top_new(TOP_KEY, false, 1);
    char longest[17 + 2 * KEY_MAX + 3];

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ok(!top_after(t, bad[i], strlen(bad[i])), "\"%s\" is no cursor", bad[i]);
    memset(longest, '6', sizeof(longest));
    longest[16] = 'l';
    ok(!top_after(t, longest, 17 + 2 * KEY_MAX + 2), "a key that is too long");
    ok(top_after(t, longest, 17 + 2 * KEY_MAX), "the longest");
    top_free(t);
}

int main(void)
{
    static const uint32_t limits[] = {1, 2, 7, 100, ROWS - 1, ROWS, ROWS + 1};

    make_rows();
    for (int sort = 0; sort < TOP_SORTS; sort++)
        for (int down = 0; down < 2; down++) {
            bool good = true;

            sort_by = (enum top_sort)sort;
            descends = down;
            for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
                good = good && pages_agree(limits[i]);
            ok(good, "%s, %s", top_sort_name(sort_by), down ? "descending" : "ascending");
        }
    bad_cursors();
    return done_testing();
}
