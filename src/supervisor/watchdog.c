/*
 * supervisor/watchdog.c - workers that hang: they do not beat for 2 s, or were asked to leave and stay.
 * Runs in the master, each tick.
 *
 * A worker that does not beat may not have been run: by a machine that is too small for what is asked of
 * it, or whose scheduler is not fair. All that it needs is a processor. Its heir would have to wait for one
 * as well, and so would its death. /proc tells such a worker from one that hangs: it is runnable, and the
 * time that it ran stands still. Who is in an endless loop uses what it gets, however little that is.
 * Where /proc does not show it, silence alone counts.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "supervisor/master_state.h"

#define LOOK_NS (1 * NS_PER_SEC) /* silent for so long: it is looked at how long it ran by then */
#define RAN_NS (200 * NS_PER_MS) /* who ran for so long since then, and did not beat, hangs */

/* Whether it waits for a processor since it was looked at first. */
static bool is_starved(struct child *c, uint64_t beat, uint64_t silent, char *state)
{
    struct process_stat stat;

    *state = '?';
    if (silent < LOOK_NS || process_read(c->pid, &stat) != 0)
        return false;
    *state = stat.state;
    if (c->silent.beat != beat)
        c->silent = (struct child_silence){.beat = beat, .ran = stat.ran};
    return stat.state == 'R' && stat.ran - c->silent.ran < RAN_NS;
}

static void starves(struct child *c, uint64_t silent)
{
    if (c->silent.told)
        return;
    c->silent.told = true;
    log_warn("worker is not run: it waits for a processor, this machine has too much to do",
             log_uint("worker", c->slot), log_int("pid", c->pid), log_ms("silent", silent));
}

static void hangs(struct master *m, struct child *c, uint64_t beat, uint64_t silent, char state)
{
    uint64_t up = 0;

    log_error("worker hangs, killing it", log_uint("worker", c->slot), log_int("pid", c->pid),
              log_ms("silent", silent), log_str("state", (char[]){state, '\0'}));
    /* From its last sign of life on its connections' leases do not end. */
    __atomic_compare_exchange_n(&m->r->down_since[c->slot], &up, beat, false, __ATOMIC_ACQ_REL,
                                __ATOMIC_RELAXED);
    master_kill(m, c->slot);
}

void watchdog(struct master *m, uint64_t late)
{
    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        struct child *c = &m->child[i];
        uint64_t beat = __atomic_load_n(&region_worker(m->r, i)->beat, __ATOMIC_RELAXED);
        uint64_t silent = m->now > beat ? m->now - beat : 0;
        bool starved;
        char state;

        if (c->state != CHILD_SERVING && c->state != CHILD_LEAVING)
            continue;
        starved = is_starved(c, beat, silent, &state);
        if (!policy_hangs(silent, late) &&
            (c->state != CHILD_LEAVING || !policy_hangs(m->now - c->asked, late)))
            continue;
        if (starved)
            starves(c, silent);
        else
            hangs(m, c, beat, silent, state);
    }
}
