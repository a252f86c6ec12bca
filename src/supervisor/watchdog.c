/*
 * supervisor/watchdog.c - workers that hang: they do not beat for 2 s, or were asked to leave and stay.
 * Runs in the master, each tick.
 *
 * A worker that does not beat may not have been run: by a machine that is too small for what is asked of
 * it, or whose scheduler is not fair. All that it needs is a processor. Its heir would have to wait for one
 * as well, and so would its death. /proc tells such a worker from one that hangs: it is runnable, and the
 * time that it ran stands still. Who is in an endless loop uses what it gets. Another that sleeps meanwhile
 * may sleep for a mutex that the first one holds. All this for a while, and where /proc shows it; else
 * silence alone counts.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "supervisor/master_state.h"

#define LOOK_NS NS_PER_SEC         /* silent for so long: how long had it run by then? */
#define TOLD_NS (500 * NS_PER_MS)  /* watched for so long, it may be said that it is not run */

struct look {
    uint64_t beat, silent; /* silent: for how long, ns */
    char state;            /* as in proc(5), '?': not known */
    bool starved;
};

static struct look look_at(struct master *m, struct child *c)
{
    struct look look = {.state = '?'};
    struct child_silence *s = &c->silent;
    struct process_stat stat;

    look.beat = __atomic_load_n(&region_worker(m->r, c->slot)->beat, __ATOMIC_RELAXED);
    look.silent = m->now > look.beat ? m->now - look.beat : 0;
    if ((look.silent < LOOK_NS && c->state != CHILD_LEAVING) || process_read(c->pid, &stat) != 0)
        return look;
    if (s->beat != look.beat || s->since == 0)
        *s = (struct child_silence){.beat = look.beat, .since = m->now, .ran = stat.ran};
    look.state = stat.state;
    look.starved = look.silent >= LOOK_NS &&
                   policy_waits_to_run(stat.state, stat.ran - s->ran, look.silent);
    return look;
}

static void starves(const struct master *m, struct child *c, const struct look *look)
{
    if (c->silent.told || !look->starved || m->now - c->silent.since < TOLD_NS)
        return;
    c->silent.told = true;
    log_warn("worker is not run: it waits for a processor, this machine has too much to do",
             log_uint("worker", c->slot), log_int("pid", c->pid), log_ms("silent", look->silent));
}

static void hangs(struct master *m, struct child *c, const struct look *look)
{
    uint64_t up = 0;

    log_error("worker hangs, killing it", log_uint("worker", c->slot), log_int("pid", c->pid),
              log_ms("silent", look->silent), log_str("state", (char[]){look->state, '\0'}));
    /* From its last sign of life on its connections' leases do not end. */
    __atomic_compare_exchange_n(&m->r->down_since[c->slot], &up, look->beat, false,
                                __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    master_kill(m, c->slot);
}

static bool is_watched(const struct child *c)
{
    return c->state == CHILD_SERVING || c->state == CHILD_LEAVING;
}

void watchdog(struct master *m, uint64_t late)
{
    struct look look[WORKER_MAX];
    bool starved = false;

    for (uint32_t i = 0; i < WORKER_MAX; i++)
        if (is_watched(&m->child[i])) {
            look[i] = look_at(m, &m->child[i]);
            starved |= look[i].starved;
        }
    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        struct child *c = &m->child[i];
        bool stays = c->state == CHILD_LEAVING && policy_hangs(m->now - c->asked, late);

        if (!is_watched(c) || (!policy_hangs(look[i].silent, late) && !stays))
            continue;
        if (look[i].starved || (starved && policy_may_wait_for_others(look[i].state, look[i].silent)))
            starves(m, c, &look[i]);
        else
            hangs(m, c, &look[i]);
    }
}
