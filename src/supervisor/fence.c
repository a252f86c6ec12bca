/*
 * supervisor/fence.c - see fence.h. Runs in the master, and in the first moments of the writer.
 */
#include "supervisor/fence.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/point.h"
#include "config/settings.h"
#include "shm/fences.h"
#include "supervisor/fencewriter.h"
#include "supervisor/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_PATIENCE_MS 30000
#define STUCK_NS                                                                                   \
    (10 * NS_PER_SEC) /* what is asked for is not written: the disk hangs, or the writer */
#define AGAIN_NS (100 * NS_PER_MS)
#define LEAVE_NS (2 * NS_PER_SEC)

static int be_writer(const struct fencewriter_args *args, pid_t master)
{
    int keep[] = {0, 1, 2, args->report};

    log_set_process("fence-writer");
    point_writer();
    SYS(FENCE_NAME, prctl(PR_SET_NAME, "dflockd-fences")); /* for ps(1) */
    /* Nobody but the master may end it, and it must not outlive it: the next one needs the lock. */
    SYS(FENCE_PDEATHSIG, prctl(PR_SET_PDEATHSIG, SIGKILL));
    if (getppid() != master || io_close_all_but(keep, args->report < 0 ? 3 : 4) != 0)
        return 1;
    return fencewriter_run(args);
}

/* The writer's pid or a negative error. `report` as for the writer. */
static int spawn(const struct fence *f, bool found, int report)
{
    struct fencewriter_args args = {
        .region = f->r, .path = f->path, .found = found, .delay = f->delay, .report = report};
    pid_t master = getpid(), pid = SYS(FENCE_FORK, fork());

    if (pid == 0)
        _exit(be_writer(&args, master));
    return pid < 0 ? -errno : pid;
}

/* Until the writer has said that all is well; or, having said on stderr what is not, ends. */
static int await_report(int fd, pid_t pid)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    siginfo_t si = {0};
    char byte;
    int n = SYS(FENCE_AWAIT, poll(&p, 1, START_PATIENCE_MS));

    if (n == 1 && SYS(FENCE_ANSWER, read(fd, &byte, 1)) == 1)
        return 0;
    if (n != 1)
        fprintf(stderr, "dflockd: --fence-state-file: the disk does not answer\n");
    else if (SYS(FENCE_REAP, waitid(P_PID, (id_t)pid, &si, WEXITED)) < 0 ||
             si.si_code != CLD_EXITED)
        fprintf(stderr, "dflockd: --fence-state-file: its process was killed\n");
    return -EIO;
}

static int start_writer(struct fence *f, bool found)
{
    int ends[2], pid, err;

    if (SYS(FENCE_PIPE, pipe2(ends, O_CLOEXEC)) < 0) {
        err = -errno;
    } else {
        pid = spawn(f, found, ends[1]);
        SYS(FENCE_THEIRS, close(ends[1]));
        err = pid < 0 ? pid : await_report(ends[0], pid);
        SYS(FENCE_OURS, close(ends[0]));
        f->pid = pid > 0 ? pid : 0;
        if (pid > 0)
            return err;
    }
    fprintf(stderr, "dflockd: --fence-state-file: its process cannot be started\n");
    return err;
}

static void set(uint64_t *word, uint64_t to)
{
    __atomic_store_n(word, to, __ATOMIC_SEQ_CST);
}

static void lift_limits(struct region *r)
{
    set(&r->grants_from, 0);
    set(&r->fence_limit, UINT64_MAX);
    set(&r->promise_until, UINT64_MAX);
    __atomic_store_n(&r->fences, FENCES_FREE, __ATOMIC_SEQ_CST);
}

/* Nothing is promised until the writer has published what may be. What a server without a state
   file has promised is seen in the table. */
static void close_gates(struct region *r, bool found)
{
    uint64_t last = 0;

    if (found && !fences_last_lease(r, &last))
        last = TIME_NEVER - 1;
    if (last > __atomic_load_n(&r->asks.until, __ATOMIC_SEQ_CST))
        set(&r->asks.until, last);
    set(&r->fence_limit, 0);
    set(&r->promise_until, 0);
    __atomic_store_n(&r->fences, FENCES_KEPT, __ATOMIC_SEQ_CST);
}

int fence_start(struct fence *f, struct region *r, const struct settings *s, bool found)
{
    int err;

    *f = (struct fence){.r = r, .delay = seconds_to_ns(s->cold_start_delay)};
    if (!s->fence_state_file[0]) {
        lift_limits(r);
        return 0;
    }
    f->path = s->fence_state_file;
    if (__atomic_load_n(&r->fences, __ATOMIC_SEQ_CST) == FENCES_FREE)
        close_gates(r, found);
    __atomic_store_n(&r->asks.leave, 0, __ATOMIC_SEQ_CST);
    err = start_writer(f, found);
    if (err)
        return err;
    f->grants_from = __atomic_load_n(&r->grants_from, __ATOMIC_SEQ_CST);
    f->waiting = f->grants_from > clock_boottime_ns();
    return 0;
}

void fence_say(const struct fence *f)
{
    uint64_t now = clock_boottime_ns();

    if (!f->path) {
        log_warn("fences are seeded from the clock: if it steps back while the server is down, "
                 "fences could repeat; set --fence-state-file");
        return;
    }
    log_info("fence state file", log_str("path", f->path),
             log_uint("next_fence", __atomic_load_n(&f->r->fence_next, __ATOMIC_RELAXED)));
    if (f->waiting && f->grants_from > now)
        log_warn("no locks yet: those that the server gave out before it ended may still be held",
                 log_ms("wait", f->grants_from - now));
}

static void start_again(struct fence *f, uint64_t now)
{
    int pid = spawn(f, true, -1);

    f->since = 0;
    if (pid > 0) {
        f->pid = pid;
        return;
    }
    log_error("the fence writer cannot be started, will try again", log_err("error", pid));
    f->due = now + AGAIN_NS;
}

/* Asked, and not even an error for long. If the disk hangs, the process dies when it is over. */
static void watch(struct fence *f, uint64_t now, uint64_t late)
{
    uint32_t heard = __atomic_load_n(&f->r->asks.heard, __ATOMIC_SEQ_CST);

    if (heard == fences_asked(f->r)) {
        f->since = 0;
    } else if (!f->since || heard != f->heard) {
        f->since = now;
        f->heard = heard;
    } else if (policy_hangs(now - f->since, late) && now - f->since > STUCK_NS) {
        log_error("the fence state file's disk does not answer, new locks and longer leases are "
                  "refused until it does",
                  log_str("path", f->path), log_ms("silent", now - f->since));
        __atomic_store_n(&f->r->fences, FENCES_FAILING, __ATOMIC_SEQ_CST);
        fences_tell(f->r);
        SYS(FENCE_KILL, kill(f->pid, SIGKILL));
        f->since = now;
    }
}

void fence_tick(struct fence *f, uint64_t now, uint64_t late)
{
    if (!f->path || f->leaving)
        return;
    if (f->pid)
        watch(f, now, late);
    else if (now >= f->due)
        start_again(f, now);
    if (f->waiting && now >= f->grants_from) {
        f->waiting = false;
        log_audit("locks are given out from now on: the wait for earlier ones is over");
        fences_tell(f->r);
    }
}

bool fence_died(struct fence *f, pid_t pid, uint64_t now)
{
    if (!f->path || pid != f->pid)
        return false;
    f->pid = 0;
    f->due = now + AGAIN_NS;
    if (!f->leaving)
        log_error("the fence writer died, another one takes over", log_int("pid", pid));
    return true;
}

void fence_drop(const struct fence *f)
{
    if (f->path && f->pid)
        SYS(FENCE_DROP, kill(f->pid, SIGKILL));
}

bool fence_fails(const struct fence *f)
{
    return __atomic_load_n(&f->r->fences, __ATOMIC_SEQ_CST) == FENCES_FAILING;
}

void fence_mend(struct fence *f)
{
    if (!f->path) {
        lift_limits(f->r);
        return;
    }
    set(&f->r->grants_from, f->grants_from);
    set(&f->r->fence_limit, 0);
    set(&f->r->promise_until, 0);
    fences_ring(f->r); /* the writer knows the true ones */
}

bool fence_end(struct fence *f, uint64_t now)
{
    uint64_t last;

    if (!f->path || (f->leaving && f->pid == 0))
        return true;
    if (!f->leaving) {
        f->leaving = true;
        f->deadline = now + LEAVE_NS;
        if (f->pid == 0)
            return true;
        if (!fences_last_lease(f->r, &last))
            last = TIME_NEVER;
        /* Who waits for a cold start to be over may hold nothing, but others may. */
        if (last < f->grants_from && now < f->grants_from)
            last = TIME_NEVER;
        set(&f->r->asks.last, last);
        __atomic_store_n(&f->r->asks.leave, 1, __ATOMIC_SEQ_CST);
        fences_ring(f->r);
    }
    if (now < f->deadline)
        return false;
    log_error(
        "the fence state file's disk does not answer: the next start waits longer than it needs to",
        log_str("path", f->path));
    SYS(FENCE_GIVE_UP, kill(f->pid, SIGKILL));
    return true;
}
