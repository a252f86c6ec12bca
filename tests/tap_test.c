/*
 * tests/tap_test.c - the harness tested: a test that fails, lies about its plan or tests nothing
 * must not pass. Runs itself as a child, one misbehaviour at a time.
 */
#include "tests/tap.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int all_hold(void)
{
    plan(5);
    ok(1 + 1 == 2, "ok");
    ok((void *)&all_hold != NULL, "a pointer is a condition");
    is_int(-3, -3, "is_int");
    is_u64(UINT64_MAX, UINT64_MAX, "is_u64");
    is_str("a", "a", "is_str");
    return done_testing();
}

static int no_plan(void)
{
    ok(true, "unplanned");
    return done_testing();
}

static int ok_fails(void)
{
    plan(2);
    ok(1 + 1 == 3, "arithmetic");
    ok(true, "later success");
    return done_testing();
}

static int int_fails(void)
{
    is_int(-1, 1, "minus one");
    return done_testing();
}

static int u64_fails(void)
{
    is_u64(UINT64_MAX, 1, "largest");
    return done_testing();
}

static int str_fails(void)
{
    is_str("left", "right", "sides");
    return done_testing();
}

static int null_str_fails(void)
{
    is_str(NULL, "text", "no string");
    return done_testing();
}

static int too_few(void)
{
    plan(2);
    ok(true, "the only one");
    return done_testing();
}

static int too_many(void)
{
    plan(1);
    ok(true, "planned");
    ok(true, "one more");
    return done_testing();
}

static int late_plan(void)
{
    ok(true, "too early");
    plan(1);
    return done_testing();
}

static int second_plan(void)
{
    plan(1);
    plan(1);
    ok(true, "planned twice");
    return done_testing();
}

static int nothing(void)
{
    plan(0);
    return done_testing();
}

static int bails(void)
{
    ok(true, "before");
    bail_out("no %s", "server");
}

static int dies(void)
{
    plan(2);
    ok(true, "before the end");
    _exit(0);
}

static int directive(void)
{
    ok(false, "issue # TODO later\nok 2 - forged");
    diag("one\nok 3 - forged");
    return done_testing();
}

static const struct scenario {
    const char *name;
    int (*run)(void);
    int exit_status;
    const char *output; /* what the output must contain */
} scenarios[] = {
    {"all_hold", all_hold, 0, "1..5\nok 1 - ok\n"},
    {"no_plan", no_plan, 0, "ok 1 - unplanned\n1..1\n"},
    {"ok_fails", ok_fails, 1, "false: 1 + 1 == 3\nok 2 - later success\n"},
    {"int_fails", int_fails, 1, "got: -1\n#  expected: 1\n"},
    {"u64_fails", u64_fails, 1, "got: 18446744073709551615 (0xffffffffffffffff)\n"},
    {"str_fails", str_fails, 1, "got: left|\n#  expected: right|\n"},
    {"null_str_fails", null_str_fails, 1, "got: NULL\n"},
    {"too_few", too_few, 1, "# planned 2, but ran 1\n"},
    {"too_many", too_many, 1, "# planned 1, but ran 2\n"},
    {"late_plan", late_plan, 1, "# plan(1): "},
    {"second_plan", second_plan, 1, "# plan(1): "},
    {"nothing", nothing, 1, "# nothing was tested\n"},
    {"bails", bails, 255, "ok 1 - before\nBail out! no server\n"},
    {"dies", dies, 0, "1..2\nok 1 - before the end\n"},
    {"directive", directive, 1, "not ok 1 - issue \\# TODO later ok 2 - forged\n# failed at "},
};

#define NSCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

/* Runs this program with the scenario's name; returns its exit status (or -1) and its output. */
static int run_child(const char *name, char *output, size_t size)
{
    int fds[2];
    int status;
    size_t used = 0;
    ssize_t n;
    pid_t pid;

    if (pipe(fds) < 0)
        bail_out("pipe: %s", strerror(errno));
    pid = fork();
    if (pid < 0)
        bail_out("fork: %s", strerror(errno));
    if (pid == 0) {
        alarm(30);
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execl("/proc/self/exe", "tap_test", name, (char *)NULL);
        _exit(126);
    }
    close(fds[1]);
    while (used < size - 1 && (n = read(fds[0], output + used, size - 1 - used)) > 0)
        used += (size_t)n;
    output[used] = '\0';
    close(fds[0]);
    if (waitpid(pid, &status, 0) != pid)
        bail_out("waitpid: %s", strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(int argc, char **argv)
{
    char output[4096];

    if (argc > 1) {
        for (size_t i = 0; i < NSCENARIOS; i++)
            if (strcmp(argv[1], scenarios[i].name) == 0)
                return scenarios[i].run();
        return 125;
    }

    plan(2 * NSCENARIOS + 1);
    for (size_t i = 0; i < NSCENARIOS; i++) {
        const struct scenario *s = &scenarios[i];

        is_int(run_child(s->name, output, sizeof(output)), s->exit_status, "%s: exit status",
               s->name);
        if (!ok(strstr(output, s->output) != NULL, "%s: output", s->name))
            diag("output:\n%s", output);
    }
    run_child("ok_fails", output, sizeof(output));
    ok(strstr(output, "not ok 1 - arithmetic\n# failed at ") != NULL &&
           strstr(output, "tap_test.c:") != NULL,
       "a failure says where");
    return done_testing();
}
