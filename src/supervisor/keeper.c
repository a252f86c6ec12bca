/*
 * supervisor/keeper.c - see keeper.h. Runs in the master; takes no lock.
 */
#include "supervisor/keeper.h"

#include "base/point.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct address_count {
    uint8_t family;
    uint8_t addr[16];
    uint32_t n;
};

static int compare(const void *a, const void *b)
{
    const struct address_count *x = a, *y = b;

    return x->family != y->family ? x->family - y->family
                                  : memcmp(x->addr, y->addr, sizeof(x->addr));
}

static struct address_count *find(const struct keeper *k, uint8_t family, const uint8_t addr[16])
{
    struct address_count key = {.family = family};
    void *found;

    memcpy(key.addr, addr, sizeof(key.addr));
    found = tfind(&key, &k->by_addr, compare);
    return found ? *(struct address_count **)found : NULL;
}

static void count_up(struct keeper *k, uint8_t family, const uint8_t addr[16])
{
    struct address_count *a;

    if (family == AF_UNIX)
        return;
    a = find(k, family, addr);
    if (!a) {
        a = calloc(1, sizeof(*a));
        if (!a)
            return; /* not counted: rather one too many than one refused for nothing */
        a->family = family;
        memcpy(a->addr, addr, sizeof(a->addr));
        if (!tsearch(a, &k->by_addr, compare)) {
            free(a);
            return;
        }
    }
    a->n++;
}

static void count_down(struct keeper *k, uint8_t family, const uint8_t addr[16])
{
    struct address_count *a = family == AF_UNIX ? NULL : find(k, family, addr);

    if (!a || --a->n > 0)
        return;
    tdelete(a, &k->by_addr, compare);
    free(a);
}

int keeper_init(struct keeper *k, struct region *r, uint32_t max, uint32_t max_per_ip)
{
    memset(k, 0, sizeof(*k));
    k->r = r;
    k->max = max;
    k->max_per_ip = max_per_ip;
    k->fd = calloc((size_t)r->max_conns + 1, sizeof(*k->fd));
    k->kept = calloc((size_t)r->max_conns + 1, sizeof(*k->kept));
    k->free = malloc(((size_t)r->max_conns + 1) * sizeof(*k->free));
    if (!k->fd || !k->kept || !k->free)
        return -ENOMEM;
    for (uint32_t slot = r->max_conns; slot >= 1; slot--)
        k->free[k->nfree++] = slot;
    return 0;
}

static void inherit_slot(struct keeper *k, uint32_t slot, int fd)
{
    struct conn *c = conns_slot(k->r, slot);
    struct kept *kept = &k->kept[slot];

    /* What a crash wrote over it is nobody's worker. */
    if (c->worker >= WORKER_MAX)
        c->worker = 0;
    kept->from = (struct address){.family = c->family, .port = c->port};
    memcpy(kept->from.addr, c->addr, sizeof(kept->from.addr));
    kept->worker = c->worker;
    kept->taken = true;
    k->fd[slot] = fd;
    k->open++;
    k->load[kept->worker]++;
    count_up(k, kept->from.family, kept->from.addr);
    if (!fd && c->state != CONN_CLOSED)
        keeper_orphan(k, slot);
}

void keeper_inherit(struct keeper *k, const int *conn_fd)
{
    k->nfree = 0;
    for (uint32_t slot = k->r->max_conns; slot >= 1; slot--) {
        if (__atomic_load_n(&conns_slot(k->r, slot)->state, __ATOMIC_ACQUIRE) != CONN_FREE) {
            inherit_slot(k, slot, conn_fd[slot]);
            continue;
        }
        if (conn_fd[slot])
            SYS(KEEPER_LATE, close(conn_fd[slot]));
        k->free[k->nfree++] = slot;
    }
    k->last_id = __atomic_load_n(&k->r->conn_id_next, __ATOMIC_RELAXED) - 1;
    __atomic_store_n(&k->r->nconns, k->open, __ATOMIC_RELAXED);
}

void keeper_destroy(struct keeper *k)
{
    tdestroy(k->by_addr, free);
    free(k->fd);
    free(k->kept);
    free(k->free);
}

enum keeper_refusal keeper_admits(const struct keeper *k, const struct address *from)
{
    const struct address_count *a;

    if (k->open >= k->max || k->nfree == 0)
        return KEEPER_FULL;
    if (!k->max_per_ip || from->family == AF_UNIX)
        return KEEPER_OK;
    a = find(k, from->family, from->addr);
    return a && a->n >= k->max_per_ip ? KEEPER_FULL_IP : KEEPER_OK;
}

uint32_t keeper_add(struct keeper *k, int fd, const struct address *from, uint32_t worker,
                    uint64_t now)
{
    uint32_t slot = k->free[--k->nfree];
    struct conn *c = conns_slot(k->r, slot);
    uint64_t id = __atomic_fetch_add(&k->r->conn_id_next, 1, __ATOMIC_RELAXED);

    k->fd[slot] = fd;
    k->kept[slot] = (struct kept){.from = *from, .worker = worker, .taken = true};
    k->last_id = id;
    k->open++;
    k->load[worker]++;
    __atomic_store_n(&k->r->nconns, k->open, __ATOMIC_RELAXED);
    count_up(k, from->family, from->addr);
    c->family = from->family;
    c->port = from->port;
    memcpy(c->addr, from->addr, sizeof(c->addr));
    conns_open(k->r, slot, id, worker, now);
    return slot;
}

void keeper_reap(struct keeper *k, uint32_t slot)
{
    struct conn *c;

    if (slot < 1 || slot > k->r->max_conns || !k->kept[slot].taken)
        return;
    c = conns_slot(k->r, slot);
    if (__atomic_load_n(&c->state, __ATOMIC_ACQUIRE) != CONN_CLOSED)
        return;
    if (k->fd[slot])
        SYS(KEEPER_CLOSE, close(k->fd[slot]));
    k->fd[slot] = 0;
    k->kept[slot].taken = false;
    k->open--;
    k->load[k->kept[slot].worker]--;
    __atomic_store_n(&k->r->nconns, k->open, __ATOMIC_RELAXED);
    count_down(k, k->kept[slot].from.family, k->kept[slot].from.addr);
    POINT(KEEPER_FREE);
    conns_free(k->r, slot);
    k->free[k->nfree++] = slot;
}

void keeper_reap_all(struct keeper *k)
{
    for (uint32_t slot = 1; slot <= k->r->max_conns; slot++)
        if (k->kept[slot].taken)
            keeper_reap(k, slot);
}

void keeper_orphan(struct keeper *k, uint32_t slot)
{
    if (k->fd[slot])
        SYS(KEEPER_SHUTDOWN, shutdown(k->fd[slot], SHUT_RDWR));
    __atomic_store_n(&conns_slot(k->r, slot)->state, CONN_ORPHANED, __ATOMIC_RELEASE);
}

void keeper_orphan_tls(struct keeper *k, uint32_t worker)
{
    for (uint32_t slot = 1; slot <= k->r->max_conns; slot++) {
        const struct conn *c = conns_slot(k->r, slot);

        if (k->kept[slot].taken && k->kept[slot].worker == worker && c->flags & CONN_TLS &&
            __atomic_load_n(&c->state, __ATOMIC_ACQUIRE) == CONN_OPEN)
            keeper_orphan(k, slot);
    }
}

bool keeper_is_returned(const struct keeper *k, uint32_t slot)
{
    return slot >= 1 && slot <= k->r->max_conns && k->fd[slot] &&
           __atomic_load_n(&conns_slot(k->r, slot)->state, __ATOMIC_ACQUIRE) == CONN_RETURNED;
}

void keeper_reopen(struct keeper *k, uint32_t slot, uint32_t worker)
{
    struct conn *c = conns_slot(k->r, slot);

    k->load[k->kept[slot].worker]--;
    k->load[worker]++;
    k->kept[slot].worker = worker;
    __atomic_store_n(&c->worker, worker, __ATOMIC_RELAXED);
    POINT(KEEPER_MOVED);
    /* Stored last: it is that worker's, or its heir's, from here on. */
    __atomic_store_n(&c->state, CONN_OPEN, __ATOMIC_RELEASE);
}
