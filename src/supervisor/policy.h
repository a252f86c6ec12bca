/*
 * supervisor/policy.h - what a worker's death means: pure.
 */
#ifndef SUPERVISOR_POLICY_H
#define SUPERVISOR_POLICY_H

#include <stdbool.h>
#include <stdint.h>

enum death {
    DEATH_EXIT,   /* it ended itself with status 0 */
    DEATH_FAIL,   /* it ended itself with another status */
    DEATH_KILLED, /* SIGKILL, SIGTERM: somebody outside, the OOM killer, our watchdog */
    DEATH_CRASH,  /* any other signal: a bug, and memory may be scribbled over */
    DEATH_KINDS
};

/* From waitid(2): si_code and si_status. */
enum death policy_death(int code, int status);

/*
 * How long to wait before the slot's next worker starts, ns. Crashes and failures in a row wait
 * longer each time, 0, 50, 200, 1000 ms: poison must not become a busy loop. Who was killed from
 * outside is replaced at once. *row counts them; a life of 10 s or more ends the row.
 */
uint64_t policy_backoff(enum death death, uint64_t lived_ns, uint32_t *row);

/* Whether the master's own tick came so late that the whole machine was starved, or stopped. */
bool policy_starved(uint64_t tick_late_ns);

/* Whether a worker that has been silent for so long is to be killed. Not when the whole machine was
   starved, or it waits to run. */
bool policy_hangs(uint64_t silent_ns, uint64_t tick_late_ns);

/* Whether such a worker waits for a processor; `state`: of proc(5), `ran_ns`: since it was first seen to
   be silent. It may for 10 s. */
bool policy_waits_to_run(char state, uint64_t ran_ns, uint64_t silent_ns);

/* Whether it may wait for another one that waits to run, also for 10 s. */
bool policy_may_wait_for_others(char state, uint64_t silent_ns);

#endif
