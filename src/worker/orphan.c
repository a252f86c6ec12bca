/*
 * worker/orphan.c - a lock worker whose master is gone: see serving/lifeline.h. New connections are
 * nobody's business until there is a new master.
 */
#include "base/log.h"
#include "base/point.h"
#include "worker/worker.h"

#include <errno.h>
#include <sys/epoll.h>

/* Where the next word of a master comes from. Without it this worker would end, and with it all of
   its connections: nobody is there to take them over. */
void orphan_attend(struct worker *w)
{
    bool called = w->life.channel >= 0;

    w->deaf = !loop_watch(w, called ? w->life.channel : w->heritage->rendezvous,
                          called ? SOURCE_CHANNEL : SOURCE_RENDEZVOUS);
    if (w->deaf)
        log_error("a new master cannot be listened to, will try again", log_err("error", -errno));
}

bool orphan_begin(struct worker *w)
{
    if (!lifeline_lost(&w->life))
        return false;
    w->closed.n = 0; /* the slots say so themselves */
    log_warn("the master is gone, serving on; no new connections until another one is started");
    orphan_attend(w);
    return true;
}

void orphan_answer(struct worker *w)
{
    if (lifeline_answer(&w->life) < 0)
        return;
    orphan_attend(w);
    SYS(ORPHAN_UNWATCH, epoll_ctl(w->epfd, EPOLL_CTL_DEL, w->heritage->rendezvous, NULL));
}

static unsigned next_sockets(void *arg, uint32_t *next, uint32_t *slot, int *fd)
{
    struct worker *w = arg;
    unsigned n = 0;

    for (; *next <= w->r->max_conns && n < CHANNEL_SLOTS; ++*next) {
        if (w->peers[*next].stream.fd <= 0)
            continue;
        fd[n] = w->peers[*next].stream.fd;
        slot[n++] = *next;
    }
    return n;
}

void orphan_tell(struct worker *w)
{
    lifeline_tell(&w->life, next_sockets, w);
}
