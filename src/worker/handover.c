/*
 * worker/handover.c - connections that change their worker while both are alive: the number of
 * workers was lowered, and the slots above it give away what they serve.
 *
 * The one closes its copy of the socket and says CONN_RETURNED; the master, which has a duplicate,
 * names another worker in the slot and sends it the socket. All else lies in the region: what was
 * half received or sent in the rings, a blocked request as the node that it waits for. What the two
 * must agree on:
 *   grants   who grants goes by owners[].worker, under the shard's mutex. The new worker changes it,
 *            under that of the shard in which the connection is blocked, and takes a grant along
 *            that lies on the old one's pending list. The old one delivers nothing to a connection
 *            that is not its own any more.
 *   buffers  belong to workers by chunks. A connection with bytes in its rings keeps its buffer; when
 *            they are empty it is left to whom its chunk belongs to, or then to nobody (resize.c).
 */
#include "base/log.h"
#include "base/num.h"
#include "base/point.h"
#include "shm/bell.h"
#include "worker/worker.h"

#include <sys/epoll.h>
#include <unistd.h>

enum { BATCH = 64 };

#define AGAIN_NS (50 * UINT64_C(1000000))

/* Others leave first what is bound to this process: TLS, a document that is being sent, a big buffer,
   a connection that ends. */
static bool may_go(const struct worker *w, uint32_t slot)
{
    const struct peer *p = &w->peers[slot];
    const struct conn *c = conns_slot(w->r, slot);

    if (p->stream.fd <= 0 || p->dead || p->hup || c->state != CONN_OPEN || c->doc || c->bigbuf ||
        c->flags & CONN_TLS)
        return false;
    return c->phase == PHASE_READY || c->phase == PHASE_BLOCKED || c->phase == PHASE_JOB ||
           c->phase == PHASE_SKIP;
}

static void give(struct worker *w, uint32_t slot)
{
    struct peer *p = &w->peers[slot];
    struct conn *c = conns_slot(w->r, slot);

    if (c->phase == PHASE_JOB)
        c->phase = PHASE_READY; /* its request is still in the ring and runs again */
    SYS(HANDOVER_UNWATCH, epoll_ctl(w->epfd, EPOLL_CTL_DEL, p->stream.fd, NULL));
    SYS(HANDOVER_CLOSE, close(p->stream.fd)); /* nothing is said to the peer: plain, see may_go() */
    p->stream.fd = 0;
    timers_remove(w, slot);
    if (c->iobuf)
        w->bufs.lent = true;
    POINT(HANDOVER_GIVE);
    __atomic_store_n(&c->state, CONN_RETURNED, __ATOMIC_RELEASE);
    POINT(HANDOVER_GIVEN);
    loop_tell_closed(w, slot);
}

void handover_turn(struct worker *w)
{
    uint32_t n = 0;

    /* The master's duplicate is the only one once ours is closed. */
    if (w->life.channel < 0 || lifeline_telling(&w->life))
        return;
    if (w->sh.worker < __atomic_load_n(&w->r->nworkers, __ATOMIC_RELAXED)) {
        w->handover_at = TIME_NEVER;
        return;
    }
    if (w->handover_at != TIME_NEVER && w->now < w->handover_at)
        return;
    for (uint32_t slot = 1; slot <= w->r->max_conns && n < BATCH; slot++) {
        if (may_go(w, slot)) {
            give(w, slot);
            n++;
        }
    }
    w->handover_at = n == BATCH ? w->now : w->now + AGAIN_NS;
}

bool handover_take(struct worker *w, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);
    struct owner *o = &w->sh.table.owners[slot];
    struct tx tx;

    if (o->worker != w->sh.worker && c->phase != PHASE_BLOCKED) {
        __atomic_store_n(&o->worker, w->sh.worker, __ATOMIC_RELEASE); /* nobody grants it anything */
    } else if (o->worker != w->sh.worker) {
        if (shared_begin(&w->sh, &tx, c->blocked_shard, w->now)) {
            table_move_owner(&tx, slot, c->blocked, w->sh.worker);
            shared_end(&w->sh, &tx);
        } else if (!table_lost(&w->sh.table, c->blocked_shard)) {
            return false; /* no random numbers just now */
        } else {
            __atomic_store_n(&o->worker, w->sh.worker, __ATOMIC_RELEASE);
        }
        POINT(HANDOVER_TAKEN);
    }
    /* What was granted while it was between two workers, or in a shard that is lost. */
    if (c->phase == PHASE_BLOCKED)
        bell_tell(w->r, w->sh.worker, c->blocked_shard);
    return true;
}
