/*
 * worker/orphan.c - a worker whose master is gone.
 *
 * It serves on: nobody else has its sockets. New connections are nobody's business until a new
 * master calls at the rendezvous; that connection becomes the channel, and by it the new master is
 * given all that the old one had of this worker: the region, the documents, a duplicate of every
 * socket, 64 a message, as fast as the channel takes them and between two requests of clients.
 * When the server was about to end, or when there is no rendezvous, the worker ends instead.
 */
#include "base/log.h"
#include "base/point.h"
#include "net/pass.h"
#include "net/rendezvous.h"
#include "worker/worker.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

static int message(struct worker *w, struct channel_message *m, const int *fds, unsigned nfds)
{
    return pass_send_fds(w->channel, m,
                         offsetof(struct channel_message, slot) + m->n * sizeof(m->slot[0]), fds,
                         nfds);
}

static int say_hello(struct worker *w)
{
    struct channel_message m = {.type = CHANNEL_HELLO, .n = 2, .id = (uint64_t)getpid()};
    int fds[HELLO_FDS];

    m.slot[0] = w->sh.worker;
    m.slot[1] = w->sh.slot->generation;
    fds[HELLO_REGION] = w->heritage->region_fd;
    fds[HELLO_RENDEZVOUS] = w->heritage->rendezvous;
    for (unsigned i = 0; i < HERITAGE_DOCS; i++)
        fds[HELLO_DOCS + i] = w->heritage->docs[i];
    return message(w, &m, fds, HELLO_FDS);
}

/* The next few sockets from *slot on, which is moved on. */
static int show_sockets(struct worker *w, uint32_t *slot)
{
    struct channel_message m = {.type = CHANNEL_SOCKETS};
    uint32_t next = *slot;
    int fds[PASS_FDS];
    int err = 0;

    for (; next <= w->r->max_conns && m.n < CHANNEL_SLOTS; next++) {
        if (w->peers[next].stream.fd <= 0)
            continue;
        fds[m.n] = w->peers[next].stream.fd;
        m.slot[m.n++] = next;
    }
    if (m.n)
        err = message(w, &m, fds, m.n);
    if (!err)
        *slot = next;
    return err;
}

bool orphan_begin(struct worker *w)
{
    if (!w->heritage->rendezvous ||
        __atomic_load_n(&w->r->stopping, __ATOMIC_SEQ_CST) != STOPPING_NOT)
        return false;
    SYS(ORPHAN_CLOSE, close(w->channel));
    w->channel = -1;
    w->closed.n = 0; /* the slots say so themselves */
    w->offer = OFFER_NONE;
    log_warn("the master is gone, serving on; no new connections until another one is started");
    return loop_watch(w, w->heritage->rendezvous, SOURCE_RENDEZVOUS);
}

void orphan_answer(struct worker *w)
{
    int fd = rendezvous_answer(w->heritage->rendezvous);

    if (fd < 0) {
        if (fd != -EAGAIN)
            log_warn("a stranger at the rendezvous was sent away", log_err("error", fd));
        return;
    }
    if (!loop_watch(w, fd, SOURCE_CHANNEL)) {
        log_error("a new master cannot be listened to", log_err("error", -errno));
        SYS(ORPHAN_GIVE_UP, close(fd));
        return;
    }
    SYS(ORPHAN_UNWATCH, epoll_ctl(w->epfd, EPOLL_CTL_DEL, w->heritage->rendezvous, NULL));
    w->channel = fd;
    w->offer = OFFER_HELLO;
    POINT(ORPHAN_FOUND);
}

void orphan_offer(struct worker *w)
{
    int err = 0;

    while (!err && w->offer != OFFER_NONE) {
        struct channel_message said = {.type = CHANNEL_SAID};

        if (w->offer == OFFER_HELLO) {
            err = say_hello(w);
            if (!err)
                w->offer = 1;
        } else if (w->offer <= w->r->max_conns) {
            err = show_sockets(w, &w->offer);
        } else {
            err = message(w, &said, NULL, 0);
            if (!err)
                w->offer = OFFER_NONE;
        }
    }
    /* The channel is full: again in the next turn. Whatever else is wrong ends with it. */
    if (!err)
        log_info("a new master has been found");
    POINT(ORPHAN_OFFERED);
}
