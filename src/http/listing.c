/*
 * http/listing.c - see listing.h.
 */
#include "http/listing.h"

#include "base/num.h"

#include <stdio.h>
#include <string.h>

static const char names[] = "kind prefix contains state sort order cursor limit";

static const struct {
    const char *name;
    unsigned state;
} states[] = {{"held", VIEW_HELD}, {"waiting", VIEW_WAITING}, {"idle", VIEW_IDLE},
              {"any", VIEW_ANY}};
enum { STATES = sizeof(states) / sizeof(states[0]) };

const char *listing_state_name(unsigned state)
{
    for (unsigned i = 0; i < STATES; i++)
        if (states[i].state == state)
            return states[i].name;
    return NULL;
}

static bool among(const char *words, const char *word, size_t n)
{
    for (const char *at = words; *at; at += strspn(at, " ")) {
        size_t len = strcspn(at, " ");

        if (len == n && memcmp(at, word, n) == 0)
            return true;
        at += len;
    }
    return false;
}

static bool names_known(const struct path *path, const char *others)
{
    for (const char *at = path->query; *at && *at != '#';) {
        size_t len = strcspn(at, "&#"), name = strcspn(at, "=&#");

        if (len && !among(names, at, name) && !among(others, at, name))
            return false;
        at += len;
        at += *at == '&';
    }
    return true;
}

static bool is(const char *word, const char *value, int n)
{
    return strlen(word) == (size_t)n && memcmp(word, value, (size_t)n) == 0;
}

static bool read_kind(const struct path *path, struct listing *l)
{
    char value[8];
    int n = path_query(path, "kind", value, sizeof(value));

    if (n > 0 && is("lock", value, n))
        l->filter.kinds = 1 << KIND_LOCK;
    else if (n > 0 && is("sem", value, n))
        l->filter.kinds = 1 << KIND_SEM;
    else
        return n == -1 || n == 0;
    return true;
}

static bool read_state(const struct path *path, struct listing *l)
{
    char value[16];
    int n = path_query(path, "state", value, sizeof(value));

    for (unsigned i = 0; n > 0 && i < STATES; i++)
        if (is(states[i].name, value, n)) {
            l->filter.states = states[i].state;
            return true;
        }
    return n == -1 || n == 0;
}

static bool read_part(const struct path *path, const char *name, char out[KEY_MAX], uint32_t *len)
{
    int n = path_query(path, name, out, KEY_MAX);

    *len = n > 0 ? (uint32_t)n : 0;
    return n != -2;
}

static bool read_sort(const struct path *path, struct listing *l)
{
    char value[16];
    int n = path_query(path, "sort", value, sizeof(value)), sort;

    if (n == -1 || n == 0)
        return true;
    sort = n > 0 ? top_sort_of(value, (size_t)n) : -1;
    if (sort < 0)
        return false;
    l->sorted = true;
    l->sort = (enum top_sort)sort;
    l->descending = top_descends(l->sort);
    return true;
}

static bool read_order(const struct path *path, struct listing *l)
{
    char value[8];
    int n = path_query(path, "order", value, sizeof(value));

    if (n == -1 || n == 0)
        return true;
    if (n < 0 || !l->sorted || !(is("asc", value, n) || is("desc", value, n)))
        return false;
    l->descending = value[0] == 'd';
    return true;
}

static bool read_limit(const struct path *path, struct listing *l)
{
    char value[8];
    int64_t limit;
    int n = path_query(path, "limit", value, sizeof(value));

    if (n == -1 || n == 0)
        return true;
    if (n < 0 || num_parse_i64(value, (size_t)n, &limit) != 0 || limit < 1 ||
        limit > LISTING_LIMIT_MAX)
        return false;
    l->limit = (uint32_t)limit;
    return true;
}

static bool read_cursor(const struct path *path, struct listing *l)
{
    int n = path_query(path, "cursor", l->cursor, sizeof(l->cursor) - 1);

    l->cursor_len = n > 0 ? (uint32_t)n : 0;
    return n != -2;
}

bool listing_parse(const struct path *path, const char *others, struct listing *out,
                   const char **why)
{
    *out = (struct listing){.filter = {.kinds = 1 << KIND_LOCK | 1 << KIND_SEM,
                                       .states = VIEW_ANY},
                            .limit = LISTING_LIMIT};
    if (!names_known(path, others))
        *why = *others ? "the query may have kind, prefix, contains, state, sort, order, cursor, "
                         "limit, open"
                       : "the query may have kind, prefix, contains, state, sort, order, cursor, "
                         "limit";
    else if (!read_kind(path, out))
        *why = "kind is lock or sem";
    else if (!read_part(path, "prefix", out->filter.prefix, &out->filter.prefix_len))
        *why = "prefix has at most 256 bytes, percent-encoded";
    else if (!read_part(path, "contains", out->filter.contains, &out->filter.contains_len))
        *why = "contains has at most 256 bytes, percent-encoded";
    else if (!read_state(path, out))
        *why = "state is held, waiting, idle or any";
    else if (!read_sort(path, out))
        *why = "sort is key, waiters, oldest_wait, held_since or lease_left";
    else if (!read_order(path, out))
        *why = "order is asc or desc, beside sort";
    else if (!read_limit(path, out))
        *why = "limit is a number from 1 to 1000";
    else if (!read_cursor(path, out))
        *why = "cursor is what the page before gave";
    else
        return true;
    return false;
}
