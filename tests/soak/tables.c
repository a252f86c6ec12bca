/*
 * tests/soak/tables.c - what the checker remembers: keys by name, wants by fence, the moments in
 * which something was away; and how it objects.
 */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RULES = 32, SHOWN = 20 };

struct key *keys;
uint32_t keys_n;

static uint32_t keys_room;
static uint32_t *fence_table, *key_table;
static size_t fence_room, key_room;
static struct { /* what widens "soon": times, and sums of what they cost */
    uint64_t *t, *sum;
    size_t n, room;
    uint64_t longest; /* of the costs */
} moments;
static struct {
    const char *rule;
    unsigned n;
} said[RULES];

void *grow(void *p, size_t n, size_t size)
{
    p = realloc(p, n * size);
    if (!p) {
        fprintf(stderr, "checker: no memory\n");
        exit(2);
    }
    return p;
}

void object(const char *rule, uint64_t line, uint64_t t, uint32_t conn, const char *key,
            const char *fmt, ...)
{
    va_list ap;
    size_t i = 0;

    while (i < RULES - 1 && said[i].rule && strcmp(said[i].rule, rule) != 0)
        i++;
    said[i].rule = rule;
    violations++;
    if (++said[i].n > SHOWN)
        return;
    printf("violation %s line %llu t %llu conn %u key %s: ", rule, (unsigned long long)line,
           (unsigned long long)t, conn, key ? key : "-");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

void broken(const char *what)
{
    printf("line %llu: %s\n", (unsigned long long)line_n, what);
    exit(2);
}

void away(uint64_t t, uint64_t cost)
{
    size_t at = moments.n;

    if (moments.n == moments.room) {
        moments.room = moments.room ? moments.room * 2 : 1024;
        moments.t = grow(moments.t, moments.room, sizeof(*moments.t));
        moments.sum = grow(moments.sum, moments.room, sizeof(*moments.sum));
    }
    /* A stall is heard of at its end, when some of what was in it has been added already. */
    for (; at > 0 && moments.t[at - 1] > t; at--) {
        moments.t[at] = moments.t[at - 1];
        moments.sum[at] = moments.sum[at - 1] + cost;
    }
    moments.t[at] = t;
    moments.sum[at] = cost + (at ? moments.sum[at - 1] : 0);
    moments.n++;
    if (cost > moments.longest)
        moments.longest = cost;
}

/* How many moments are before t. */
static size_t before(uint64_t t)
{
    size_t low = 0, high = moments.n;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (moments.t[mid] < t)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The cost of all moments before t. */
static uint64_t cost_before(uint64_t t)
{
    size_t n = before(t);

    return n ? moments.sum[n - 1] : 0;
}

/* Of that, what was still to come at t. */
static uint64_t cost_after(uint64_t t)
{
    uint64_t all = 0;

    for (size_t i = before(t); i > 0 && t - moments.t[i - 1] < moments.longest; i--) {
        uint64_t over = moments.t[i - 1] + moments.sum[i - 1] - (i > 1 ? moments.sum[i - 2] : 0);

        if (over > t)
            all += over - t;
    }
    return all;
}

/* A worker that was stopped a moment before may still be away. */
uint64_t late(uint64_t t)
{
    uint64_t from = t > HANG ? t - HANG : 0, end = t + SOON;

    if (t > NEVER - 2 * SOON)
        return NEVER;
    for (int i = 0; i < 3; i++) /* what widens it may have been widened */
        end = t + SOON + cost_before(end) - cost_before(from) + cost_after(from);
    return end;
}

uint64_t early(uint64_t t)
{
    uint64_t begin = t > SOON + HANG ? t - SOON - HANG : 0, cost;

    for (int i = 0; i < 3; i++) {
        cost = SOON + cost_before(t) - cost_before(begin);
        begin = t > cost + HANG ? t - cost - HANG : 0;
    }
    return begin + HANG;
}

static uint64_t hash(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint64_t h = UINT64_C(14695981039346656037);

    while (n--)
        h = (h ^ *p++) * UINT64_C(1099511628211);
    return h ^ h >> 29;
}

uint32_t find_key(enum cmd cmd, const char *name, uint64_t limit)
{
    bool sem = cmd == CMD_SL || cmd == CMD_SE || cmd == CMD_SW || cmd == CMD_SR || cmd == CMD_SN;
    char full[320];
    size_t at;

    snprintf(full, sizeof(full), "%s/%s", sem ? "sem" : "lock", name);
    if (keys_n * 2 >= key_room) {
        key_room = key_room ? key_room * 2 : 4096;
        key_table = grow(key_table, key_room, sizeof(*key_table));
        memset(key_table, 0, key_room * sizeof(*key_table));
        for (uint32_t k = 1; k <= keys_n; k++) {
            at = hash(keys[k].name, strlen(keys[k].name)) % key_room;
            while (key_table[at])
                at = (at + 1) % key_room;
            key_table[at] = k;
        }
    }
    at = hash(full, strlen(full)) % key_room;
    while (key_table[at] && strcmp(keys[key_table[at]].name, full) != 0)
        at = (at + 1) % key_room;
    if (!key_table[at]) {
        if (keys_n + 2 > keys_room) {
            keys_room = keys_room ? keys_room * 2 : 4096;
            keys = grow(keys, keys_room, sizeof(*keys));
        }
        keys[++keys_n].name = strdup(full);
        keys[keys_n].limit = limit;
        key_table[at] = keys_n;
    }
    return key_table[at];
}

/* Where the want of this fence is, or would be. */
uint32_t *find_fence(uint64_t fence)
{
    size_t at;

    if (grants * 2 >= fence_room) {
        uint32_t *old = fence_table;
        size_t old_room = fence_room;

        fence_room = fence_room ? fence_room * 2 : 1 << 16;
        fence_table = calloc(fence_room, sizeof(*fence_table));
        for (size_t i = 0; i < old_room; i++) {
            if (old[i]) {
                at = hash(&wants[old[i]].fence, 8) % fence_room;
                while (fence_table[at])
                    at = (at + 1) % fence_room;
                fence_table[at] = old[i];
            }
        }
        free(old);
    }
    at = hash(&fence, 8) % fence_room;
    while (fence_table[at] && wants[fence_table[at]].fence != fence)
        at = (at + 1) % fence_room;
    return &fence_table[at];
}
