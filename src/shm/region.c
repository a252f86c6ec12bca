/*
 * shm/region.c - making the region. Runs in the master, before the first fork.
 */
#include "shm/region.h"

#include "base/clock.h"
#include "base/random.h"
#include "shm/caps.h"
#include "shm/conns.h"
#include "shm/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t page_up(uint64_t n)
{
    return (n + 4095) & ~UINT64_C(4095);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    return (h ^ v) * 0x100000001b3u;
}

/* Two builds with the same fingerprint may share a region. */
static uint64_t fingerprint(void)
{
    uint64_t h = 0xcbf29ce484222325u;

    h = mix(h, REGION_VERSION);
    h = mix(h, sizeof(struct region));
    h = mix(h, sizeof(struct worker_slot));
    h = mix(h, sizeof(struct conn));
    h = mix(h, sizeof(struct shard));
    h = mix(h, sizeof(struct chunk));
    h = mix(h, sizeof(struct owner));
    h = mix(h, sizeof(struct resource));
    h = mix(h, sizeof(pthread_mutex_t));
    for (const char *v = gnu_get_libc_version(); *v; v++)
        h = mix(h, (unsigned char)*v);
    return h;
}

static int place(const struct region_limits *limits, struct region *r)
{
    struct layout_limits layout = {.max_locks = limits->max_locks,
                                   .max_owners = limits->max_conns,
                                   .max_nodes = limits->max_nodes};
    uint64_t at = page_up(sizeof(struct region));
    int err;

    r->max_conns = limits->max_conns;
    /* A worker keeps a partly used chunk, so there are more buffers than connections. */
    r->niobuf_chunks = limits->max_conns / IOBUF_CHUNK + 1 + WORKER_MAX;
    r->workers = at;
    at = page_up(at + WORKER_MAX * sizeof(struct worker_slot));
    r->conns = at;
    at = page_up(at + ((uint64_t)limits->max_conns + 1) * sizeof(struct conn));
    r->iobuf_owner = at;
    at = page_up(at + (uint64_t)r->niobuf_chunks * sizeof(uint32_t));
    err = layout_compute(&layout, at, &r->geo);
    if (err)
        return err;
    r->iobufs = page_up(r->geo.size);
    r->bigbufs = r->iobufs + (uint64_t)r->niobuf_chunks * IOBUF_CHUNK * (IOBUF_IN + IOBUF_OUT);
    r->size = r->bigbufs + (uint64_t)BIGBUF_COUNT * BIGBUF_SIZE;
    return 0;
}

uint64_t region_size(const struct region_limits *limits)
{
    struct region r;

    return place(limits, &r) == 0 ? r.size : 0;
}

static void read_boot_id(char *out, size_t n)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t got;

    memset(out, 0, n);
    if (fd < 0)
        return;
    got = read(fd, out, n - 1);
    if (got > 0 && out[got - 1] == '\n')
        out[got - 1] = '\0';
    close(fd);
}

static int format(struct region *r)
{
    struct table t = {0};
    int err;

    memcpy(r->magic, REGION_MAGIC, sizeof(r->magic));
    r->version = REGION_VERSION;
    r->fingerprint = fingerprint();
    r->created = clock_realtime_ns();
    read_boot_id(r->boot_id, sizeof(r->boot_id));
    err = random_bytes(&r->hash_key, sizeof(r->hash_key));
    if (err)
        return err;
    /* As the reference: tokens keep growing when a site moves over from it. */
    r->fence_next = r->created;
    r->fence_limit = UINT64_MAX;
    r->conn_id_next = 1;
    table_attach(&t, r, &r->geo);
    table_format(&t);
    caps_format(r);
    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        err = lock_init(&r->mutex[i].mutex);
        if (err)
            return err;
    }
    __atomic_store_n(&r->ready, 1, __ATOMIC_RELEASE);
    return 0;
}

struct region *region_create(const struct region_limits *limits, int *err)
{
    struct region head = {0};
    struct region *r;
    int fd;

    *err = place(limits, &head);
    if (*err)
        return NULL;
    fd = memfd_create("dflockd-region", MFD_CLOEXEC);
    if (fd < 0) {
        *err = -errno;
        return NULL;
    }
    if (ftruncate(fd, (off_t)head.size) < 0) {
        *err = -errno;
        close(fd);
        return NULL;
    }
    r = mmap(NULL, head.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    *err = r == MAP_FAILED ? -errno : 0;
    close(fd);
    if (*err)
        return NULL;
    memcpy(r, &head, sizeof(head));
    *err = format(r);
    if (*err) {
        region_destroy(r);
        return NULL;
    }
    /* Secrets pass through the buffers, and a dump of a sparse region would be huge. */
    madvise(region_base(r) + r->iobufs, r->size - r->iobufs, MADV_DONTDUMP);
    return r;
}

void region_destroy(struct region *r)
{
    munmap(r, r->size);
}
