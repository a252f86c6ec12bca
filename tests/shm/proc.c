/*
 * tests/shm/proc.c - see proc.h.
 */
#include "tests/shm/proc.h"

#include "base/process.h"
#include "tests/tap.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;

void proc_reseed(uint64_t seed)
{
    state = seed * 0x9e3779b97f4a7c15u + 1;
}

uint64_t proc_seed(void)
{
    const char *given = getenv("DFLOCKD_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : proc_now() ^ (uint64_t)getpid() << 40;

    alarm(PROC_TEST_S);
    diag("DFLOCKD_TEST_SEED=%" PRIu64, seed);
    proc_reseed(seed);
    return seed;
}

uint64_t proc_random(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint32_t proc_below(uint32_t n)
{
    return (uint32_t)(proc_random() % n);
}

uint64_t proc_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void *proc_memory(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        bail_out("mmap: %s", strerror(errno));
    return p;
}

static pid_t start(proc_main fn, void *arg, bool traced)
{
    pid_t parent = getpid();
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid < 0)
        bail_out("fork: %s", strerror(errno));
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    if (traced) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
            _exit(101);
        /* Few instructions to step over before and after fn: raise() and _exit() have hundreds. */
        syscall(SYS_kill, getpid(), SIGSTOP);
        fn(arg);
        syscall(SYS_exit_group, 0);
    }
    fn(arg);
    _exit(0);
}

pid_t proc_start(proc_main fn, void *arg)
{
    return start(fn, arg, false);
}

pid_t proc_start_traced(proc_main fn, void *arg)
{
    pid_t pid = start(fn, arg, true);
    int status;

    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        bail_out("a child cannot be traced (status %#x): is ptrace forbidden here?", status);
    ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
    return pid;
}

/* Waiting for other processes: give way first, then doze. */
static void pause_a_little(unsigned turn)
{
    struct timespec ts = {.tv_nsec = 50000};

    if (turn < 50)
        sched_yield();
    else
        nanosleep(&ts, NULL);
}

bool proc_wait_for(const uint32_t *word, uint32_t want, uint64_t within_ns)
{
    uint64_t until = proc_now() + within_ns;

    for (unsigned i = 0; __atomic_load_n(word, __ATOMIC_SEQ_CST) != want; i++) {
        if (proc_now() >= until)
            return false;
        pause_a_little(i);
    }
    return true;
}

bool proc_wait_least(const uint64_t *word, uint64_t want, uint64_t within_ns)
{
    uint64_t until = proc_now() + within_ns;

    for (unsigned i = 0; __atomic_load_n(word, __ATOMIC_SEQ_CST) < want; i++) {
        if (proc_now() >= until)
            return false;
        pause_a_little(i);
    }
    return true;
}

bool proc_reap_within(pid_t pid, uint64_t within_ns, int *status)
{
    uint64_t until = proc_now() + within_ns;
    unsigned i = 0;
    pid_t got;

    while ((got = waitpid(pid, status, WNOHANG)) != pid) {
        if (got < 0 && errno != EINTR)
            bail_out("waitpid: %s", strerror(errno));
        if (proc_now() >= until)
            return false;
        pause_a_little(i++);
    }
    return WIFEXITED(*status) || WIFSIGNALED(*status);
}

int proc_reap(pid_t pid)
{
    int status;

    if (!proc_reap_within(pid, PROC_DEADLINE_NS, &status))
        bail_out("process %d does not end (state %c)", (int)pid, proc_state(pid));
    return status;
}

void proc_kill(pid_t pid)
{
    int status;

    kill(pid, SIGKILL);
    /* A traced one may report a stop that came before its death. */
    do {
        if (waitpid(pid, &status, 0) < 0 && errno != EINTR)
            bail_out("waitpid: %s", strerror(errno));
    } while (!WIFEXITED(status) && !WIFSIGNALED(status));
}

char proc_state(pid_t pid)
{
    struct process_stat stat;

    return (char)(process_read(pid, &stat) == 0 ? stat.state : 0);
}

bool proc_wait_asleep(pid_t pid)
{
    uint64_t until = proc_now() + PROC_DEADLINE_NS;

    for (unsigned i = 0; proc_state(pid) != 'S'; i++) {
        if (proc_now() >= until)
            return false;
        pause_a_little(i);
    }
    return true;
}

static enum proc_stop go_on(pid_t pid, int how)
{
    int status;

    if (ptrace(how, pid, NULL, NULL) < 0)
        bail_out("ptrace: %s", strerror(errno));
    if (waitpid(pid, &status, 0) != pid)
        bail_out("waitpid: %s", strerror(errno));
    if (!WIFSTOPPED(status))
        return PROC_ENDED;
    switch (WSTOPSIG(status)) {
    case SIGILL:
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGABRT:
        return PROC_FAULT;
    default:
        return PROC_STOPPED;
    }
}

void proc_seize(pid_t pid)
{
    int status;

    if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_EXITKILL) < 0 ||
        ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0)
        bail_out("process %d cannot be traced: %s", (int)pid, strerror(errno));
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        bail_out("process %d ended (status %#x)", (int)pid, status);
}

enum proc_stop proc_step(pid_t pid)
{
    return go_on(pid, PTRACE_SINGLESTEP);
}

enum proc_stop proc_to_syscall(pid_t pid)
{
    return go_on(pid, PTRACE_SYSCALL);
}

void proc_let_go(pid_t pid)
{
    if (ptrace(PTRACE_DETACH, pid, NULL, NULL) < 0)
        bail_out("process %d cannot be let go: %s", (int)pid, strerror(errno));
}
