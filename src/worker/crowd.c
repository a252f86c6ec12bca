/*
 * worker/crowd.c - see crowd.h.
 */
#include "worker/crowd.h"

enum {
    CROWD = 3,       /* events of one turn */
    CROWD_TURNS = 8, /* after such a turn */
    PAUSE_GROWS = 8, /* times, with each long yield after a long one */
};

/* Clients that have been answered and ask again are done sooner; who computes has a whole slice, 4 ms. */
#define LONG_NS UINT64_C(3000000)
#define PAUSE_NS UINT64_C(1000000)
#define PAUSE_MAX_NS UINT64_C(1000000000)

bool crowd_yields(struct crowd *c, int events, uint64_t now)
{
    if (events >= CROWD)
        c->turns = CROWD_TURNS;
    else if (c->turns > 0)
        c->turns--;
    return c->turns > 0 && events > 0 && now >= c->again;
}

void crowd_yielded(struct crowd *c, uint64_t before, uint64_t now)
{
    if (now - before < LONG_NS) {
        c->pause = 0;
        return;
    }
    c->pause = c->pause ? c->pause * PAUSE_GROWS : PAUSE_NS;
    if (c->pause > PAUSE_MAX_NS)
        c->pause = PAUSE_MAX_NS;
    c->again = now + c->pause;
}
