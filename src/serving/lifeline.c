/*
 * serving/lifeline.c - see lifeline.h. Runs in lock workers and in the HTTP worker.
 */
#include "serving/lifeline.h"

#include "base/log.h"
#include "base/point.h"
#include "net/pass.h"
#include "net/rendezvous.h"
#include "shm/region.h"

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

void lifeline_init(struct lifeline *l, const struct heritage *heritage)
{
    *l = (struct lifeline){.heritage = heritage, .channel = heritage->channel};
}

static int message(struct lifeline *l, struct channel_message *m, const int *fds, unsigned nfds)
{
    return pass_send_fds(l->channel, m,
                         offsetof(struct channel_message, slot) + m->n * sizeof(m->slot[0]), fds,
                         nfds);
}

static int say_hello(struct lifeline *l)
{
    const struct heritage *h = l->heritage;
    struct channel_message m = {.type = CHANNEL_HELLO, .n = 2, .id = (uint64_t)getpid()};
    int fds[HELLO_FDS];

    m.slot[0] = h->worker;
    m.slot[1] = region_worker(h->region, h->worker)->generation;
    fds[HELLO_REGION] = h->region_fd;
    fds[HELLO_RENDEZVOUS] = h->rendezvous;
    for (unsigned i = 0; i < HERITAGE_DOCS; i++)
        fds[HELLO_DOCS + i] = h->docs[i];
    return message(l, &m, fds, HELLO_FDS);
}

bool lifeline_lost(struct lifeline *l)
{
    if (!l->heritage->rendezvous ||
        __atomic_load_n(&l->heritage->region->stopping, __ATOMIC_SEQ_CST) != STOPPING_NOT)
        return false;
    SYS(ORPHAN_CLOSE, close(l->channel));
    l->channel = -1;
    l->next = LIFELINE_SAID;
    return true;
}

int lifeline_answer(struct lifeline *l)
{
    int fd = rendezvous_answer(l->heritage->rendezvous);

    if (fd < 0) {
        if (fd != -EAGAIN)
            log_warn("a stranger at the rendezvous was sent away", log_err("error", fd));
        return fd;
    }
    l->channel = fd;
    l->next = LIFELINE_HELLO;
    POINT(ORPHAN_FOUND);
    return fd;
}

void lifeline_hang_up(struct lifeline *l)
{
    SYS(ORPHAN_GIVE_UP, close(l->channel));
    l->channel = -1;
    l->next = LIFELINE_SAID;
}

/* The next few sockets, or the end. */
static int tell_some(struct lifeline *l, lifeline_show show, void *arg)
{
    struct channel_message m = {.type = CHANNEL_SOCKETS};
    uint32_t next = l->next;
    int fds[CHANNEL_SLOTS];
    int err;

    m.n = show(arg, &next, m.slot, fds);
    if (m.n == 0) {
        m.type = CHANNEL_SAID;
        next = LIFELINE_SAID;
    }
    err = message(l, &m, fds, m.n);
    if (!err)
        l->next = next;
    return err;
}

void lifeline_tell(struct lifeline *l, lifeline_show show, void *arg)
{
    int err = 0;

    while (!err && lifeline_telling(l)) {
        if (l->next == LIFELINE_HELLO) {
            err = say_hello(l);
            if (!err)
                l->next = 1;
        } else {
            err = tell_some(l, show, arg);
        }
    }
    /* The channel is full, or so: again in the next turn. Whatever else is wrong ends with it. */
    if (!err)
        log_info("a new master has been found");
    else if (err == -ENOMEM || err == -ENOBUFS)
        log_error("a new master cannot be told, will try again", log_err("error", err));
    POINT(ORPHAN_OFFERED);
}
