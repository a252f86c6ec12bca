/*
 * shm/region.c - making the region. Runs in the master, before the first fork.
 */
#include "shm/region.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/random.h"
#include "shm/caps.h"
#include "shm/conns.h"
#include "shm/dumpfile.h"
#include "shm/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Fences that a worker may have taken and not yet written down: none in flight is above. */
#define FENCE_MARGIN (UINT64_C(1) << 20)

_Static_assert(offsetof(struct region, fence_next) == REGION_SEALED, "sealed part");
_Static_assert(offsetof(struct region, version) == 8 && offsetof(struct region, ready) == 12 &&
                   offsetof(struct region, fingerprint) == 16 &&
                   offsetof(struct region, dump_version) == 24,
               "what all versions have in common");

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
                                   .max_owners = limits->max_conns + limits->max_sessions,
                                   .max_nodes = limits->max_nodes};
    uint64_t at = page_up(sizeof(struct region));
    int err;

    if (limits->max_sessions > REGION_SESSIONS_MAX)
        return -ERANGE;
    r->max_conns = limits->max_conns;
    r->max_sessions = limits->max_sessions;
    r->max_nodes = limits->max_nodes;
    /* A worker keeps a partly used chunk, so there are more buffers than connections. */
    r->niobuf_chunks = limits->max_conns / IOBUF_CHUNK + 1 + WORKER_MAX;
    r->workers = at;
    at = page_up(at + WORKER_MAX * sizeof(struct worker_slot));
    r->conns = at;
    at = page_up(at + ((uint64_t)layout.max_owners + 1) * sizeof(struct conn));
    r->iobuf_owner = at;
    at = page_up(at + (uint64_t)r->niobuf_chunks * sizeof(uint32_t));
    err = layout_compute(&layout, at, &r->geo);
    if (err)
        return err;
    r->geo.from = r->workers;
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
    r->dump_version = DUMP_VERSION;
    r->created = clock_realtime_ns();
    read_boot_id(r->boot_id, sizeof(r->boot_id));
    err = random_bytes(&r->hash_key, sizeof(r->hash_key));
    if (err)
        return err;
    /* As the reference: tokens keep growing when a site moves over from it. */
    r->fence_next = r->created;
    r->fence_limit = r->promise_until = UINT64_MAX;
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

/* A stray store kills its worker, not the server. */
static void seal(struct region *r, int prot)
{
    if (sysconf(_SC_PAGESIZE) <= REGION_SEALED)
        mprotect(r, REGION_SEALED, prot);
}

static void protect(struct region *r)
{
    /* Secrets pass through the buffers, and a dump of a sparse region would be huge. */
    madvise(region_base(r) + r->iobufs, r->size - r->iobufs, MADV_DONTDUMP);
    seal(r, PROT_READ);
}

static struct region *map_new(int fd, const struct region *head, int *err)
{
    struct region *r;

    *err = ftruncate(fd, (off_t)head->size) < 0 ? -errno : 0;
    if (*err)
        return NULL;
    r = mmap(NULL, head->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (r == MAP_FAILED) {
        *err = -errno;
        return NULL;
    }
    memcpy(r, head, REGION_SEALED);
    *err = format(r);
    if (*err) {
        region_destroy(r);
        return NULL;
    }
    protect(r);
    return r;
}

struct region *region_create_fd(const struct region_limits *limits, int *fd, int *err)
{
    struct region head = {0};
    struct region *r;

    *err = place(limits, &head);
    if (*err)
        return NULL;
    *fd = memfd_create("dflockd-region", MFD_CLOEXEC);
    if (*fd < 0) {
        *err = -errno;
        return NULL;
    }
    r = map_new(*fd, &head, err);
    if (!r)
        close(*fd);
    return r;
}

struct region *region_create(const struct region_limits *limits, int *err)
{
    int fd;
    struct region *r = region_create_fd(limits, &fd, err);

    if (r)
        close(fd);
    return r;
}

/* The sealed part of a file, and whether a server of this build could have made it. */
static int read_head(int fd, struct region *head)
{
    struct region_limits limits;
    struct region made = {0};
    struct stat st;
    ssize_t got = pread(fd, head, REGION_SEALED, 0);

    if (got < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (got < REGION_SEALED || memcmp(head->magic, REGION_MAGIC, sizeof(head->magic)) != 0)
        return -EINVAL;
    if (head->version != REGION_VERSION || head->fingerprint != fingerprint())
        return -ENOEXEC;
    limits = (struct region_limits){.max_locks = head->geo.max_locks,
                                    .max_conns = head->max_conns,
                                    .max_sessions = head->max_sessions,
                                    .max_nodes = head->max_nodes};
    if (place(&limits, &made) != 0 || made.size != head->size || made.conns != head->conns ||
        made.workers != head->workers || made.iobuf_owner != head->iobuf_owner ||
        made.iobufs != head->iobufs || made.bigbufs != head->bigbufs ||
        made.niobuf_chunks != head->niobuf_chunks ||
        memcmp(&made.geo, &head->geo, sizeof(made.geo)) != 0)
        return -EUCLEAN;
    return !head->ready || (uint64_t)st.st_size < head->size ? -ENODATA : 0;
}

const char *region_error_text(int err)
{
    switch (err) {
    case -EINVAL:
        return "this is no lock table of dflockd";
    case -ENOEXEC:
        return "it was made by another version or build of dflockd: use that one";
    case -ENODATA:
        return "it is cut off, or was never finished";
    case -EUCLEAN:
        return "its header contradicts itself";
    default:
        return err_text(err);
    }
}

static struct region *map_found(int fd, int how, int *err)
{
    static struct region head;
    struct region *r;

    *err = read_head(fd, &head);
    if (*err)
        return NULL;
    r = mmap(NULL, head.size, PROT_READ | PROT_WRITE, how | MAP_NORESERVE, fd, 0);
    *err = r == MAP_FAILED ? -errno : 0;
    return *err ? NULL : r;
}

struct region *region_load(int fd, int *err)
{
    return map_found(fd, MAP_PRIVATE, err);
}

struct region *region_adopt(int fd, int *err)
{
    struct region *r = map_found(fd, MAP_SHARED, err);

    if (r)
        protect(r);
    return r;
}

int region_look(int fd, uint32_t *dump_version)
{
    static struct region head;
    char boot_id[sizeof(head.boot_id)];
    int err = read_head(fd, &head);

    *dump_version = err == -ENOEXEC ? head.dump_version : 0;
    if (err)
        return err;
    read_boot_id(boot_id, sizeof(boot_id));
    return memcmp(boot_id, head.boot_id, sizeof(boot_id)) == 0 ? 0 : ERR_STALE;
}

void region_inherit(struct region *r, uint64_t created)
{
    seal(r, PROT_READ | PROT_WRITE);
    r->created = created;
    seal(r, PROT_READ);
}

uint64_t region_key_hash(const struct region *r, enum kind kind, const char *key, uint32_t len)
{
    uint64_t hash = siphash24(&r->hash_key, key, len);

    /* Lock and semaphore of one name are different keys: the kind turns the hash. */
    return kind == KIND_SEM ? hash * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u : hash;
}

bool region_mend_fences(struct region *r)
{
    uint64_t next = __atomic_load_n(&r->fence_next, __ATOMIC_SEQ_CST);
    uint64_t least = r->created;

    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        uint64_t seen = __atomic_load_n(&region_worker(r, i)->fence_seen, __ATOMIC_RELAXED);

        least = seen > least ? seen : least;
    }
    least = least > UINT64_MAX - FENCE_MARGIN ? UINT64_MAX : least;
    while (next < least)
        if (__atomic_compare_exchange_n(&r->fence_next, &next,
                                        least == UINT64_MAX ? least : least + FENCE_MARGIN, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return true;
    return false;
}

void region_destroy(struct region *r)
{
    munmap(r, r->size);
}
