/*
 * tests/shm/proc.h - processes for tests: start, kill, single-step, wait for, all with deadlines.
 *
 * Nothing here waits for ever: what does not happen within PROC_DEADLINE_NS is a bail-out, and
 * the test as a whole has a deadline too. Children die with the test.
 */
#ifndef TESTS_SHM_PROC_H
#define TESTS_SHM_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROC_DEADLINE_NS UINT64_C(60000000000)

enum { PROC_TEST_S = 300 }; /* no test takes longer: SIGALRM ends it and its children */

/* Call it first. DFLOCKD_TEST_SEED, or one of the clock's; said in the log. Seeds proc_random(). */
uint64_t proc_seed(void);
void proc_reseed(uint64_t seed); /* a child's own series */
uint64_t proc_random(void);
uint32_t proc_below(uint32_t n); /* 0 … n - 1 */

uint64_t proc_now(void); /* ns, monotonic */

/* Zeroed memory that children share. */
void *proc_memory(size_t size);

typedef void (*proc_main)(void *arg);

/* A child that runs fn and then exits with 0. It is killed when the test ends. */
pid_t proc_start(proc_main fn, void *arg);
/* The same, traced and stopped before fn. */
pid_t proc_start_traced(proc_main fn, void *arg);

/* Until the word is `want`, or at least `want`. False at the deadline. */
bool proc_wait_for(const uint32_t *word, uint32_t want, uint64_t within_ns);
bool proc_wait_least(const uint64_t *word, uint64_t want, uint64_t within_ns);

/* Its status as of waitpid(2), when it has ended. Bails out at the deadline. */
int proc_reap(pid_t pid);
bool proc_reap_within(pid_t pid, uint64_t within_ns, int *status);
void proc_kill(pid_t pid); /* SIGKILL and reap */

/* 'R', 'S', 'D', 'T', 't', 'Z', or 0 when there is no such process. */
char proc_state(pid_t pid);
/* Until it sleeps in the kernel. */
bool proc_wait_asleep(pid_t pid);

enum proc_stop {
    PROC_STOPPED,
    PROC_ENDED,
    PROC_FAULT, /* stopped by a trap or a bad access: it would go on doing that for ever */
};

/* Stops a running child and traces it from here on: for proc_step(). */
void proc_seize(pid_t pid);

/* One instruction of a traced process; or on to its next entry to or return from a system call. */
enum proc_stop proc_step(pid_t pid);
enum proc_stop proc_to_syscall(pid_t pid);
void proc_let_go(pid_t pid); /* traced no more: it runs on */

#endif
