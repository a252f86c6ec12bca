/*
 * supervisor/inherit.c - a master takes over what the one before it left (legacy.h). Runs in
 * master_run(), before the first worker is started and the first connection accepted.
 *
 * The region's words that only a master writes are set anew. A worker slot that had a worker and
 * has none any more is buried: unless the last master ended on purpose nobody knows how it died,
 * which counts as a crash.
 */
#include "base/log.h"
#include "base/point.h"
#include "net/pass.h"
#include "supervisor/legacy.h"
#include "supervisor/master_state.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

static void take_worker(struct master *m, struct child *c, const struct legacy_worker *w)
{
    struct epoll_event channel = {.events = EPOLLIN, .data.ptr = c};
    struct epoll_event death = {.events = EPOLLIN, .data.ptr = &c->pidfd};
    struct channel_message orphans = {.type = CHANNEL_ORPHANS};
    int err;

    c->pid = w->pid;
    c->pidfd = w->pidfd;
    c->channel = w->channel;
    c->started = region_worker(m->r, c->slot)->started;
    c->state = CHILD_SERVING;
    err = SYS(INHERIT_WATCH, epoll_ctl(m->epfd, EPOLL_CTL_ADD, c->channel, &channel));
    if (!err && c->pidfd)
        err = SYS(INHERIT_WATCH_PIDFD, epoll_ctl(m->epfd, EPOLL_CTL_ADD, c->pidfd, &death));
    if (err) {
        c->unwatched = true;
        log_error("a worker cannot be watched, will try again", log_uint("worker", c->slot),
                  log_err("error", -errno));
    }
    err = pass_send(c->channel, &orphans, offsetof(struct channel_message, slot), -1);
    if (!err)
        return;
    /* It has just answered: the channel cannot be full. Its heir will know. */
    if (err != -EPIPE && err != -ECONNRESET) /* else it is dead */
        log_error("a worker of the last master cannot be told of this one, killing it",
                  log_uint("worker", c->slot), log_err("error", err));
    child_kill(c);
}

static void miss_worker(struct master *m, struct child *c, bool orderly)
{
    c->generation = region_worker(m->r, c->slot)->generation;
    if (c->generation && !orderly)
        bury_unknown(m, c);
}

void inherit(struct master *m, const struct legacy *l)
{
    bool was_draining = __atomic_exchange_n(&m->r->draining, 0, __ATOMIC_SEQ_CST);
    unsigned alive = 0;

    __atomic_store_n(&m->r->stopping, STOPPING_NOT, __ATOMIC_SEQ_CST);
    keeper_inherit(&m->keeper, l->conn_fd);
    /* Slots beyond those that this configuration asks for are surplus: resize.c. */
    for (uint32_t i = m->nworkers; i < WORKER_MAX; i++)
        if ((l->worker[i].alive || m->keeper.load[i] > 0) && !httpworker_has(m, i))
            m->nslots = i + 1;
    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        const struct legacy_worker *w = &l->worker[i];

        m->child[i].rendezvous = w->rendezvous;
        memcpy(m->child[i].docs, w->docs, sizeof(w->docs));
        if (!w->alive)
            continue;
        m->child[i].generation = w->generation;
        /* The HTTP worker has the addresses of other settings, perhaps. */
        m->child[i].old = l->upgraded || httpworker_has(m, i);
        m->replacing = m->replacing || m->child[i].old;
        take_worker(m, &m->child[i], w);
        alive++;
    }
    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        if (!l->worker[i].alive)
            miss_worker(m, &m->child[i], l->orderly);
        if (i >= m->nslots)
            m->left |= UINT64_C(1) << i; /* its buffers may be in use still */
    }
    for (uint32_t i = 0; was_draining && i < WORKER_MAX; i++)
        master_replace(m, i); /* they refuse new locks for good */
    log_audit("took over from another master", log_uint("workers", alive),
              log_uint("connections", m->keeper.open), log_str("table", "kept"),
             log_str("why", l->upgraded ? "upgrade" : l->orderly ? "restart" : "its death"));
}
