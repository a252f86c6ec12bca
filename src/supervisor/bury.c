/*
 * supervisor/bury.c - a worker is dead: what the master does before anybody takes over.
 *
 * In this order: its leases stop ending (down_since), after a crash all is suspect, the mutexes it held are released if the
 * kernel could not, everybody it may have robbed of a wake-up or not told of a grant is woken to
 * look at all shards, its finished connections are closed, those over TLS are cut off, and the log
 * gets its obituary.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/point.h"
#include "shm/bell.h"
#include "shm/caps.h"
#include "shm/lock.h"
#include "supervisor/apply.h"
#include "supervisor/master_state.h"
#include "supervisor/policy.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

static struct child *by_pid(struct master *m, pid_t pid)
{
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        if (m->child[i].state != CHILD_NONE && !m->child[i].pidfd && m->child[i].pid == pid)
            return &m->child[i];
    return NULL;
}

static const char *how(enum death death)
{
    static const char *const text[] = {[DEATH_EXIT] = "ended", [DEATH_FAIL] = "failed",
                                       [DEATH_KILLED] = "killed", [DEATH_CRASH] = "crashed"};

    return text[death];
}

static void obituary(const struct child *c, const char *how, const char *signal_name,
                     uint64_t lived, unsigned swept, uint64_t wait)
{
    log_audit_warn("worker died", log_uint("worker", c->slot), log_int("pid", c->pid),
                   log_str("how", how), log_str("signal", signal_name ? signal_name : "none"),
                   log_ms("lived", lived), log_uint("generation", c->generation),
                   log_uint("mutexes_released", swept), log_ms("restart_in", wait));
}

/* HTTP sessions take ids that the master does not hear of, perhaps at this moment: only what cannot be
   is set anew, beyond any that was taken. */
static void mend_ids(struct master *m)
{
    const uint64_t sessions = UINT64_C(1) << 40;
    uint64_t least = m->keeper.last_id + 1;
    uint64_t next = __atomic_load_n(&m->r->conn_id_next, __ATOMIC_RELAXED);

    if (next < least || next - least > sessions)
        __atomic_store_n(&m->r->conn_id_next, least + sessions, __ATOMIC_RELAXED);
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
    resize_tell(m);
    caps_limit(m->r, apply_max_locks(m));
    __atomic_store_n(&m->r->nconns, m->keeper.open, __ATOMIC_RELAXED);
    __atomic_store_n(&m->r->draining, m->stage >= STAGE_DRAINING, __ATOMIC_RELAXED);
    __atomic_store_n(&m->r->stopping, m->stopping, __ATOMIC_RELAXED);
    fence_mend(m->args->fence);
    mend_ids(m);
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

/* What the dead one left in the region is made safe for all others. Returns how many mutexes had to
   be released. */
static unsigned lay_out(struct master *m, struct child *c, enum death death)
{
    uint64_t up = 0;
    unsigned swept;

    /* Unless it was silent before, and is marked since then. */
    __atomic_compare_exchange_n(&m->r->down_since[c->slot], &up, m->now, false, __ATOMIC_ACQ_REL,
                                __ATOMIC_RELAXED);
    POINT(BURY_MARKED);
    m->deaths[death]++;
    note_death(m, c, death);
    if (death == DEATH_CRASH)
        suspect_everything(m, c);
    swept = lock_sweep(m->r, region_worker(m->r, c->slot)->pid);
    POINT(BURY_SWEPT);
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        if (i != c->slot && m->child[i].state != CHILD_NONE)
            bell_alarm(m->r, i);
    POINT(BURY_ALARMED);
    return swept;
}

/* Closing alone does not take a descriptor out of the epoll set while a child that was forked just
   now has yet to close its duplicate. */
static void forget(struct master *m, struct child *c)
{
    if (c->channel >= 0) {
        SYS(BURY_UNWATCH, epoll_ctl(m->epfd, EPOLL_CTL_DEL, c->channel, NULL));
        SYS(BURY_CLOSE, close(c->channel));
    }
    c->channel = -1;
    if (c->pidfd) {
        SYS(BURY_UNWATCH_PIDFD, epoll_ctl(m->epfd, EPOLL_CTL_DEL, c->pidfd, NULL));
        SYS(BURY_PIDFD, close(c->pidfd));
    }
    c->pidfd = 0;
}

static void bury(struct master *m, struct child *c, enum death death, const char *how,
                 const char *signal_name)
{
    uint64_t lived = m->now - c->started, wait;
    bool last = child_action(c->state, CHILD_DIED) == ACT_BURY_LAST;
    unsigned swept = lay_out(m, c, death);

    forget(m, c);
    accept_resend(m, c->slot);
    keeper_reap_all(&m->keeper);
    keeper_orphan_tls(&m->keeper, c->slot);
    POINT(BURY_ORPHANED);
    if (last) {
        c->state = CHILD_NONE;
        return;
    }
    if (death == DEATH_EXIT &&
        (httpworker_left(m, c) || (c->state == CHILD_LEAVING && resize_left(m, c))))
        return;
    wait = policy_backoff(death, lived, &c->row);
    /* Told to by this master, or just before an upgrade by the last. */
    if (death == DEATH_EXIT) {
        log_info("worker left, another takes over", log_uint("worker", c->slot),
                 log_int("pid", c->pid));
    } else {
        tally_add(&m->r->master.restarts, 1);
        obituary(c, how, signal_name, lived, swept, wait);
    }
    c->state = CHILD_WAITING;
    c->due = m->now + wait;
}

void bury_adopted(struct master *m, struct child *c)
{
    bool asked = c->state == CHILD_LEAVING || c->state == CHILD_DISMISSED;

    bury(m, c, asked ? DEATH_EXIT : DEATH_CRASH, "unknown, it was no child of this master", NULL);
}

void bury_unknown(struct master *m, struct child *c)
{
    lay_out(m, c, DEATH_CRASH);
    log_warn("a worker of the last master is gone, its connections are lost, their slots kept",
             log_uint("worker", c->slot));
}

void bury_dead(struct master *m)
{
    for (;;) {
        siginfo_t si;
        struct child *c;
        enum death death;

        memset(&si, 0, sizeof(si));
        if (SYS(BURY_WAIT, waitid(P_ALL, 0, &si, WEXITED | WNOHANG)) < 0 || si.si_pid == 0)
            return;
        m->now = clock_boottime_ns();
        c = by_pid(m, si.si_pid);
        death = policy_death(si.si_code, si.si_status);
        if (c)
            bury(m, c, death, how(death),
                 si.si_code == CLD_EXITED ? NULL : sigabbrev_np(si.si_status));
        else if (!fence_died(m->args->fence, si.si_pid, m->now) && !reload_child_died(m, &si))
            upgrade_reaped(m, si.si_pid, si.si_code, si.si_status);
    }
}
