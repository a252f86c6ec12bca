/*
 * shm/conns.c - see conns.h. Runs in the worker that serves the connection, and the master at both
 * ends of its life.
 */
#include "shm/conns.h"

#include "shm/heritage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void ring_write(char *ring, uint32_t size, uint64_t at, const char *bytes, uint32_t n)
{
    uint32_t pos = (uint32_t)(at & (size - 1));
    uint32_t first = size - pos < n ? size - pos : n;

    memcpy(ring + pos, bytes, first);
    memcpy(ring, bytes + first, n - first);
}

static void ring_read(const char *ring, uint32_t size, uint64_t at, char *out, uint32_t n)
{
    uint32_t pos = (uint32_t)(at & (size - 1));
    uint32_t first = size - pos < n ? size - pos : n;

    memcpy(out, ring + pos, first);
    memcpy(out + first, ring, n - first);
}

void conns_put(struct region *r, struct conn *c, const char *bytes, uint32_t n)
{
    ring_write(conns_out(r, c), IOBUF_OUT, c->out_tail, bytes, n);
}

uint32_t conns_view(struct region *r, const struct conn *c, char *scratch, uint32_t max,
                    const char **view)
{
    uint32_t size = conns_in_size(c);
    uint32_t used = conns_in_used(c);
    uint32_t pos = (uint32_t)(c->in_head & (size - 1));
    uint32_t n = used < max ? used : max;

    if (pos + n <= size) {
        *view = conns_in(r, c) + pos;
        return n;
    }
    ring_read(conns_in(r, c), size, c->in_head, scratch, n);
    *view = scratch;
    return n;
}

_Static_assert(sizeof(struct conn) % sizeof(uint64_t) == 0, "whole words");

/* Word by word: others may be looking, see conns_state(). */
static void clear(struct conn *c)
{
    uint64_t *word = (uint64_t *)c;

    for (size_t i = 0; i < sizeof(*c) / sizeof(*word); i++)
        __atomic_store_n(&word[i], 0, __ATOMIC_RELAXED);
}

void conns_open(struct region *r, uint32_t slot, uint64_t id, uint32_t worker, uint64_t now)
{
    struct conn *c = conns_slot(r, slot);
    struct owner *o = (struct owner *)(region_base(r) + r->geo.owners) + slot;
    uint8_t family = c->family;
    uint16_t port = c->port;
    uint64_t high = c->session_high, low = c->session_low;
    uint8_t addr[16];

    memcpy(addr, c->addr, sizeof(addr));
    clear(c);
    memcpy(c->addr, addr, sizeof(addr));
    c->session_high = high;
    c->session_low = low;
    c->family = family;
    c->port = port;
    __atomic_store_n(&c->id, id, __ATOMIC_RELAXED);
    __atomic_store_n(&c->worker, worker, __ATOMIC_RELAXED);
    c->accepted = c->idle_since = now;
    __atomic_store_n(&o->worker, worker, __ATOMIC_RELAXED);
    o->id = id;
    /* Stored last: from here on the worker's heir would adopt it. */
    __atomic_store_n(&c->state, CONN_OPEN, __ATOMIC_RELEASE);
}

void conns_free(struct region *r, uint32_t slot)
{
    struct conn *c = conns_slot(r, slot);
    struct owner *o = (struct owner *)(region_base(r) + r->geo.owners) + slot;

    o->id = 0;
    __atomic_store_n(&c->id, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&c->state, CONN_FREE, __ATOMIC_RELEASE);
}

static uint32_t *chunk_owner(struct region *r)
{
    return (uint32_t *)(region_base(r) + r->iobuf_owner);
}

static uint32_t owner_of(struct region *r, uint32_t chunk)
{
    return __atomic_load_n(&chunk_owner(r)[chunk], __ATOMIC_RELAXED);
}

/* Which buffers have a connection, whoever serves it: one that was handed over may still have that
   of the worker before. */
static bool *find_used(struct region *r)
{
    uint32_t total = r->niobuf_chunks * IOBUF_CHUNK;
    bool *used = calloc(total, sizeof(*used));

    for (uint32_t slot = 1; used && slot <= r->max_conns; slot++) {
        const struct conn *c = conns_slot(r, slot);
        uint8_t state = conns_state(c);
        uint32_t buf = __atomic_load_n(&c->iobuf, __ATOMIC_RELAXED);

        if (state != CONN_FREE && state != CONN_CLOSED && buf && buf <= total)
            used[buf - 1] = true;
    }
    return used;
}

static int find_free(struct iobufs *b)
{
    uint32_t total = b->r->niobuf_chunks * IOBUF_CHUNK;
    bool *used = find_used(b->r);

    if (!used)
        return -ENOMEM;
    b->nfree = 0;
    for (uint32_t i = 0; i < total; i++)
        if (owner_of(b->r, i / IOBUF_CHUNK) == b->worker + 1 && !used[i])
            b->free[b->nfree++] = i;
    free(used);
    b->lent = false;
    return 0;
}

int iobufs_init(struct iobufs *b, struct region *r, uint32_t worker)
{
    int err;

    b->r = r;
    b->worker = worker;
    b->free = malloc((size_t)r->niobuf_chunks * IOBUF_CHUNK * sizeof(*b->free));
    err = b->free ? find_free(b) : -ENOMEM;
    if (err)
        free(b->free);
    return err;
}

void iobufs_destroy(struct iobufs *b)
{
    free(b->free);
    b->free = NULL;
}

static bool has_its_buffer(struct region *r, const struct conn *c)
{
    if (!c->iobuf) /* what is on its way out may have lost its bytes */
        return c->phase == PHASE_DROP ||
               (c->in_tail == c->in_head && c->out_tail == c->out_head && !c->bigbuf);
    return c->iobuf <= r->niobuf_chunks * IOBUF_CHUNK &&
           /* Any worker's: one that was handed over keeps what it has until both rings are empty. */
           owner_of(r, (c->iobuf - 1) / IOBUF_CHUNK) != 0;
}

bool conns_possible(struct region *r, uint32_t slot)
{
    const struct conn *c = conns_slot(r, slot);
    const struct owner *o = (struct owner *)(region_base(r) + r->geo.owners) + slot;

    return o->id == c->id && o->worker < WORKER_MAX && c->phase <= PHASE_LATE &&
           c->bigbuf <= BIGBUF_COUNT && c->doc <= HERITAGE_DOCS && c->in_tail - c->in_head <= conns_in_size(c) &&
           c->out_tail - c->out_head <= IOBUF_OUT && c->doc_pos <= c->doc_len &&
           has_its_buffer(r, c) && (c->phase != PHASE_STREAM || c->doc) &&
           c->blocked_shard < SHARD_COUNT && c->blocked <= r->geo.nchunks * CHUNK_NODES &&
           (c->phase != PHASE_BLOCKED || c->blocked) &&
           (c->family == AF_INET || c->family == AF_INET6 || c->family == AF_UNIX);
}

void conns_give_up(struct region *r, uint32_t slot)
{
    struct conn *c = conns_slot(r, slot);

    c->iobuf = c->bigbuf = c->doc = 0;
    c->in_head = c->in_tail;
    c->out_head = c->out_tail;
    c->flags |= CONN_LOST;
    c->phase = PHASE_DROP;
}

/* A claim that is followed by a kill is found by the heir: the chunk is the slot's, all free. */
static bool claim_chunk(struct iobufs *b)
{
    struct region *r = b->r;

    for (uint32_t i = 0; i < r->niobuf_chunks; i++) {
        uint32_t nobody = 0;

        if (owner_of(r, i) == 0 &&
            __atomic_compare_exchange_n(&chunk_owner(r)[i], &nobody, b->worker + 1, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            for (uint32_t k = IOBUF_CHUNK; k > 0; k--)
                b->free[b->nfree++] = i * IOBUF_CHUNK + k - 1;
            return true;
        }
    }
    return false;
}

static bool have_one(struct iobufs *b)
{
    return b->nfree > 0 || claim_chunk(b) || (b->lent && find_free(b) == 0 && b->nfree > 0);
}

bool iobufs_attach(struct iobufs *b, struct conn *c)
{
    if (c->iobuf)
        return true;
    if (!have_one(b))
        return false;
    __atomic_store_n(&c->iobuf, b->free[--b->nfree] + 1, __ATOMIC_RELAXED);
    return true;
}

static bool is_mine(const struct iobufs *b, uint32_t buf)
{
    return owner_of(b->r, (buf - 1) / IOBUF_CHUNK) == b->worker + 1;
}

void iobufs_detach(struct iobufs *b, struct conn *c)
{
    uint32_t buf = c->iobuf;

    if (!buf)
        return;
    __atomic_store_n(&c->iobuf, 0, __ATOMIC_RELAXED);
    if (is_mine(b, buf))
        b->free[b->nfree++] = buf - 1;
}

int iobufs_disown(struct region *r, uint32_t worker)
{
    bool *used = find_used(r);
    bool all = true;

    if (!used)
        return -ENOMEM;
    for (uint32_t i = 0; i < r->niobuf_chunks; i++) {
        bool busy = false;

        if (owner_of(r, i) != worker + 1)
            continue;
        for (uint32_t k = 0; k < IOBUF_CHUNK; k++)
            busy |= used[i * IOBUF_CHUNK + k];
        if (!busy)
            __atomic_store_n(&chunk_owner(r)[i], 0, __ATOMIC_RELEASE);
        all &= !busy;
    }
    free(used);
    return all;
}

/*
 * Growing: bytes are copied first, then one store makes the big buffer the ring. A kill in between
 * leaves a big buffer that names this connection without being its ring: the heir frees those.
 */
bool conns_grow(struct region *r, uint32_t slot)
{
    struct conn *c = conns_slot(r, slot);
    const char *small = conns_in(r, c);

    for (uint32_t i = 0; i < BIGBUF_COUNT; i++) {
        uint32_t nobody = 0;
        char *big = region_base(r) + r->bigbufs + (uint64_t)i * BIGBUF_SIZE;

        if (!__atomic_compare_exchange_n(&r->bigbuf_owner[i], &nobody, slot, false,
                                         __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            continue;
        for (uint64_t at = c->in_head; at < c->in_tail; at++)
            big[at & (BIGBUF_SIZE - 1)] = small[at & (IOBUF_IN - 1)];
        JOURNAL_BARRIER();
        *(volatile uint32_t *)&c->bigbuf = i + 1;
        JOURNAL_BARRIER();
        return true;
    }
    return false;
}

void conns_shrink(struct region *r, uint32_t slot)
{
    struct conn *c = conns_slot(r, slot);
    uint32_t i = c->bigbuf;
    char *big;

    if (!i)
        return;
    i--;
    big = region_base(r) + r->bigbufs + (uint64_t)i * BIGBUF_SIZE;
    if (c->iobuf) {
        char *small = region_base(r) + r->iobufs +
                      (uint64_t)(c->iobuf - 1) * (IOBUF_IN + IOBUF_OUT);

        for (uint64_t at = c->in_head; at < c->in_tail; at++)
            small[at & (IOBUF_IN - 1)] = big[at & (BIGBUF_SIZE - 1)];
    }
    JOURNAL_BARRIER();
    *(volatile uint32_t *)&c->bigbuf = 0;
    JOURNAL_BARRIER();
    explicit_bzero(big, BIGBUF_SIZE);
    __atomic_store_n(&r->bigbuf_owner[i], 0, __ATOMIC_RELEASE);
}

const char *conns_peer_text(const struct conn *c, char *buf, size_t n)
{
    char addr[INET6_ADDRSTRLEN];

    if (c->family == AF_INET)
        snprintf(buf, n, "%s:%u", inet_ntop(AF_INET, c->addr, addr, sizeof(addr)), c->port);
    else if (c->family == AF_INET6)
        snprintf(buf, n, "[%s]:%u", inet_ntop(AF_INET6, c->addr, addr, sizeof(addr)), c->port);
    else
        snprintf(buf, n, "unix");
    return buf;
}
