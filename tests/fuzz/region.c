/*
 * tests/fuzz/region.c - a region in which bits were changed: it is repaired or refused, never a
 * crash; and when it is repaired, no holder or waiter is another key's than before, none is lost,
 * none has come from nowhere.
 *
 * A region with all sorts of records in it is made once, always the same. The input is trials, one
 * behind the other: a byte that says what has happened (a crash, a kill with the shard locked,
 * both, --fsck) and how many bits change, and where they are, four bytes each. After each trial the
 * region is put back: what a repair may have touched is copied, or all its pages, which are
 * private, are given up.
 */
#include "core/check.h"
#include "core/journal.h"
#include "core/repair.h"
#include "shm/conns.h"
#include "shm/lock.h"
#include "shm/shared.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

const char fuzz_target[] = "region";

#define SECOND UINT64_C(1000000000)
#define NOW (1000 * SECOND)

enum {
    CONNS = 16,
    SHARDS = 3,  /* that have records */
    PER_SHARD = 8, /* keys */
    STEPS_MAX = 100000, /* of anything that must come to an end */
    DEAD = 4711, /* the worker that held the mutex */
    VOUCHED = 1, /* so many bits may change anywhere without a holder's being another's */
};

static const uint32_t shard_no[SHARDS] = {3, 20, 41};
static const struct region_limits limits = {
    .max_locks = 64, .max_conns = CONNS, .max_sessions = 4, .max_nodes = 64};

static struct region *r;      /* what is damaged; private pages */
static struct region *before; /* the same, never touched */
static struct shared sh, sh_before;
static int head_fd;           /* a file that has the sealed part only */

struct key {
    char text[KEY_MAX];
    uint32_t len;
    enum kind kind;
};
static struct key key[SHARDS][PER_SHARD];

/* Making it ---------------------------------------------------------------------------------- */

/* The same tokens each time. */
static void fill_salts(struct shared *s)
{
    static uint64_t seed = 1;

    while (s->nsalt < SHARED_SALTS)
        s->salt[s->nsalt++] = fuzz_random(&seed);
}

static void begin(struct shared *s, struct tx *tx, uint32_t shard, uint64_t now)
{
    fill_salts(s);
    FUZZ_REQUIRE(shared_begin(s, tx, shard, now), "shard %u is lost", shard);
}

static void choose_keys(void)
{
    unsigned n[SHARDS] = {0}, left = SHARDS * PER_SHARD;

    for (unsigned i = 0; left; i++) {
        struct key k = {.kind = i % 5 ? KIND_LOCK : KIND_SEM};
        uint32_t shard;

        k.len = (uint32_t)snprintf(k.text, sizeof(k.text), "key-%u", i);
        while (i % 7 == 0 && k.len < KEY_INLINE + 30)
            k.text[k.len++] = 'x';
        shard = table_shard_of(region_key_hash(r, k.kind, k.text, k.len));
        for (unsigned s = 0; s < SHARDS; s++) {
            /* The last two are semaphores, the others locks. */
            if (shard != shard_no[s] || n[s] == PER_SHARD ||
                (k.kind == KIND_SEM) != (n[s] >= PER_SHARD - 2))
                continue;
            key[s][n[s]++] = k;
            left--;
        }
    }
}

/* With `lease` the owner waits in the queue, has enqueued, or holds; the node. */
static uint32_t take(unsigned s, unsigned k, uint32_t owner, bool two_phase)
{
    const struct key *key_ = &key[s][k];
    struct acquire_args args = {.key = shared_key(&sh, key_->kind, key_->text, key_->len),
                                .owner = owner,
                                .limit = key_->kind == KIND_SEM ? 5 : 1,
                                .lease = (30 + k) * SECOND,
                                .two_phase = two_phase};
    struct conn *c = conns_slot(r, owner);
    enum verdict v;
    struct grant g;
    struct tx tx;

    FUZZ_REQUIRE(shared_make_room(&sh, NOW), "no room");
    begin(&sh, &tx, shard_no[s], NOW + k);
    v = table_acquire(&tx, &args, &g);
    shared_end(&sh, &tx);
    shared_return_units(&sh);
    FUZZ_REQUIRE(v == VERDICT_OK || v == VERDICT_QUEUED, "verdict %d", (int)v);
    if (v == VERDICT_QUEUED && !two_phase) {
        c->phase = PHASE_BLOCKED;
        c->blocked = g.node;
        c->blocked_shard = shard_no[s];
        c->blocked_until = TIME_NEVER;
    }
    return g.node;
}

static void evict(unsigned s, unsigned k)
{
    const struct key *key_ = &key[s][k];
    struct table_key name = shared_key(&sh, key_->kind, key_->text, key_->len);
    struct tx tx;

    begin(&sh, &tx, shard_no[s], NOW + SECOND);
    FUZZ_REQUIRE(table_evict(&tx, &name, 0) == VERDICT_OK, "evict");
    shared_end(&sh, &tx);
}

static void fill_shard(unsigned s)
{
    struct tx tx;
    uint32_t who = s * 5; /* owners: 16 for three shards, a few of them in several */

    take(s, 0, 1 + who, false); /* held, two wait, one enqueued */
    take(s, 0, 2 + who, false);
    take(s, 0, 3 + who, true);
    take(s, 0, 4 + who, true);
    take(s, 1, 1 + who, false); /* told of its grant; its holder is gone */
    take(s, 1, 5 + who, false);
    evict(s, 1);
    take(s, 2, 1 + who, true);  /* enqueued and granted */
    take(s, 3, 4 + who, true);  /* lapsed */
    evict(s, 3);
    take(s, 4, 3 + who, false); /* idle, with a spare */
    evict(s, 4);
    take(s, 5, CONNS, false);   /* kept: its owner is lost */
    for (uint32_t i = 1; i <= 4; i++)
        take(s, 6, i + who, false);
    take(s, 7, 3 + who, false);
    evict(s, 7);
    begin(&sh, &tx, shard_no[s], NOW + SECOND);
    while (table_drop_owner(&tx, CONNS, false, true))
        shared_step(&tx);
    shared_end(&sh, &tx);
}

static struct region *load(int fd)
{
    int err;
    struct region *loaded = region_load(fd, &err);

    FUZZ_REQUIRE(loaded, "%s", region_error_text(err));
    return loaded;
}

static void make(void)
{
    int fd, err;

    r = region_create_fd(&limits, &fd, &err);
    FUZZ_REQUIRE(r && mprotect(r, REGION_SEALED, PROT_READ | PROT_WRITE) == 0, "no region");
    r->hash_key = (struct siphash_key){UINT64_C(0x0123456789abcdef), 42};
    r->created = r->fence_next = UINT64_C(1700000000000000000);
    memset(r->boot_id, 'b', sizeof(r->boot_id) - 1);
    shared_attach(&sh, r, 0);
    choose_keys();
    for (uint32_t slot = 1; slot <= CONNS; slot++) {
        conns_slot(r, slot)->family = AF_UNIX;
        conns_open(r, slot, r->conn_id_next++, slot % 3, NOW);
        r->nconns++;
    }
    for (uint32_t i = 0; i < 3; i++)
        region_worker(r, i)->generation = 1;
    for (unsigned s = 0; s < SHARDS; s++)
        fill_shard(s);
    region_destroy(r);
    r = load(fd);
    before = load(fd);
    shared_attach(&sh, r, 0);
    shared_attach(&sh_before, before, 0);
    close(fd);
    head_fd = memfd_create("head", MFD_CLOEXEC);
    FUZZ_REQUIRE(head_fd >= 0 && ftruncate(head_fd, (off_t)before->size) == 0 &&
                     pwrite(head_fd, before, REGION_SEALED, 0) == REGION_SEALED,
                 "no file");
}

/* Damage ------------------------------------------------------------------------------------- */

struct trial {
    enum { CRASHED, KILLED, CRASHED_AND_KILLED, FSCK } what;
    bool used; /* clients go on afterwards */
    unsigned n;
    unsigned s;
    uint64_t at[4]; /* bytes */
    unsigned bit[4];
    bool everywhere; /* not only shard s may be damaged */
};

enum { AREAS = 20 };

/* Of place(): what is not one shard's alone. */
static bool area_is_shared(unsigned area)
{
    return (area >= 2 && area <= 4) || area == 6 || (area >= 11 && area <= 15);
}

/* Records that are in use are most of what is looked at. */
static uint64_t place(unsigned s, uint8_t area, uint16_t index)
{
    const struct table *t = &sh_before.table;
    const struct geometry *g = &before->geo;
    uint32_t shard = shard_no[s], owner = 1 + index % g->nowners;
    uint32_t node = table_resource(t, shard, 1)->holders;
    uint64_t chunk = (node - 1) / CHUNK_NODES, buckets = g->res_mask + 1, tokens = g->node_mask + 1;
    uint64_t at;

    switch (area % AREAS) {
    case 0:
        at = g->shards + shard * g->shard_stride + index % sizeof(struct shard);
        break;
    case 1: /* its first line, and what lies behind the journal's entries */
        at = index % 2 ? index / 2 % 64 : offsetof(struct shard, ticket_next) + index / 2 % 64;
        at += g->shards + shard * g->shard_stride;
        break;
    case 2:
        at = g->chunk_owner + index % (g->nchunks * sizeof(uint32_t));
        break;
    case 3:
        at = g->chunk_owner + chunk * sizeof(uint32_t) + index % sizeof(uint32_t);
        break;
    case 4:
        at = g->owners + owner * sizeof(struct owner) + (index >> 8) % 16;
        break;
    case 5:
        at = g->owners + owner * sizeof(struct owner) + offsetof(struct owner, held) +
             shard * sizeof(uint32_t) + (index >> 8) % sizeof(uint32_t);
        break;
    case 6:
        at = g->owners + index % (g->nowners * sizeof(struct owner));
        break;
    case 7:
        at = g->buckets + shard * buckets * sizeof(uint32_t) + index % (buckets * sizeof(uint32_t));
        break;
    case 8:
        at = (index % 2 ? g->tok_buckets : g->pair_buckets) + shard * tokens * sizeof(uint32_t) +
             index / 2 % (tokens * sizeof(uint32_t));
        break;
    case 9:
        at = shard * (g->res_per_shard + UINT64_C(1)) + 1 + index / 256 % PER_SHARD;
        at = g->long_keys + at * KEY_MAX + index % 256;
        break;
    case 10:
        at = g->next_due + shard * sizeof(uint64_t) + index % sizeof(uint64_t);
        break;
    case 11:
        at = index % REGION_SEALED;
        break;
    case 12:
        at = REGION_SEALED + index % (sizeof(struct region) - REGION_SEALED);
        break;
    case 13:
        at = offsetof(struct region, mutex) + shard * sizeof(struct shard_mutex) +
             index % sizeof(pthread_mutex_t);
        break;
    case 14:
        at = before->workers + index % (3 * sizeof(struct worker_slot));
        break;
    case 15:
        at = before->conns + (index % CONNS + 1) * sizeof(struct conn) +
             (index >> 4) % sizeof(struct conn);
        break;
    case 16:
    case 17:
        at = (char *)table_resource(t, shard, 1) - t->base +
             index % (PER_SHARD * sizeof(struct resource));
        break;
    default: /* the nodes in use and some behind them */
        at = (char *)table_chunk(t, (uint32_t)chunk) - t->base +
             index % (offsetof(struct chunk, node) + 32 * sizeof(struct node));
        break;
    }
    return at;
}

static bool is_journal(uint64_t at)
{
    uint64_t in_shard = (at - before->geo.shards) % before->geo.shard_stride;

    return at >= before->geo.shards && at < before->geo.next_due &&
           in_shard >= offsetof(struct shard, journal) &&
           in_shard < offsetof(struct shard, journal) + sizeof(struct journal);
}

/* For who reads a finding: the array, and the place in its element. */
static const char *part_name(uint64_t at)
{
    const struct geometry *g = &before->geo;
    const struct {
        const char *name;
        uint64_t from, to, size;
    } part[] = {
        {"region", 0, before->workers, UINT64_MAX},
        {"worker", before->workers, before->conns, sizeof(struct worker_slot)},
        {"conn", before->conns, before->iobuf_owner, sizeof(struct conn)},
        {"shard", g->shards, g->next_due, g->shard_stride},
        {"next_due", g->next_due, g->owners, sizeof(uint64_t)},
        {"owner", g->owners, g->chunk_owner, sizeof(struct owner)},
        {"chunk_owner", g->chunk_owner, g->chunks, sizeof(uint32_t)},
        {"chunk", g->chunks, g->resources, sizeof(struct chunk)},
        {"resource", g->resources, g->long_keys, sizeof(struct resource)},
        {"long key", g->long_keys, g->buckets, KEY_MAX},
    };
    static char text[80];

    for (unsigned i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
        if (at < part[i].from || at >= part[i].to)
            continue;
        at -= part[i].from;
        snprintf(text, sizeof(text), "%s %" PRIu64 " + %" PRIu64, part[i].name, at / part[i].size,
                 at % part[i].size);
        return text;
    }
    return "buckets or buffers";
}

/* What a semaphore's limit or a lease's end was is said once in the table; see fuzzing.md. */
static void decode(struct fuzz_in *in, struct trial *t)
{
    uint8_t how = fuzz_u8(in);

    memset(t, 0, sizeof(*t));
    t->what = how & 3;
    t->n = how >> 2 & 3;
    t->n = t->n == 0 ? 1 : t->n; /* one is what each promise is about */
    t->s = (how >> 4 & 3) % SHARDS;
    t->used = how >> 6 == 3;
    for (unsigned i = 0; i < t->n; i++) {
        uint8_t area = fuzz_u8(in), bit;

        t->at[i] = place(t->s, area, fuzz_u16(in));
        t->everywhere |= area_is_shared(area % AREAS);
        bit = fuzz_u8(in);
        t->bit[i] = bit % 8;
        t->used &= i > 0 || bit >> 6 == 3; /* it takes its time */
        /* Who meets a mutex that is none dies of it: a crash (lock_shard()). */
        if (t->what == KILLED && t->at[i] >= offsetof(struct region, mutex) &&
            t->at[i] < before->workers)
            t->what = CRASHED_AND_KILLED;
        fuzz_calls++;
    }
}

static void put_back(uint64_t from, uint64_t n)
{
    memcpy((char *)r + from, (char *)before + from, n);
}

static void put_shard_back(unsigned s)
{
    const struct geometry *g = &before->geo;
    uint32_t shard = shard_no[s];
    uint64_t keys = (g->res_mask + 1) * sizeof(uint32_t);
    uint64_t nodes = (g->node_mask + 1) * sizeof(uint32_t);

    put_back(g->shards + shard * g->shard_stride, g->shard_stride);
    put_back(g->resources + shard * (g->res_per_shard + UINT64_C(1)) * sizeof(struct resource),
             (g->res_per_shard + UINT64_C(1)) * sizeof(struct resource));
    put_back(g->buckets + shard * keys, keys);
    put_back(g->tok_buckets + shard * nodes, nodes);
    put_back(g->pair_buckets + shard * nodes, nodes);
    put_back(offsetof(struct region, mutex) + shard * sizeof(struct shard_mutex),
             sizeof(struct shard_mutex));
    for (uint32_t c = 0; c < g->nchunks; c++)
        if (sh_before.table.chunk_owner[c] == shard + 1)
            put_back(g->chunks + c * sizeof(struct chunk), sizeof(struct chunk));
}

/* What was touched; now and then that is looked at. */
static void restore(const struct trial *t, bool all)
{
    const struct geometry *g = &before->geo;
    static unsigned count;

    if (all || t->used) {
        FUZZ_REQUIRE(madvise(r, before->size, MADV_DONTNEED) == 0, "madvise: %d", errno);
        shared_attach(&sh, r, 0);
        return;
    }
    for (unsigned s = 0; s < SHARDS; s++)
        if (t->everywhere || s == t->s)
            put_shard_back(s);
    put_back(0, REGION_SEALED);
    put_back(REGION_SEALED, offsetof(struct region, http) - REGION_SEALED);
    put_back(g->next_due, SHARD_COUNT * sizeof(uint64_t));
    put_back(g->owners, (g->nowners + 1) * sizeof(struct owner));
    put_back(g->chunk_owner, g->nchunks * sizeof(uint32_t));
    put_back(before->conns, (CONNS + 1) * sizeof(struct conn));
    for (unsigned i = 0; i < t->n; i++)
        put_back(t->at[i], 1);
    if (++count % 50000 == 0)
        FUZZ_REQUIRE(memcmp(r, before, before->iobufs) == 0, "it was not put back");
}

/* What follows --------------------------------------------------------------------------------- */

static void put_head(const struct region *from, uint64_t at)
{
    FUZZ_REQUIRE(pwrite(head_fd, (const char *)from + at, 1, (off_t)at) == 1, "pwrite: %d", errno);
}

/* Whether the head may be served with. A copy, for the file of the others must stay as it was. */
static bool head_loads(const struct trial *t)
{
    struct region *loaded;
    bool loads = true, any = false;
    uint32_t dump_version;
    int err;

    for (unsigned i = 0; i < t->n; i++) {
        if (t->at[i] >= REGION_SEALED)
            continue;
        any = true;
        put_head(r, t->at[i]);
    }
    if (!any)
        return true;
    region_look(head_fd, &dump_version);
    loaded = region_load(head_fd, &err);
    if (loaded)
        region_destroy(loaded);
    else
        loads = false;
    FUZZ_REQUIRE(loads || *region_error_text(err), "refused in words");
    for (unsigned i = 0; i < t->n; i++)
        if (t->at[i] < REGION_SEALED)
            put_head(before, t->at[i]);
    return loads;
}

/* As bury.c does: a crash makes everything suspect; a kill leaves a mutex with its dead owner. */
static void happen(const struct trial *t)
{
    static const uint32_t alive[] = {1003, 1005}; /* not one bit away from "nobody" */

    if (t->what == KILLED || t->what == CRASHED_AND_KILLED) {
        r->mutex[shard_no[t->s]].mutex.__data.__lock = DEAD;
        lock_sweep(r, DEAD);
    }
    if (t->what == KILLED)
        return;
    lock_mend(r, alive, 2);
    region_mend_fences(r);
    for (uint32_t slot = 1; slot <= CONNS; slot++)
        if (!conns_possible(r, slot))
            conns_give_up(r, slot);
    r->crashes++;
    r->suspect = UINT64_MAX;
}

/* What --fsck does with a shard; true: it is whole, or could be rebuilt. */
static bool fsck_shard(uint32_t shard)
{
    struct check_report found;
    bool whole = repair_rollback(&sh.table, shard);

    if (whole && check_shard(&sh.table, shard, &found) == 0 &&
        lock_keys_whole(r, &sh.table, shard, &found) &&
        table_shard(&sh.table, shard)->state == SHARD_OK)
        return true;
    return table_shard(&sh.table, shard)->state != SHARD_QUARANTINED &&
           lock_keys_whole(r, &sh.table, shard, &found) &&
           repair_rebuild(&sh.table, shard, &found) == 0;
}

/* True: it is in use again. */
static bool mend(const struct trial *t, uint32_t shard, bool *rebuilt)
{
    struct check_report found;
    enum lock_result result;

    *rebuilt = true;
    if (t->what == FSCK)
        return fsck_shard(shard);
    result = lock_shard(r, &sh.table, shard, &found);
    if (result == LOCK_QUARANTINED)
        return false;
    *rebuilt = result == LOCK_REBUILT;
    lock_release(r, shard);
    return true;
}

static bool same_key(uint32_t shard, uint32_t a, uint32_t b)
{
    const struct resource *was = table_resource(&sh_before.table, shard, a);
    const struct resource *is = table_resource(&sh.table, shard, b);

    return was->hash == is->hash && was->kind == is->kind && was->key_len == is->key_len &&
           memcmp(table_key_bytes(&sh_before.table, shard, a), table_key_bytes(&sh.table, shard, b),
                  was->key_len) == 0;
}

static void compare_node(uint32_t shard, uint32_t i)
{
    const struct node *was = table_node(&sh_before.table, i), *is = table_node(&sh.table, i);

    if (was->state == NODE_HELD) {
        FUZZ_REQUIRE(is->state == NODE_HELD, "holder %u of shard %u is in state %d", i, shard,
                     is->state);
        FUZZ_REQUIRE(same_key(shard, was->res, is->res), "holder %u is another key's", i);
    } else if (was->state == NODE_WAITING) {
        FUZZ_REQUIRE(is->state != NODE_HELD, "waiter %u of shard %u holds", i, shard);
        FUZZ_REQUIRE(is->state != NODE_WAITING || same_key(shard, was->res, is->res),
                     "waiter %u is another key's", i);
    } else {
        FUZZ_REQUIRE(is->state != NODE_HELD && is->state != NODE_WAITING,
                     "node %u of shard %u held nothing and is in state %d", i, shard, is->state);
    }
}

/* Each record of the shard is what it was, or the shard was given up. */
static void compare(uint32_t shard)
{
    struct table *t = &sh_before.table;

    for (uint32_t c = 0; c < before->geo.nchunks; c++) {
        if (t->chunk_owner[c] != shard + 1) {
            FUZZ_REQUIRE(sh.table.chunk_owner[c] != shard + 1, "chunk %u came from nowhere", c);
            continue;
        }
        FUZZ_REQUIRE(sh.table.chunk_owner[c] == shard + 1, "chunk %u of shard %u is lost", c,
                     shard);
        /* What lies behind was never used, and nobody looks at what it says. */
        for (uint32_t i = 0; i < table_chunk(&sh.table, c)->bump; i++)
            compare_node(shard, c * CHUNK_NODES + i + 1);
        FUZZ_REQUIRE(table_chunk(&sh.table, c)->bump >= table_chunk(t, c)->bump,
                     "records of chunk %u are lost", c);
    }
}

/* Time passes and everybody leaves: nothing traps, crashes or goes on for ever. */
static void use(uint32_t shard)
{
    struct check_report found;
    uint64_t steps = 0;
    struct tx tx;

    fill_salts(&sh);
    if (!shared_begin(&sh, &tx, shard, NOW + 3600 * SECOND))
        return;
    while (table_expire(&tx) && ++steps < STEPS_MAX)
        shared_step(&tx);
    shared_end(&sh, &tx);
    for (uint32_t owner = 1; owner <= before->geo.nowners; owner++) {
        fill_salts(&sh);
        if (!shared_begin(&sh, &tx, shard, NOW + 3601 * SECOND))
            return;
        while (table_drop_owner(&tx, owner, true, false) && ++steps < STEPS_MAX)
            shared_step(&tx);
        shared_end(&sh, &tx);
    }
    fill_salts(&sh);
    if (!shared_begin(&sh, &tx, shard, NOW + 7200 * SECOND))
        return;
    while (table_collect(&tx, TIME_NEVER) && ++steps < STEPS_MAX)
        shared_step(&tx);
    shared_end(&sh, &tx);
    FUZZ_REQUIRE(steps < STEPS_MAX, "shard %u: it goes on for ever", shard);
    FUZZ_REQUIRE(check_shard(&sh.table, shard, &found) == 0, "shard %u after use: I%d at %u: %s",
                 shard, found.invariant, found.index, found.what);
}

/* True: it may have written anywhere. */
static bool run_trial(const struct trial *t)
{
    bool vouched = t->n <= VOUCHED, anywhere = false;

    for (unsigned i = 0; i < t->n; i++) {
        ((char *)r)[t->at[i]] ^= (char)(1 << t->bit[i]);
        /* An open transaction of a dead owner is undone, whatever it says. */
        if (is_journal(t->at[i])) {
            vouched &= t->what == CRASHED;
            anywhere = true;
        }
    }
    if (!head_loads(t))
        return false;
    /* What decides where things are has just been refused, or was not changed. */
    happen(t);
    for (unsigned s = 0; s < SHARDS; s++) {
        struct check_report found;
        bool rebuilt;

        if (!t->everywhere && s != t->s)
            continue;
        /* After a kill alone nothing is looked at but the shard that was locked: see lock.c. */
        if (!mend(t, shard_no[s], &rebuilt) || (t->what == KILLED && s != t->s))
            continue;
        FUZZ_REQUIRE(check_shard(&sh.table, shard_no[s], &found) == 0,
                     "shard %u was mended: I%d at %u: %s", shard_no[s], found.invariant,
                     found.index, found.what);
        if (vouched && (t->what != KILLED || rebuilt))
            compare(shard_no[s]);
    }
    for (unsigned s = 0; t->used && s < SHARDS; s++)
        if (s == t->s || (t->everywhere && t->what != KILLED))
            use(shard_no[s]);
    return anywhere;
}

static struct trial tr;
static unsigned trials; /* of this input */

static void explain(void)
{
    static const char *const what[] = {"crash", "kill", "crash and kill", "--fsck"};

    fprintf(stderr, "# %s in shard %u:", what[tr.what], shard_no[tr.s]);
    for (unsigned i = 0; i < tr.n; i++)
        fprintf(stderr, " byte %#" PRIx64 " bit %u (%s)", tr.at[i], tr.bit[i],
                part_name(tr.at[i]));
    fprintf(stderr, ", at trial %u\n", trials);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_in in = {data, size};

    if (!r) {
        fuzz_explain = explain;
        make();
    }
    for (trials = 0; in.left;) {
        decode(&in, &tr);
        trials++;
        restore(&tr, run_trial(&tr));
    }
    return 0;
}
