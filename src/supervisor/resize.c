/*
 * supervisor/resize.c - another number of workers, while they serve.
 *
 * The region says how many serve (nworkers). A worker whose slot is not below that gives away its
 * connections (worker/handover.c); when it has none left it is asked to leave. Should it die before,
 * it has an heir like any other, who does the rest. Runs in the master.
 */
#include "base/log.h"
#include "shm/bell.h"
#include "supervisor/master_state.h"

void resize_tell(struct master *m)
{
    __atomic_store_n(&m->r->nslots, m->nslots, __ATOMIC_RELAXED);
    __atomic_store_n(&m->r->nworkers, m->nworkers, __ATOMIC_SEQ_CST);
}

/* Those that serve, and heirs of surplus ones that left connections behind. */
void resize_start(struct master *m)
{
    resize_tell(m);
    for (uint32_t i = 0; i < m->nslots; i++)
        if (m->child[i].state == CHILD_NONE && (i < m->nworkers || m->keeper.load[i] > 0))
            master_start_worker(m, i);
}

void resize(struct master *m, uint32_t nworkers)
{
    m->nworkers = nworkers;
    if (m->nslots < nworkers)
        m->nslots = nworkers;
    resize_start(m);
    for (uint32_t i = 0; i < m->nslots; i++)
        bell_ring(m->r, i); /* a surplus one may sleep for half a second */
}

void resize_vacate(struct master *m, struct child *c)
{
    c->state = CHILD_NONE;
    m->left |= UINT64_C(1) << c->slot;
    /* Nobody is there who could be found silent. */
    __atomic_store_n(&region_worker(m->r, c->slot)->beat, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&m->r->down_since[c->slot], 0, __ATOMIC_RELEASE);
    region_worker(m->r, c->slot)->generation = 0; /* nor missed by another master */
}

bool resize_left(struct master *m, struct child *c)
{
    if (c->slot < m->nworkers || m->keeper.load[c->slot] > 0 || httpworker_has(m, c->slot))
        return false;
    resize_vacate(m, c);
    log_info("surplus worker has left", log_uint("worker", c->slot));
    return true;
}

/* Buffers of those that have left: a connection that was handed over may use one for a while. */
static void disown_buffers(struct master *m)
{
    for (uint64_t left = m->left; left; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(left);

        int all = m->child[slot].state != CHILD_NONE ? 1 : iobufs_disown(m->r, slot);

        if (all < 0)
            log_warn("cannot look which buffers are free, will try again", log_err("error", all));
        else if (all)
            m->left &= ~(UINT64_C(1) << slot);
    }
}

void resize_turn(struct master *m)
{
    if (m->left)
        disown_buffers(m);
    if (m->nslots == m->nworkers)
        return;
    for (uint32_t i = m->nworkers; i < m->nslots; i++)
        if (m->child[i].state == CHILD_SERVING && m->keeper.load[i] == 0)
            master_replace(m, i);
    while (m->nslots > m->nworkers && m->child[m->nslots - 1].state == CHILD_NONE)
        m->nslots--;
    resize_tell(m);
}
