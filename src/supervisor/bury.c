/*
 * supervisor/bury.c - a worker is dead: what the master does before anybody takes over.
 *
 * In this order: its leases stop ending (down_since), after a crash all is suspect, the mutexes it held are released if the
 * kernel could not, everybody it may have robbed of a wake-up or not told of a grant is woken to
 * look at all shards, its finished connections are closed, and the log gets its obituary.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/point.h"
#include "shm/bell.h"
#include "shm/lock.h"
#include "supervisor/master_state.h"
#include "supervisor/policy.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct child *by_pid(struct master *m, pid_t pid)
{
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        if (m->child[i].state != CHILD_NONE && m->child[i].pid == pid)
            return &m->child[i];
    return NULL;
}

static const char *how(enum death death)
{
    static const char *const text[] = {[DEATH_EXIT] = "ended", [DEATH_FAIL] = "failed",
                                       [DEATH_KILLED] = "killed", [DEATH_CRASH] = "crashed"};

    return text[death];
}

static void obituary(const struct child *c, const siginfo_t *si, enum death death, uint64_t lived,
                     unsigned swept, uint64_t wait)
{
    bool by_signal = si->si_code != CLD_EXITED;

    /* Never rate-limited: each death counts. */
    if (log_on(LVL_WARN))
        LOG_WRITE(NULL, LVL_WARN, "worker died", log_uint("worker", c->slot),
                  log_int("pid", c->pid), log_str("how", how(death)),
                  log_str(by_signal ? "signal" : "status",
                          by_signal ? sigabbrev_np(si->si_status)
                                    : (si->si_status == 0 ? "0" : "failure")),
                  log_ms("lived", lived), log_uint("generation", c->generation),
                  log_uint("mutexes_released", swept), log_ms("restart_in", wait));
}

/* Memory may be scribbled over: what only the master can mend is mended now, all else is validated
   by whoever touches it first. */
static void suspect_everything(struct master *m, const struct child *dead)
{
    uint32_t pids[WORKER_MAX];
    unsigned n = 0, mended;

    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        enum child_state s = m->child[i].state;

        if (i != dead->slot && (s == CHILD_SERVING || s == CHILD_LEAVING || s == CHILD_DYING || s == CHILD_DISMISSED))
            pids[n++] = (uint32_t)m->child[i].pid;
    }
    mended = lock_mend(m->r, pids, n);
    if (mended)
        log_error("mutexes were damaged and have been mended", log_uint("mutexes", mended));
    if (region_mend_fences(m->r))
        log_error("the next fence was damaged and has been raised above all that were issued");
    /* Words that only the master writes. */
    __atomic_store_n(&m->r->nworkers, m->nworkers, __ATOMIC_RELAXED);
    __atomic_store_n(&m->r->nconns, m->keeper.open, __ATOMIC_RELAXED);
    __atomic_store_n(&m->r->draining, m->stage != STAGE_SERVING, __ATOMIC_RELAXED);
    __atomic_store_n(&m->r->stopping, m->stage == STAGE_STOPPING ? STOPPING_END : STOPPING_NOT,
                     __ATOMIC_RELAXED);
    fence_mend(m->args->fence);
    __atomic_store_n(&m->r->conn_id_next, m->keeper.last_id + 1, __ATOMIC_RELAXED);
    region_worker(m->r, dead->slot)->suspect = 1;
    __atomic_fetch_add(&m->r->crashes, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&m->r->suspect, UINT64_MAX, __ATOMIC_SEQ_CST); /* last: needs both above */
}

/* For the heir's inquest, unless the dead one had not yet dealt with the death before its own. */
static void note_death(const struct master *m, const struct child *c, enum death death)
{
    struct worker_slot *slot = region_worker(m->r, c->slot);

    slot->deaths++;
    if (slot->counted == c->generation)
        slot->died = death == DEATH_CRASH ? DIED_CRASHED : DIED_KILLED;
}

static void bury(struct master *m, struct child *c, const siginfo_t *si)
{
    enum death death = policy_death(si->si_code, si->si_status);
    uint64_t lived = m->now - c->started;
    bool last = child_action(c->state, CHILD_DIED) == ACT_BURY_LAST;
    unsigned swept;
    uint64_t wait, up = 0;

    /* Unless it was silent before, and is marked since then. */
    __atomic_compare_exchange_n(&m->r->down_since[c->slot], &up, m->now, false, __ATOMIC_ACQ_REL,
                                __ATOMIC_RELAXED);
    POINT(BURY_MARKED);
    m->deaths[death]++;
    note_death(m, c, death);
    if (death == DEATH_CRASH)
        suspect_everything(m, c);
    swept = lock_sweep(m->r, (uint32_t)c->pid);
    POINT(BURY_SWEPT);
    for (uint32_t i = 0; i < m->nworkers; i++)
        if (i != c->slot)
            bell_alarm(m->r, i);
    POINT(BURY_ALARMED);
    if (c->channel >= 0) {
        SYS(BURY_CLOSE, close(c->channel)); /* closing takes it out of the epoll set: nobody else has it */
        c->channel = -1;
    }
    accept_resend(m, c->slot);
    keeper_reap_all(&m->keeper);
    if (last) {
        c->state = CHILD_NONE;
        return;
    }
    wait = policy_backoff(death, lived, &c->row);
    if (c->state == CHILD_LEAVING && death == DEATH_EXIT)
        log_info("worker left, another takes over", log_uint("worker", c->slot));
    else
        obituary(c, si, death, lived, swept, wait);
    c->state = CHILD_WAITING;
    c->due = m->now + wait;
}

void bury_dead(struct master *m)
{
    for (;;) {
        siginfo_t si;
        struct child *c;

        memset(&si, 0, sizeof(si));
        if (SYS(BURY_WAIT, waitid(P_ALL, 0, &si, WEXITED | WNOHANG)) < 0 || si.si_pid == 0)
            return;
        m->now = clock_boottime_ns();
        c = by_pid(m, si.si_pid);
        if (c)
            bury(m, c, &si);
        else
            fence_died(m->args->fence, si.si_pid, m->now);
    }
}
