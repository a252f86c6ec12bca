/*
 * supervisor/httpworker.c - when there is an HTTP worker. Runs in the master.
 *
 * It is a child like the others, in a slot of its own, and accepts for itself: it inherits the
 * listening sockets, of which the master keeps the originals. It is there while HTTP is on, and after
 * HTTP was switched off by a restart until the sessions of before have been dealt with; then it ends
 * by itself.
 */
#include "base/log.h"
#include "supervisor/master_state.h"

bool httpworker_has(const struct master *m, uint32_t slot)
{
    return slot == HTTP_WORKER && region_worker(m->r, slot)->http;
}

static bool is_needed(const struct master *m)
{
    if (!m->args->run_http)
        return false; /* a build without HTTP, which has warned of these sessions */
    return m->args->http->n > 0 || __atomic_load_n(&m->r->nsessions, __ATOMIC_RELAXED) > 0;
}

void httpworker_turn(struct master *m)
{
    struct child *c = &m->child[HTTP_WORKER];

    /* Before a restart there may have been so many lock workers that one has the slot still. */
    if (c->state != CHILD_NONE || !is_needed(m) || m->nslots > HTTP_WORKER ||
        m->keeper.load[HTTP_WORKER] > 0)
        return;
    region_worker(m->r, HTTP_WORKER)->http = 1;
    master_start_worker(m, HTTP_WORKER);
}

bool httpworker_left(struct master *m, struct child *c)
{
    if (!httpworker_has(m, c->slot) || is_needed(m))
        return false;
    resize_vacate(m, c);
    region_worker(m->r, c->slot)->http = 0;
    log_info("HTTP is off, and the sessions of before have ended");
    return true;
}
