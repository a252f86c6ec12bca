/*
 * tests/core/state.c - see state.h.
 */
#include "tests/core/state.h"

#include "tests/tap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANGES = 12, HASHES = 1 << 23 };

uint64_t state_lines;
uint64_t *state_line_at;
uint64_t state_distinct;

static uint32_t shard;

/* Parts of the block, in ascending order. */
static struct range {
    uint64_t start, size; /* in whole lines */
    const char *name;
    uint64_t at;   /* where its first record is */
    uint32_t each; /* bytes of a record */
} range[RANGES];
static unsigned nranges;

static void *memory(uint64_t bytes)
{
    void *p = malloc(bytes);

    if (!p)
        bail_out("no memory");
    return p;
}

static void add_range(const char *name, uint64_t at, uint64_t count, uint32_t each)
{
    struct range *r = &range[nranges++];
    uint64_t end = (at + count * each + STATE_LINE - 1) & ~(uint64_t)(STATE_LINE - 1);

    *r = (struct range){
        .start = at & ~(uint64_t)(STATE_LINE - 1), .name = name, .at = at, .each = each};
    r->size = end - r->start;
}

void state_find(const struct bed *b, uint32_t of_shard)
{
    const struct geometry *g = &b->geo;
    uint64_t resources = g->res_per_shard + 1, buckets = g->node_mask + 1;
    uint64_t at = 0;

    shard = of_shard;
    nranges = 0;
    state_lines = 0;
    add_range("words", 0, 1, sizeof(struct words));
    add_range("shard", g->shards + shard * g->shard_stride, 1, sizeof(struct shard));
    add_range("next_due", g->next_due, SHARD_COUNT, sizeof(uint64_t));
    add_range("owner", g->owners, g->nowners + 1, sizeof(struct owner));
    add_range("chunk_owner", g->chunk_owner, g->nchunks, sizeof(uint32_t));
    add_range("chunk", g->chunks, g->nchunks, sizeof(struct chunk));
    add_range("resource", g->resources + shard * resources * sizeof(struct resource), resources,
              sizeof(struct resource));
    add_range("long key", g->long_keys + shard * resources * KEY_MAX, resources, KEY_MAX);
    add_range("bucket", g->buckets + shard * (g->res_mask + 1) * 4, g->res_mask + 1, 4);
    add_range("token bucket", g->tok_buckets + shard * buckets * 4, buckets, 4);
    add_range("pair bucket", g->pair_buckets + shard * buckets * 4, buckets, 4);
    for (unsigned i = 0; i < nranges; i++)
        state_lines += range[i].size / STATE_LINE;
    free(state_line_at);
    state_line_at = memory(state_lines * sizeof(*state_line_at));
    for (unsigned i = 0; i < nranges; i++)
        for (uint64_t k = 0; k < range[i].size; k += STATE_LINE)
            state_line_at[at++] = range[i].start + k;
}

void state_new(struct state *s)
{
    free(s->lines);
    s->lines = memory(state_lines * STATE_LINE);
}

void state_save(struct state *s, const char *block)
{
    char *to = s->lines;

    for (unsigned i = 0; i < nranges; i++) {
        memcpy(to, block + range[i].start, range[i].size);
        to += range[i].size;
    }
}

void state_restore(const struct state *s, char *block)
{
    const char *from = s->lines;

    for (unsigned i = 0; i < nranges; i++) {
        memcpy(block + range[i].start, from, range[i].size);
        from += range[i].size;
    }
}

bool state_same(const struct state *s, const char *block)
{
    const char *from = s->lines;

    for (unsigned i = 0; i < nranges; i++) {
        if (memcmp(block + range[i].start, from, range[i].size) != 0)
            return false;
        from += range[i].size;
    }
    return true;
}

uint64_t state_hash(const struct state *base, const char *block, uint64_t seed)
{
    uint64_t h = 1 + seed * UINT64_C(0xc4ceb9fe1a85ec53);

    for (uint64_t i = 0; i < state_lines; i++) {
        const char *line = block + state_line_at[i];
        uint64_t word[STATE_LINE / 8];

        if (memcmp(line, base->lines + i * STATE_LINE, STATE_LINE) == 0)
            continue;
        memcpy(word, line, STATE_LINE);
        h = (h ^ i) * UINT64_C(0x9e3779b97f4a7c15);
        for (unsigned k = 0; k < STATE_LINE / 8; k++) {
            h = (h ^ word[k]) * UINT64_C(0xff51afd7ed558ccd);
            h ^= h >> 32;
        }
    }
    return h;
}

bool state_new_hash(uint64_t hash)
{
    static uint64_t *hashes; /* open addressing; 0 = empty */
    uint64_t i;

    if (!hashes && !(hashes = calloc(HASHES, sizeof(*hashes))))
        bail_out("no memory");
    hash += hash == 0;
    for (i = hash % HASHES; hashes[i]; i = (i + 1) % HASHES)
        if (hashes[i] == hash)
            return false;
    if (state_distinct < HASHES / 2)
        hashes[i] = hash;
    state_distinct++;
    return true;
}

void state_forget(struct bed *b, uint64_t fence_next)
{
    struct shard *s = table_shard(&b->t, shard);
    char *long_keys =
        b->block + b->geo.long_keys + (uint64_t)shard * (b->geo.res_per_shard + 1) * KEY_MAX;
    uint32_t count = s->journal.count < JOURNAL_MAX ? s->journal.count : JOURNAL_MAX;

    b->words->fence_next = fence_next;
    memset(&s->journal.entry[count], 0, (JOURNAL_MAX - count) * sizeof(s->journal.entry[0]));
    for (uint32_t i = 1; i <= b->geo.res_per_shard; i++) {
        struct resource *r = table_resource(&b->t, shard, i);

        if (i > s->res_bump || r->state == RES_FREE) {
            memset(r->key, 0, KEY_INLINE);
            memset(long_keys + (uint64_t)i * KEY_MAX, 0, KEY_MAX);
        }
    }
}

/* Names of fields --------------------------------------------------------------------------- */

struct field {
    const char *record, *name;
    uint32_t offset;
};

#define FIELD(record, field)                                                                       \
    {                                                                                              \
#record, #field, offsetof(struct record, field)                                            \
    }

/* In order: a byte belongs to the last field of its record that does not start behind it. */
static const struct field fields[] = {
    FIELD(words, fence_next),
    FIELD(words, fence_limit),
    FIELD(words, promise_until),
    FIELD(words, grants_from),
    FIELD(words, down_since),
    FIELD(words, reserved),
    FIELD(words, units),
    FIELD(shard, state),
    FIELD(shard, moving),
    FIELD(shard, idle_oldest),
    FIELD(shard, idle_head),
    FIELD(shard, idle_tail),
    FIELD(shard, nidle),
    FIELD(shard, nheld),
    FIELD(shard, nwaiting),
    FIELD(shard, starved),
    FIELD(shard, partial),
    FIELD(shard, nfree),
    FIELD(shard, journal.count),
    FIELD(shard, journal.entry),
    FIELD(shard, ticket_next),
    FIELD(shard, res_free),
    FIELD(shard, res_bump),
    FIELD(shard, res_count),
    FIELD(shard, nchunks),
    FIELD(shard, pending),
    FIELD(shard, wheel.now),
    FIELD(shard, wheel.occupied),
    FIELD(shard, wheel.draining),
    FIELD(shard, wheel.slot),
    FIELD(owner, id),
    FIELD(owner, worker),
    FIELD(owner, held),
    FIELD(owner, tombs),
    FIELD(chunk, free_head),
    FIELD(chunk, bump),
    FIELD(chunk, nfree),
    FIELD(chunk, linked),
    FIELD(chunk, prev),
    FIELD(chunk, next),
    FIELD(chunk, node),
    FIELD(node, conn_id),
    FIELD(node, order),
    FIELD(node, salt),
    FIELD(node, end),
    FIELD(node, lease),
    FIELD(node, since),
    FIELD(node, res),
    FIELD(node, owner),
    FIELD(node, prev),
    FIELD(node, next),
    FIELD(node, own_prev),
    FIELD(node, own_next),
    FIELD(node, pend_prev),
    FIELD(node, pend_next),
    FIELD(node, tok_next),
    FIELD(node, pair_next),
    FIELD(node, tw_prev),
    FIELD(node, tw_next),
    FIELD(node, tw_slot),
    FIELD(node, state),
    FIELD(node, flags),
    FIELD(node, extended),
    FIELD(resource, hash),
    FIELD(resource, last_active),
    FIELD(resource, limit),
    FIELD(resource, nholders),
    FIELD(resource, nwaiters),
    FIELD(resource, ntombs),
    FIELD(resource, holders),
    FIELD(resource, q_head),
    FIELD(resource, q_tail),
    FIELD(resource, next),
    FIELD(resource, idle_prev),
    FIELD(resource, idle_next),
    FIELD(resource, spare),
    FIELD(resource, key_len),
    FIELD(resource, kind),
    FIELD(resource, state),
    FIELD(resource, key),
};

static const char *field_name(const char *record, uint64_t offset)
{
    const char *name = "";

    for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (strcmp(fields[i].record, record) == 0 && fields[i].offset <= offset)
            name = fields[i].name;
    return name;
}

static void describe(char *out, size_t size, uint64_t offset)
{
    for (unsigned i = 0; i < nranges; i++) {
        const struct range *r = &range[i];
        uint64_t record, inside;

        if (offset < r->at || offset >= r->start + r->size)
            continue;
        record = (offset - r->at) / r->each;
        inside = (offset - r->at) % r->each;
        if (strcmp(r->name, "chunk") == 0 && inside >= offsetof(struct chunk, node)) {
            inside -= offsetof(struct chunk, node);
            snprintf(out, size, "node %" PRIu64 " .%s",
                     record * CHUNK_NODES + inside / sizeof(struct node) + 1,
                     field_name("node", inside % sizeof(struct node)));
        } else {
            snprintf(out, size, "%s %" PRIu64 " .%s", r->name, record, field_name(r->name, inside));
        }
        return;
    }
    snprintf(out, size, "?");
}

void state_show_difference(const struct bed *b, const struct state *s)
{
    for (uint64_t i = 0; i < state_lines; i++) {
        const char *is = b->block + state_line_at[i], *was = s->lines + i * STATE_LINE;

        for (unsigned k = 0; k < STATE_LINE; k++) {
            uint32_t is_word, was_word;
            char name[80];

            if (is[k] == was[k])
                continue;
            memcpy(&is_word, is + (k & ~3u), 4);
            memcpy(&was_word, was + (k & ~3u), 4);
            describe(name, sizeof(name), state_line_at[i] + k);
            diag("    first difference at byte %" PRIu64 ", %s: the word there is %u, not %u",
                 state_line_at[i] + k, name, is_word, was_word);
            return;
        }
    }
}
