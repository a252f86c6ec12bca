/*
 * tests/proto/reply_test.c - every reply, byte for byte.
 */
#include "proto/reply.h"
#include "tests/tap.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define T "0123456789abcdef00000000000000ff"
#define U64_MAX_TEXT "18446744073709551615"

static const struct token token = {UINT64_C(0x0123456789abcdef), 0xff};

/* The vocabulary as published clients know it, written down once more and not generated. */
static const char *const words[] = {
    "ok",
    "acquired",
    "queued",
    "timeout",
    "error",
    "error_auth",
    "error_max_locks",
    "error_max_waiters",
    "error_limit_mismatch",
    "error_not_enqueued",
    "error_already_enqueued",
    "error_lease_expired",
    "error_draining",
};

/* Exactly `line` was written, and neither more than REPLY_MAX touched nor a byte before it. */
static int is_line(const char *area, size_t len, const char *line)
{
    return area[0] == '!' && area[REPLY_MAX + 1] == '!' && len == strlen(line) &&
           len <= REPLY_MAX && memcmp(area + 1, line, len) == 0;
}

static void test_words(void)
{
    is_int(REPLY_COUNT, sizeof(words) / sizeof(words[0]), "the vocabulary is complete");
    for (int i = 0; i < REPLY_COUNT; i++) {
        char area[REPLY_MAX + 2], line[REPLY_MAX];
        size_t n;

        memset(area, '!', sizeof(area));
        n = reply_word(area + 1, (enum reply)i);
        strcpy(line, words[i]);
        strcat(line, "\n");
        ok(is_line(area, n, line), "%s", words[i]);
        is_str(reply_text((enum reply)i), words[i], "%s as text", words[i]);
    }
    ok(REPLY_OK == 0 && strcmp(reply_text(REPLY_ERROR), "error") == 0 &&
           strcmp(reply_text(REPLY_AUTH), "error_auth") == 0 &&
           strcmp(reply_text(REPLY_QUEUED), "queued") == 0 &&
           strcmp(reply_text(REPLY_TIMEOUT), "timeout") == 0 &&
           strcmp(reply_text(REPLY_DRAINING), "error_draining") == 0,
       "names stand for their own words");
}

static void test_grants(void)
{
    static const struct {
        enum reply reply;
        uint64_t lease;
        const char *line;
    } row[] = {
        {REPLY_OK, 33, "ok " T " 33\n"},
        {REPLY_OK, 0, "ok " T " 0\n"},
        {REPLY_OK, UINT64_C(9223372036), "ok " T " 9223372036\n"},
        {REPLY_ACQUIRED, 1, "acquired " T " 1\n"},
        {REPLY_ACQUIRED, UINT64_MAX, "acquired " T " " U64_MAX_TEXT "\n"},
    };

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char area[REPLY_MAX + 2];
        size_t n;

        memset(area, '!', sizeof(area));
        n = reply_grant(area + 1, row[i].reply, &token, row[i].lease);
        ok(is_line(area, n, row[i].line), "grant %zu", i + 1);
    }
}

static void test_seconds(void)
{
    static const struct {
        uint64_t seconds;
        const char *line;
    } row[] = {{0, "ok 0\n"}, {60, "ok 60\n"}, {UINT64_MAX, "ok " U64_MAX_TEXT "\n"}};

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char area[REPLY_MAX + 2];
        size_t n;

        memset(area, '!', sizeof(area));
        n = reply_seconds(area + 1, row[i].seconds);
        ok(is_line(area, n, row[i].line), "seconds %zu", i + 1);
    }
    is_str(REPLY_JSON_HEAD, "ok ", "a JSON reply begins with ok and one space");
}

static void bad_word(void)
{
    char buf[REPLY_MAX];
    reply_word(buf, REPLY_COUNT);
}

static void bad_text(void)
{
    reply_text((enum reply)(REPLY_COUNT + 1));
}

static void bad_grant(void)
{
    char buf[REPLY_MAX];
    reply_grant(buf, REPLY_QUEUED, &token, 1);
}

/* A caller's bug ends the process (the worker is replaced); it never becomes a wrong reply. */
static void test_trap(void (*call)(void), const char *name)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        signal(SIGILL, SIG_DFL); /* a sanitizer's handler would turn the signal into an exit */
        signal(SIGTRAP, SIG_DFL);
        call();
        _exit(0);
    }
    waitpid(pid, &status, 0);
    ok(WIFSIGNALED(status), "%s traps", name);
}

int main(void)
{
    test_words();
    test_grants();
    test_seconds();
    test_trap(bad_word, "a word that is none");
    test_trap(bad_text, "the text of a word that is none");
    test_trap(bad_grant, "a grant that is neither ok nor acquired");
    return done_testing();
}
