/*
 * worker/takeover.c - a new worker's first steps: what the slot's last worker left.
 *
 * It runs in every worker; the first in a slot finds nothing. The predecessor was reaped, so
 * nobody else touches its connections, its buffers and its units. Steps, each of which may be
 * interrupted by a death and is then simply done again by the next heir:
 *   1. every shard is locked once: what the dead left open is rolled back (also in its slot), and
 *      after a crash everything is validated; what the dead worker died of is noted
 *   2. its connections: how far each stream really got is asked of the kernel
 *   3. its holders' leases are extended by the gap
 *   4. every connection is run; all 64 shards are looked through for grants to deliver
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/point.h"
#include "core/leases.h"
#include "serving/holdings.h"
#include "shm/bell.h"
#include "worker/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * The ring may hold more than in_tail says (received, not recorded), and the kernel may have taken
 * more than out_head says. False when the stream's position cannot be known.
 */
static bool restore_position(struct worker *w, uint32_t slot, int fd)
{
    struct conn *c = conns_slot(w->r, slot);
    uint64_t rd, wr, sent;

    if (c->flags & CONN_TLS)
        return false; /* what was on the wire was not these bytes */
    if (c->family == AF_UNIX)
        return !c->in_call;
    /* Nothing is said any more, what comes is discarded, and the kernel's counts end with the
       connection. */
    if (c->phase == PHASE_PENALTY || c->phase == PHASE_DROP) {
        c->in_head = c->in_tail;
        return true;
    }
    switch (stream_position(fd, &rd, &wr)) {
    case 0:
        break;
    case -ENOTCONN:
        return true; /* reset meanwhile: the next read says so */
    default:
        return false;
    }
    if (rd < c->in_tail || (rd > c->in_tail && !c->iobuf) ||
        rd - c->in_head > conns_in_size(c))
        return false;
    *(volatile uint64_t *)&c->in_tail = rd;
    sent = c->out_head + (c->phase == PHASE_STREAM ? c->doc_pos : 0);
    if (wr < sent)
        return false;
    /* On its way out we may have sent our FIN, which the kernel counts as a byte. */
    if (wr == c->out_tail + 1 && c->phase == PHASE_LAST)
        wr = c->out_tail;
    if (c->phase == PHASE_STREAM && c->out_head == c->out_tail) {
        if (wr - c->out_head > c->doc_len)
            return false;
        *(volatile uint64_t *)&c->doc_pos = wr - c->out_head;
    } else {
        if (wr > c->out_tail)
            return false;
        *(volatile uint64_t *)&c->out_head = wr;
    }
    return true;
}

/* With all that it was judged by. */
static void say_lost(const struct conn *c, int fd)
{
    uint64_t rd = 0, wr = 0;
    int err = c->family == AF_UNIX || (c->flags & CONN_TLS) ? 0 : stream_position(fd, &rd, &wr);

    log_error("a connection's stream position is lost, closing it, its slots are kept",
              log_uint("conn", c->id), log_uint("phase", c->phase), log_err("error", err),
              log_uint("kernel_read", rd), log_uint("kernel_written", wr),
              log_uint("in_head", c->in_head), log_uint("in_tail", c->in_tail),
              log_uint("out_head", c->out_head), log_uint("out_tail", c->out_tail),
              log_uint("doc_pos", c->doc_pos), log_uint("doc_len", c->doc_len),
              log_uint("buffer", c->iobuf), log_uint("flags", c->flags));
}

void takeover_after_silence(struct worker *w, uint64_t gap)
{
    if (gap > LEASES_GRACE_NS)
        gap = LEASES_GRACE_NS;
    for (uint32_t slot = 1; slot <= w->r->max_conns; slot++)
        if (w->peers[slot].stream.fd > 0)
            holdings_extend(&w->sh, slot, gap, w->now);
    __atomic_store_n(&w->r->down_since[w->sh.worker], 0, __ATOMIC_RELEASE);
}

static void free_stray_bigbufs(struct worker *w)
{
    for (uint32_t i = 0; i < BIGBUF_COUNT; i++) {
        uint32_t slot = __atomic_load_n(&w->r->bigbuf_owner[i], __ATOMIC_ACQUIRE);
        const struct conn *c;

        if (slot < 1 || slot > w->r->max_conns)
            continue;
        c = conns_slot(w->r, slot);
        if (!conns_is_of(c, w->sh.worker) || c->bigbuf == i + 1)
            continue;
        /* A secret may be in it. */
        explicit_bzero(region_base(w->r) + w->r->bigbufs + (uint64_t)i * BIGBUF_SIZE, BIGBUF_SIZE);
        __atomic_store_n(&w->r->bigbuf_owner[i], 0, __ATOMIC_RELEASE);
    }
}

/* This slot's, whether or not its socket came along. */
static bool owned(const struct worker *w, uint32_t slot)
{
    const struct conn *c = conns_slot(w->r, slot);
    uint8_t state = conns_state(c);

    return (state == CONN_OPEN || state == CONN_RETURNED || state == CONN_ORPHANED) &&
           conns_is_of(c, w->sh.worker);
}

static bool inherited(const struct worker *w, uint32_t slot)
{
    const struct conn *c = conns_slot(w->r, slot);

    return conns_state(c) == CONN_OPEN && conns_is_of(c, w->sh.worker) &&
           w->heritage->conn_fd[slot] > 0;
}

void takeover_orphans(struct worker *w)
{
    uint32_t n = 0;

    for (uint32_t slot = 1; slot <= w->r->max_conns; slot++) {
        const struct conn *c = conns_slot(w->r, slot);

        if (conns_state(c) != CONN_ORPHANED || !conns_is_of(c, w->sh.worker))
            continue;
        conn_orphan(w, slot);
        n++;
    }
    if (n)
        log_warn("connections lost by the server's fault, their slots are kept",
                 log_uint("conns", n));
}

static uint32_t adopt_all(struct worker *w, uint64_t gap)
{
    uint32_t n = 0;

    /* All users of a document are counted before the first of them can be done with it. */
    for (uint32_t slot = 1; slot <= w->r->max_conns; slot++)
        if (owned(w, slot) && conns_slot(w->r, slot)->doc)
            job_adopt(w, slot);
    for (uint32_t slot = 1; slot <= w->r->max_conns; slot++) {
        struct conn *c = conns_slot(w->r, slot);
        int fd = w->heritage->conn_fd[slot];

        if (conns_state(c) == CONN_ORPHANED)
            continue;
        if (owned(w, slot) && !inherited(w, slot) && gap)
            holdings_extend(&w->sh, slot, gap, w->now); /* its socket comes again by the channel */
        if (!inherited(w, slot))
            continue;
        n++;
        __atomic_store_n(&w->sh.slot->beat, clock_boottime_ns(), __ATOMIC_RELAXED);
        if (c->phase == PHASE_JOB)
            c->phase = PHASE_READY; /* its request is still in the ring and runs again */
        POINT(TAKEOVER_EXTEND);
        if (gap)
            holdings_extend(&w->sh, slot, gap, w->now);
        if (!restore_position(w, slot, fd)) {
            say_lost(c, fd);
            c->flags |= CONN_LOST;
            c->in_head = c->in_tail;
            c->out_head = c->out_tail; /* it may have been sent: rather not than twice */
            c->phase = PHASE_DROP; /* whatever it was: its heir knows nothing of it */
        } else {
            inquest_cut_off(w, slot);
        }
        /* Nobody is charged for the time in which there was no worker. */
        c->write_since = conns_out_used(c) > 0 || c->phase == PHASE_STREAM ? w->now : 0;
        /* A FIN that is already there cannot be dated: it counts as a half-close. */
        if (c->phase == PHASE_BLOCKED)
            c->blocked_since = w->now;
        POINT(TAKEOVER_ADOPT);
        conn_adopt(w, slot, fd, false);
    }
    takeover_orphans(w);
    return n;
}

int takeover(struct worker *w)
{
    uint64_t down = __atomic_load_n(&w->r->down_since[w->sh.worker], __ATOMIC_ACQUIRE);
    uint64_t begun = clock_boottime_ns();
    uint64_t gap = 0;
    uint32_t n;
    int err;

    shared_recover(&w->sh);
    POINT(TAKEOVER_RECOVERED);
    inquest_count(w);
    POINT(TAKEOVER_COUNTED);
    if (w->sh.slot->suspect)
        for (uint32_t slot = 1; slot <= w->r->max_conns; slot++)
            if (owned(w, slot))
                inquest_mend(w, slot);
    err = iobufs_init(&w->bufs, w->r, w->sh.worker);
    if (err)
        return err;
    free_stray_bigbufs(w);
    POINT(TAKEOVER_BUFFERS);
    bell_unpark(w->r, w->sh.worker);
    w->now = clock_boottime_ns();
    if (down && w->now > down)
        gap = w->now - down < LEASES_GRACE_NS ? w->now - down : LEASES_GRACE_NS;
    n = adopt_all(w, gap);
    POINT(TAKEOVER_ADOPTED);
    __atomic_store_n(&w->r->down_since[w->sh.worker], 0, __ATOMIC_RELEASE);
    deliver_shards(w, UINT64_MAX);
    w->sh.slot->suspect = 0;
    w->sh.slot->settled = w->sh.slot->generation;
    POINT(TAKEOVER_SETTLED);
    if (down)
        log_audit("took over", log_uint("conns", n),
                  log_int("shards_repaired", __builtin_popcountll(w->sh.repaired)),
                  log_ms("took", clock_boottime_ns() - begun), log_ms("gap", gap));
    return 0;
}
