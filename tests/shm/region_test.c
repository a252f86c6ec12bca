/*
 * tests/shm/region_test.c - making the region: sizes, places, limits, errors.
 */
#include "shm/region.h"

#include "core/check.h"
#include "shm/caps.h"
#include "shm/conns.h"
#include "shm/lock.h"
#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct region_limits small = {.max_locks = 100, .max_conns = 40, .max_nodes = 1000};

static void test_limits(void)
{
    static const struct {
        struct region_limits limits;
        const char *name;
    } bad[] = {
        {{.max_locks = 0, .max_conns = 10}, "no lock"},
        {{.max_locks = (1u << 26) + 1, .max_conns = 10}, "too many locks"},
        {{.max_locks = UINT32_MAX, .max_conns = 10}, "far too many locks"},
        {{.max_locks = 10, .max_conns = 0}, "no connection"},
        {{.max_locks = 10, .max_conns = (1u << 22) + 1}, "too many connections"},
        {{.max_locks = 10, .max_conns = UINT32_MAX}, "far too many connections"},
        {{.max_locks = 10, .max_conns = 10, .max_nodes = UINT32_MAX}, "too many nodes"},
    };
    static const struct region_limits good[] = {
        {.max_locks = 1, .max_conns = 1, .max_nodes = 1},
        {.max_locks = 1, .max_conns = 1u << 22, .max_nodes = 1000},
        {.max_locks = 1u << 20, .max_conns = 10000},
    };

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int err = 0;

        is_u64(region_size(&bad[i].limits), 0, "%s: no size", bad[i].name);
        ok(!region_create(&bad[i].limits, &err) && err == -ERANGE, "and -ERANGE");
    }
    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ok(region_size(&good[i]) > 0, "%u locks, %u connections: %" PRIu64 " bytes",
           good[i].max_locks, good[i].max_conns, region_size(&good[i]));
    ok(region_size(&good[2]) > region_size(&small), "more needs more");
}

static bool apart(const uint64_t *start, const uint64_t *size, unsigned n, uint64_t whole)
{
    for (unsigned i = 0; i < n; i++) {
        if (start[i] + size[i] > whole)
            return false;
        for (unsigned k = 0; k < i; k++)
            if (start[i] < start[k] + size[k] && start[k] < start[i] + size[i])
                return false;
    }
    return true;
}

static void test_places(void)
{
    struct check_report found;
    int err;
    struct region *r = region_create(&small, &err);
    uint64_t buffers = (uint64_t)r->niobuf_chunks * IOBUF_CHUNK;
    const struct geometry *g = &r->geo;
    struct check_report report;
    struct table t = {0};
    unsigned bad = 0;
    uint64_t start[] = {0, r->workers, r->conns, r->iobuf_owner, g->shards, g->owners,
                        g->chunk_owner, g->chunks, g->resources, g->long_keys, g->buckets,
                        g->tok_buckets, g->pair_buckets, r->iobufs, r->bigbufs};
    uint64_t size[] = {sizeof(*r),
                       WORKER_MAX * sizeof(struct worker_slot),
                       (small.max_conns + 1) * sizeof(struct conn),
                       r->niobuf_chunks * sizeof(uint32_t),
                       SHARD_COUNT * g->shard_stride,
                       (small.max_conns + 1) * sizeof(struct owner),
                       g->nchunks * sizeof(uint32_t),
                       g->nchunks * sizeof(struct chunk),
                       (uint64_t)SHARD_COUNT * (g->res_per_shard + 1) * sizeof(struct resource),
                       (uint64_t)SHARD_COUNT * (g->res_per_shard + 1) * KEY_MAX,
                       (uint64_t)SHARD_COUNT * (g->res_mask + 1) * sizeof(uint32_t),
                       (uint64_t)SHARD_COUNT * (g->node_mask + 1) * sizeof(uint32_t),
                       (uint64_t)SHARD_COUNT * (g->node_mask + 1) * sizeof(uint32_t),
                       buffers * (IOBUF_IN + IOBUF_OUT),
                       (uint64_t)BIGBUF_COUNT * BIGBUF_SIZE};

    is_int(err, 0, "a region is made");
    is_u64(r->size, region_size(&small), "of the size foretold");
    ok(apart(start, size, sizeof(start) / sizeof(start[0]), r->size), "nothing overlaps");
    ok(buffers >= small.max_conns + (uint64_t)WORKER_MAX * (IOBUF_CHUNK - 1),
       "buffers for all, though each worker keeps a chunk half used");
    ok(memcmp(r->magic, REGION_MAGIC, 8) == 0 && r->version == REGION_VERSION && r->ready == 1,
       "it says what it is");
    is_u64(strlen(r->boot_id), 36, "and of which boot: %s", r->boot_id);
    is_u64(caps_free(r), small.max_locks, "all units are free");
    ok(r->fence_next > 0 && r->fence_limit == UINT64_MAX && r->conn_id_next == 1, "counters");
    table_attach(&t, r, &r->geo);
    t.fence_next = &r->fence_next;
    t.fence_limit = &r->fence_limit;
    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        bad += check_shard(&t, i, &report) != 0;
        bad += lock_shard(r, &t, i, &found) != LOCK_OK;
        lock_release(r, i);
        bad += (uintptr_t)&r->mutex[i] % CACHE_LINE != 0;
    }
    is_u64(bad, 0, "every shard is valid, and its mutex on a cache line of its own");
    bad = 0;
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        bad += (uintptr_t)region_worker(r, i) % CACHE_LINE != 0;
    is_u64(bad, 0, "so is every worker's slot");
    memset(region_base(r) + r->size - 1, 1, 1);
    region_destroy(r);
}

static void test_fingerprint(void)
{
    struct region_limits other = {.max_locks = 200, .max_conns = 3, .max_nodes = 100};
    int err;
    struct region *a = region_create(&small, &err), *b = region_create(&other, &err);

    ok(a->fingerprint != 0 && a->fingerprint == b->fingerprint,
       "one program's regions have one fingerprint, whatever their size");
    ok(memcmp(&a->hash_key, &b->hash_key, sizeof(a->hash_key)) != 0, "each has its own hash key");
    region_destroy(a);
    region_destroy(b);
}

/*
 * Who knew a server's hash could choose keys that all lie in one shard, and there in one chain of its
 * map (by its lowest bits). To another server, or the same one started anew, they are like any others.
 */
static void test_collisions(void)
{
    enum { KEYS = 64, SHARDS_ALIKE = 12, PAIRS_ALIKE = 12 };
    int err;
    struct region *a = region_create(&small, &err), *b = region_create(&small, &err);
    uint64_t in_b[KEYS];
    unsigned found = 0, tried = 0, pairs = 0, shard[SHARD_COUNT] = {0}, most = 0;
    char key[32];

    while (found < KEYS) {
        uint32_t n = (uint32_t)snprintf(key, sizeof(key), "aimed-%u", tried++);
        uint64_t hash = region_key_hash(a, KIND_LOCK, key, n);

        if (table_shard_of(hash) == 0 && (hash & 0xff) == 0)
            in_b[found++] = region_key_hash(b, KIND_LOCK, key, n);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned there = ++shard[table_shard_of(in_b[i])];

        most = there > most ? there : most;
        for (unsigned j = 0; j < i; j++)
            pairs += table_shard_of(in_b[i]) == table_shard_of(in_b[j]) &&
                     (in_b[i] & 0xff) == (in_b[j] & 0xff);
    }
    ok(most < SHARDS_ALIKE, "%u keys of one shard of a region (of %u): another's shard has at most %u", KEYS,
       tried, most);
    ok(pairs < PAIRS_ALIKE, "of its chains %u pairs of them", pairs);
    region_destroy(a);
    region_destroy(b);
}

static void limited(void *arg)
{
    struct rlimit few = {.rlim_cur = (rlim_t)(uintptr_t)arg, .rlim_max = RLIM_INFINITY};
    struct region *r;
    int err = 0;

    setrlimit(RLIMIT_AS, &few);
    r = region_create(&small, &err);
    _exit(r ? 0 : -err);
}

static void no_descriptors(void *arg)
{
    struct rlimit none = {.rlim_cur = 3, .rlim_max = 3};
    struct region *r;
    int err = 0;

    (void)arg;
    for (int fd = 3; fd < 100; fd++)
        close(fd);
    setrlimit(RLIMIT_NOFILE, &none);
    r = region_create(&small, &err);
    _exit(r ? 0 : -err);
}

static void small_file(void *arg)
{
    struct rlimit few = {.rlim_cur = 4096, .rlim_max = 4096};
    struct region *r;
    int err = 0;

    (void)arg;
    setrlimit(RLIMIT_FSIZE, &few);
    r = region_create(&small, &err);
    _exit(r ? 0 : -err);
}

static void test_errors(void)
{
    is_int(proc_reap(proc_start(limited, (void *)(uintptr_t)RLIM_INFINITY)), 0,
           "without a limit of address space");
    is_int(proc_reap(proc_start(limited, (void *)(uintptr_t)(1 << 20))) >> 8, ENOMEM,
           "with one: -ENOMEM");
    is_int(proc_reap(proc_start(no_descriptors, NULL)) >> 8, EMFILE, "no descriptor left: -EMFILE");
    ok(proc_reap(proc_start(small_file, NULL)) != 0, "a limit of file size");
}

int main(void)
{
    proc_seed();
    test_limits();
    test_places();
    test_fingerprint();
    test_collisions();
    test_errors();
    return done_testing();
}
