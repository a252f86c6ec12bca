/*
 * tests/supervisor/policy_test.c - what a death means, how long to wait, who hangs.
 */
#include "supervisor/policy.h"

#include "base/clock.h"
#include "tests/tap.h"

#include <signal.h>
#include <sys/wait.h>

static void test_death(void)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGABRT, SIGFPE, SIGSYS};

    is_int(policy_death(CLD_EXITED, 0), DEATH_EXIT, "status 0");
    is_int(policy_death(CLD_EXITED, 1), DEATH_FAIL, "status 1");
    is_int(policy_death(CLD_EXITED, SIGKILL), DEATH_FAIL, "a status that looks like a signal");
    is_int(policy_death(CLD_KILLED, SIGKILL), DEATH_KILLED, "SIGKILL");
    is_int(policy_death(CLD_KILLED, SIGTERM), DEATH_KILLED, "SIGTERM");
    for (unsigned i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++) {
        is_int(policy_death(CLD_KILLED, crashes[i]), DEATH_CRASH, "signal %d", crashes[i]);
        is_int(policy_death(CLD_DUMPED, crashes[i]), DEATH_CRASH, "signal %d, core dumped",
               crashes[i]);
    }
}

static void test_backoff(void)
{
    static const uint64_t ms[] = {0, 50, 200, 1000, 1000, 1000};
    uint32_t row = 0;

    for (unsigned i = 0; i < sizeof(ms) / sizeof(ms[0]); i++)
        is_u64(policy_backoff(i % 2 ? DEATH_FAIL : DEATH_CRASH, NS_PER_SEC, &row),
               ms[i] * NS_PER_MS, "crash or failure %u in a row", i + 1);
    is_u64(policy_backoff(DEATH_KILLED, NS_PER_SEC, &row), 0, "killed from outside: at once");
    is_u64(policy_backoff(DEATH_EXIT, NS_PER_SEC, &row), 0, "ended itself: at once");
    is_u64(policy_backoff(DEATH_CRASH, 10 * NS_PER_SEC - 1, &row), 1000 * NS_PER_MS,
           "neither ends the row, nor does a life of less than 10 s");
    is_u64(policy_backoff(DEATH_CRASH, 10 * NS_PER_SEC, &row), 0, "a life of 10 s does");
    is_u64(policy_backoff(DEATH_CRASH, 0, &row), 50 * NS_PER_MS, "and a new row begins");
    row = UINT32_MAX - 1;
    is_u64(policy_backoff(DEATH_CRASH, 0, &row), 1000 * NS_PER_MS, "a very long row");
}

static void test_hangs(void)
{
    ok(!policy_hangs(0, 0), "it just beat");
    ok(!policy_hangs(2 * NS_PER_SEC, 0), "silent for 2 s");
    ok(policy_hangs(2 * NS_PER_SEC + 1, 0), "longer than 2 s");
    ok(policy_hangs(3 * NS_PER_SEC, 499 * NS_PER_MS), "our own tick a little late");
    ok(!policy_hangs(3 * NS_PER_SEC, 500 * NS_PER_MS), "our own tick late by 500 ms");
    ok(!policy_hangs(100 * NS_PER_SEC, 99 * NS_PER_SEC), "the whole machine was stopped");
}

static void test_waits(void)
{
    static const char others[] = {'S', 'D', 'T', 't', 'Z', 'X', '?'};

    ok(policy_waits_to_run('R', 0, 3 * NS_PER_SEC), "runnable, and not run");
    ok(policy_waits_to_run('R', 99 * NS_PER_MS, 3 * NS_PER_SEC), "run for less than 100 ms");
    ok(!policy_waits_to_run('R', 100 * NS_PER_MS, 3 * NS_PER_SEC), "run for 100 ms without a beat");
    ok(policy_waits_to_run('R', 0, 10 * NS_PER_SEC), "for 10 s");
    ok(!policy_waits_to_run('R', 0, 10 * NS_PER_SEC + 1), "not for longer");
    for (unsigned i = 0; i < sizeof(others); i++)
        ok(!policy_waits_to_run(others[i], 0, 3 * NS_PER_SEC), "%c is not runnable", others[i]);
    ok(policy_may_wait_for_others('S', 10 * NS_PER_SEC), "asleep beside one that is not run");
    ok(!policy_may_wait_for_others('S', 10 * NS_PER_SEC + 1), "not for longer");
    ok(!policy_may_wait_for_others('T', 3 * NS_PER_SEC), "stopped");
    ok(!policy_may_wait_for_others('D', 3 * NS_PER_SEC), "it waits for a disk");
}

int main(void)
{
    test_death();
    test_backoff();
    test_hangs();
    test_waits();
    return done_testing();
}
