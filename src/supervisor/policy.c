/*
 * supervisor/policy.c - see policy.h.
 */
#include "supervisor/policy.h"

#include "base/clock.h"

#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

#define FORGET_NS (10 * NS_PER_SEC)
#define HANG_NS (2 * NS_PER_SEC)
#define LATE_NS (500 * NS_PER_MS)
#define LOOP_NS (100 * NS_PER_MS)  /* of a processor, and no beat: no turn takes that long */
#define SPARED_NS (10 * NS_PER_SEC)

enum death policy_death(int code, int status)
{
    if (code == CLD_EXITED)
        return status == 0 ? DEATH_EXIT : DEATH_FAIL;
    return status == SIGKILL || status == SIGTERM ? DEATH_KILLED : DEATH_CRASH;
}

uint64_t policy_backoff(enum death death, uint64_t lived_ns, uint32_t *row)
{
    static const uint64_t wait_ms[] = {0, 50, 200, 1000};
    size_t last = sizeof(wait_ms) / sizeof(wait_ms[0]) - 1;
    uint64_t wait;

    if (lived_ns >= FORGET_NS)
        *row = 0;
    if (death == DEATH_KILLED || death == DEATH_EXIT)
        return 0;
    wait = wait_ms[*row < last ? *row : last] * NS_PER_MS;
    ++*row;
    return wait;
}

bool policy_starved(uint64_t tick_late_ns)
{
    return tick_late_ns >= LATE_NS;
}

bool policy_hangs(uint64_t silent_ns, uint64_t tick_late_ns)
{
    return silent_ns > HANG_NS && !policy_starved(tick_late_ns);
}

bool policy_waits_to_run(char state, uint64_t ran_ns, uint64_t silent_ns)
{
    return state == 'R' && ran_ns < LOOP_NS && silent_ns <= SPARED_NS;
}

bool policy_may_wait_for_others(char state, uint64_t silent_ns)
{
    return state == 'S' && silent_ns <= SPARED_NS;
}
