/*
 * tests/base/process_test.c - base/process: whatever a process calls itself.
 */
#include "base/process.h"

#include "base/clock.h"
#include "tests/tap.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define REST " 1 1 1 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 2 0 4242 8192 3 18446744073709551615"

static bool parse(const char *text, struct process_stat *out)
{
    char buf[PROCESS_TEXT_MAX + 1];
    size_t n = strlen(text);

    memcpy(buf, text, n);
    return process_parse(buf, n, out);
}

static void names(void)
{
    static const char *const name[] = {"dflockd-w1", ") R (", "(", "", "a b) S 1 2 (c", "fifteen bytes!!"};
    struct process_stat s;

    for (unsigned i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
        char text[256];

        snprintf(text, sizeof(text), "77 (%s) D" REST, name[i]);
        ok(parse(text, &s) && strcmp(s.name, name[i]) == 0 && s.state == 'D' && s.parent == 1 &&
               s.ran == process_ticks_ns(12) && s.started == 4242 && s.mapped == 8192 &&
               s.resident == 3 * (uint64_t)sysconf(_SC_PAGESIZE),
           "%s", name[i]);
    }
}

static void none(void)
{
    static const char *const text[] = {"", "77", "77 (a", ("77 a) R" REST), ")(", "77 (a) R", "77 (a) R 1 1 1 0 -1 41"};
    struct process_stat s;

    for (unsigned i = 0; i < sizeof(text) / sizeof(text[0]); i++)
        ok(!parse(text[i], &s), "no text of a process: %s", text[i]);
}

static void real(void)
{
    struct process_stat s = {0}, later = {0};
    pid_t child = fork();
    uint64_t until;
    int status;

    if (child == 0) {
        prctl(PR_SET_NAME, "a) R 0 (b");
        raise(SIGSTOP);
        _exit(0);
    }
    waitpid(child, &status, WUNTRACED);
    ok(process_read(child, &s) == 0 && s.state == 'T' && s.parent == getpid() &&
           strcmp(s.name, "a) R 0 (b") == 0,
       "a child that has stopped");
    kill(child, SIGCONT);
    waitpid(child, &status, 0);
    is_int(process_read(child, &s), -ENOENT, "it has gone");
    is_int(process_read(getpid(), &s), 0, "this one");
    until = clock_boottime_ns() + 60 * NS_PER_SEC;
    do
        process_read(getpid(), &later);
    while (later.ran < s.ran + 50 * NS_PER_MS && clock_boottime_ns() < until);
    ok(later.ran >= s.ran + 50 * NS_PER_MS && later.started == s.started && later.state == 'R',
       "its time advances");
}

int main(void)
{
    names();
    none();
    real();
    return done_testing();
}
