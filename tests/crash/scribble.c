/*
 * tests/crash/scribble.c - what a stray store may do: writes over one thing in a running server's
 * memory, found by a key.
 *
 *     scribble REGION THING KEY      REGION: /proc/PID/fd/N of the master
 */
#include "core/journal.h"
#include "shm/conns.h"
#include "shm/region.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static struct region *r;
static struct table t;
static uint32_t shard, res, node;

static struct resource *resource(void)
{
    return table_resource(&t, shard, res);
}

static uint32_t *bucket(void)
{
    return (uint32_t *)(t.base + t.geo->buckets) + (uint64_t)shard * (t.geo->res_mask + 1) +
           (resource()->hash & t.geo->res_mask);
}

static void count(void) { resource()->nholders += 5; }
static void queue(void) { resource()->q_head = resource()->q_tail = UINT32_MAX; }
static void unlink_key(void) { *bucket() = 0; }
static void wheel(void) { memset(&table_shard(&t, shard)->wheel, 0xff, sizeof(struct wheel)); }
static void freelist(void) { table_shard(&t, shard)->res_free = res; }
static void holder(void) { table_node(&t, node)->state = 77; }
static void wiped(void) { table_node(&t, node)->state = NODE_FREE; }
static void kind(void) { resource()->kind = 9; }
static void key(void) { resource()->key[0] ^= 1; }
static void mutex_kind(void) { r->mutex[shard].mutex.__data.__kind = 7; }
static void mutex_owner(void) { r->mutex[shard].mutex.__data.__lock = 4000000; }
static void fence(void) { r->fence_next = 17; }

static void journal(void)
{
    struct journal *j = &table_shard(&t, shard)->journal;

    for (unsigned i = 0; i < 3; i++)
        j->entry[i] = (struct journal_entry){UINT64_MAX, (uint64_t)(8 * i) << 4 | 8};
    j->count = 3;
}

static void conn(void)
{
    struct conn *c = conns_slot(r, table_node(&t, node)->owner);

    c->in_tail = c->in_head + (UINT64_C(1) << 40);
}

static const struct {
    const char *name;
    void (*write)(void);
} things[] = {
    {"count", count},   {"queue", queue},           {"bucket", unlink_key},
    {"wheel", wheel},   {"freelist", freelist},     {"holder", holder},
    {"wiped", wiped},   {"kind", kind},             {"key", key},
    {"journal", journal}, {"mutex-kind", mutex_kind}, {"mutex-owner", mutex_owner},
    {"fence", fence},   {"conn", conn},
};

static void find(const char *name)
{
    struct table_key k = {.bytes = name, .len = (uint32_t)strlen(name), .kind = KIND_LOCK};
    struct tx tx;

    k.hash = region_key_hash(r, k.kind, k.bytes, k.len);
    shard = table_shard_of(k.hash);
    tx_begin(&tx, &t, shard, 0);
    res = table_find(&tx, &k);
    if (!res || !resource()->holders) {
        fprintf(stderr, "scribble: nobody holds %s\n", name);
        exit(1);
    }
    node = resource()->holders;
}

int main(int argc, char **argv)
{
    struct stat st;
    int fd;

    if (argc != 4)
        return 2;
    fd = open(argv[1], O_RDWR);
    if (fd < 0 || fstat(fd, &st) < 0) {
        perror(argv[1]);
        return 1;
    }
    r = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (r == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    table_attach(&t, r, &r->geo);
    t.fence_next = &r->fence_next;
    t.fence_limit = &r->fence_limit;
    find(argv[3]);
    for (size_t i = 0; i < sizeof(things) / sizeof(things[0]); i++) {
        if (strcmp(things[i].name, argv[2]) != 0)
            continue;
        things[i].write();
        printf("%u\n", shard);
        return 0;
    }
    fprintf(stderr, "scribble: what is %s?\n", argv[2]);
    return 2;
}
