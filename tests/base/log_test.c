/*
 * tests/base/log_test.c - the log as a reader of stderr sees it: its lines, its rate limit, what it
 * escapes. stderr is a datagram socket here, so that each write(2) is seen on its own.
 */
#include "base/log.h"

#include "base/clock.h"
#include "base/logline.h"
#include "base/utf8.h"
#include "tests/tap.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define T0 (UINT64_C(1795172975) * NS_PER_SEC + 123456789) /* 2026-11-20T11:09:35.123456789Z */

static int reader;
static int64_t offset; /* of BOOTTIME */

static void capture_stderr(void)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) < 0 ||
        dup2(fds[1], STDERR_FILENO) < 0 || fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
        bail_out("socketpair: %s", strerror(errno));
    close(fds[1]);
    reader = fds[0];
}

/* The next write, without its newline; NULL if there was none. */
static const char *next_line(void)
{
    static char buf[LOG_LINE_MAX * 2];
    ssize_t n = recv(reader, buf, sizeof(buf) - 1, 0);

    if (n < 0)
        return NULL;
    buf[n] = '\0';
    if (n == 0 || buf[n - 1] != '\n' || memchr(buf, '\n', (size_t)n) != buf + n - 1)
        return "NOT ONE LINE";
    buf[n - 1] = '\0';
    return buf;
}

/* The next line from its level on: without the time, which must be one. */
static const char *next_event(void)
{
    const char *line = next_line();
    int used = 0;

    if (line == NULL)
        return NULL;
    sscanf(line, "%*4u-%*2u-%*2uT%*2u:%*2u:%*2u.%*3uZ %n", &used);
    return used == 25 ? line + used : line;
}

static unsigned count_lines(void)
{
    unsigned n = 0;

    while (next_line() != NULL)
        n++;
    return n;
}

/* A whole line with one field, at T0. */
static const char *line_of(enum log_format format, struct log_field field)
{
    static struct logline l;

    logline_begin(&l, format, LVL_WARN, T0, "msg");
    logline_field(&l, &field);
    logline_end(&l);
    if (l.used < LOG_LINE_MAX)
        l.text[l.used] = '\0';
    return l.text;
}

#define TEXT_HEAD "2026-11-20T11:09:35.123Z warn msg"
#define JSON_HEAD "{\"time\":\"2026-11-20T11:09:35.123Z\",\"level\":\"warn\",\"msg\":\"msg\""

static void test_values(void)
{
    struct log_field none = {.kind = LOG_KIND_NONE};
    static const struct {
        const char *value;
        size_t n;
        const char *text; /* what stands behind key= */
        const char *json; /* what stands behind "key": */
    } cases[] = {
#define CASE(value, text, json) {value, sizeof(value) - 1, text, json}
        CASE("plain", "plain", "\"plain\""),
        CASE("127.0.0.1:6388", "127.0.0.1:6388", "\"127.0.0.1:6388\""),
        CASE("", "\"\"", "\"\""),
        CASE("two words", "\"two words\"", "\"two words\""),
        CASE("a=b", "\"a=b\"", "\"a=b\""),
        CASE("say \"hi\"", "\"say \\\"hi\\\"\"", "\"say \\\"hi\\\"\""),
        CASE("C:\\x", "\"C:\\\\x\"", "\"C:\\\\x\""),
        CASE("a\nb", "\"a\\x0ab\"", "\"a\\u000ab\""),
        CASE("a\0b", "\"a\\x00b\"", "\"a\\u0000b\""),
        CASE("\x1b[31m", "\"\\x1b[31m\"", "\"\\u001b[31m\""),
        CASE("\x7f", "\"\\x7f\"", "\"\\u007f\""),
        CASE("caf\xc3\xa9", "caf\xc3\xa9", "\"caf\xc3\xa9\""),
        CASE("\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""),
        CASE("\xc2\x85", "\"\\xc2\\x85\"", "\"\\u0085\""),
        CASE("\xe2\x80\xae", "\"\\xe2\\x80\\xae\"", "\"\\u202e\""),
        CASE("\xff", "\"\\xff\"", "\"" UTF8_REPLACEMENT "\""),
        CASE("a\xe2\x82", "\"a\\xe2\\x82\"", "\"a" UTF8_REPLACEMENT "\""),
        CASE("\xed\xa0\x80", "\"\\xed\\xa0\\x80\"",
             "\"" UTF8_REPLACEMENT UTF8_REPLACEMENT UTF8_REPLACEMENT "\""),
#undef CASE
    };
    char want[256];

    is_str(line_of(LOG_FORMAT_TEXT, none), TEXT_HEAD "\n", "no field, text");
    is_str(line_of(LOG_FORMAT_JSON, none), JSON_HEAD "}\n", "no field, JSON");
    is_str(line_of(LOG_FORMAT_JOURNAL, none), "<4>" TEXT_HEAD "\n", "no field, journal");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct log_field field = log_bytes("key", cases[i].value, cases[i].n);

        snprintf(want, sizeof(want), TEXT_HEAD " key=%s\n", cases[i].text);
        is_str(line_of(LOG_FORMAT_TEXT, field), want, "text value %zu", i);
        snprintf(want, sizeof(want), JSON_HEAD ",\"key\":%s}\n", cases[i].json);
        is_str(line_of(LOG_FORMAT_JSON, field), want, "JSON value %zu", i);
    }
}

static void test_kinds(void)
{
#define BOTH(field, text, json)                                                                    \
    do {                                                                                           \
        is_str(line_of(LOG_FORMAT_TEXT, field), TEXT_HEAD " " text "\n", "%s, text", #field);      \
        is_str(line_of(LOG_FORMAT_JSON, field), JSON_HEAD "," json "}\n", "%s, JSON", #field);     \
    } while (0)
    BOTH(log_str("k", "v"), "k=v", "\"k\":\"v\"");
    BOTH(log_str("k", NULL), "k=null", "\"k\":null");
    BOTH(log_int("k", INT64_MIN), "k=-9223372036854775808", "\"k\":-9223372036854775808");
    BOTH(log_int("k", INT64_MAX), "k=9223372036854775807", "\"k\":9223372036854775807");
    BOTH(log_int("k", 0), "k=0", "\"k\":0");
    BOTH(log_uint("k", UINT64_MAX), "k=18446744073709551615", "\"k\":18446744073709551615");
    BOTH(log_err("k", -ENOENT), "k=\"No such file or directory\"",
         "\"k\":\"No such file or directory\"");
    BOTH(log_ms("took", 12345678), "took_ms=12.345", "\"took_ms\":12.345");
    BOTH(log_ms("took", 5000), "took_ms=0.005", "\"took_ms\":0.005");
    BOTH(log_ms("took", 0), "took_ms=0.000", "\"took_ms\":0.000");
#undef BOTH
}

/* Against the C library, over a leap day, a century that has none, and at random. */
static void test_time(void)
{
    unsigned wrong = 0;

    for (unsigned i = 0; i < 20000; i++) {
        static const time_t marks[] = {0, 951782400, 4107456000, 4107542400, 1709164800};
        time_t s = i < 5000
                       ? marks[i % 5] + (time_t)(i / 5 * 200)
                       : (time_t)(((uint64_t)random() << 3 ^ (uint64_t)random()) % 253402300800u);
        struct logline l;
        char want[40];
        struct tm tm;

        gmtime_r(&s, &tm);
        strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S.007Z ", &tm);
        /* Beyond 2554 a u64 of nanoseconds has overflowed. */
        if (s > 18446744073 - 1)
            continue;
        logline_begin(&l, LOG_FORMAT_TEXT, LVL_INFO, (uint64_t)s * NS_PER_SEC + 7 * NS_PER_MS, "m");
        if (memcmp(l.text, want, strlen(want)) != 0) {
            diag("%.25s is not %s", l.text, want);
            wrong++;
        }
    }
    is_u64(wrong, 0, "dates as the C library counts them");
}

/* Around the limit nothing may break: neither the line's length nor its form. */
static void test_too_long(void)
{
    static char value[2 * LOG_LINE_MAX];
    unsigned wrong = 0, cut = 0, whole = 0;

    for (size_t n = 0; n < sizeof(value); n++) /* two bytes a sign, and some to escape */
        value[n] = n % 7 == 6 ? '\n' : n % 7 % 2 == 0 ? '\xc3' : '\xa9';
    for (size_t n = 1000; n < sizeof(value); n += n < 3900 ? 97 : 1) {
        for (enum log_format format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
            bool json = format == LOG_FORMAT_JSON;
            struct log_field long_one = log_bytes("key", value, n);
            struct log_field later = log_uint("later", 7);
            const char *full = json ? "\",\"later\":7}\n" : "\" later=7\n";
            const char *mark = json ? ",\"truncated\":true}\n" : " truncated=true\n";
            struct logline l;
            bool marked, complete;

            logline_begin(&l, format, LVL_INFO, T0, "msg");
            logline_field(&l, &long_one);
            logline_field(&l, &later);
            logline_end(&l);
            marked = l.used > 40 && memcmp(l.text + l.used - strlen(mark), mark, strlen(mark)) == 0;
            complete =
                l.used > 40 && memcmp(l.text + l.used - strlen(full), full, strlen(full)) == 0;
            /* What a cut leaves in front of the mark is a closed string, or its start is gone. */
            if (marked && l.text[l.used - strlen(mark) - 1] != '"')
                marked = false;
            if (l.used > LOG_LINE_MAX || marked == complete ||
                memchr(l.text, '\n', l.used) != l.text + l.used - 1)
                wrong++;
            cut += marked;
            whole += complete;
        }
    }
    is_u64(wrong, 0, "a long value is cut cleanly, or everything is there");
    ok(cut > 100 && whole > 10, "both have been seen (%u, %u)", cut, whole);
}

/* Many short fields: one that does not fit leaves nothing behind, and none comes after it. */
static void test_too_many_fields(void)
{
    unsigned wrong = 0;

    for (size_t pad = 0; pad < 60; pad++) {
        struct log_field first = log_bytes("pad",
                                           "0123456789012345678901234567890123456789"
                                           "0123456789012345678901234567890123456789",
                                           pad + 1);
        struct log_field number = log_int("number", -1234567);
        struct logline l;
        char *p;

        logline_begin(&l, LOG_FORMAT_TEXT, LVL_INFO, T0, "msg");
        logline_field(&l, &first);
        for (int i = 0; i < 400; i++)
            logline_field(&l, &number);
        logline_end(&l);
        l.text[l.used - 1] = '\0';
        p = strstr(l.text, "number=");
        while (p != NULL && strncmp(p, "number=-1234567 ", 16) == 0)
            p += 16;
        if (l.used > LOG_LINE_MAX || l.used < LOG_LINE_MAX - 60 || p == NULL ||
            strcmp(p, "truncated=true") != 0)
            wrong++;
    }
    is_u64(wrong, 0, "fields are written whole or not at all");
}

/* Any bytes: the line stays one line of printable text, and nothing of the value is lost. */
static void test_random_bytes(void)
{
    unsigned wrong = 0;

    for (int i = 0; i < 20000; i++) {
        unsigned char value[40], back[200];
        size_t n = (size_t)random() % sizeof(value), m = 0;
        struct log_field field = log_bytes("k", value, n);
        const char *p;

        for (size_t j = 0; j < n; j++)
            value[j] = (unsigned char)(random() % 3 ? random() : 0x80 + random() % 0x60);
        p = line_of(LOG_FORMAT_TEXT, field) + strlen(TEXT_HEAD " k=");
        if (*p == '"') {
            for (p++; *p != '"' && *p != '\0'; m++) {
                unsigned byte;

                if (*p != '\\')
                    back[m] = (unsigned char)*p++;
                else if (p[1] == 'x' && sscanf(p + 2, "%2x", &byte) == 1)
                    back[m] = (unsigned char)byte, p += 4;
                else
                    back[m] = (unsigned char)p[1], p += 2;
            }
            wrong += strcmp(p, "\"\n") != 0;
        } else {
            for (; *p != '\n'; m++)
                back[m] = (unsigned char)*p++;
        }
        for (size_t j = 0; j < m; j++)
            wrong += m != n || back[j] != value[j];
    }
    is_u64(wrong, 0, "any bytes come back from what was written");
}

static void test_levels(void)
{
    unsigned evaluated = 0;

    log_init(LOG_FORMAT_TEXT, LVL_WARN);
    log_error("one");
    is_str(next_event(), "error one", "error");
    log_warn("two", log_int("n", 2));
    is_str(next_event(), "warn two n=2", "warn");
    log_info("three", log_uint("n", ++evaluated));
    log_debug("four", log_uint("n", ++evaluated));
    ok(next_line() == NULL, "a level that is off writes nothing");
    is_u64(evaluated, 0, "and evaluates nothing");
    log_audit("five", log_str("by", "admin"));
    is_str(next_event(), "info five by=admin", "an audit line is always written");
    ok(log_on(LVL_ERROR) && log_on(LVL_WARN) && !log_on(LVL_INFO), "log_on()");
    log_set_level(LVL_DEBUG);
    log_debug("six", log_str("a", "b"), log_str("c", "d e"));
    is_str(next_event(), "debug six a=b c=\"d e\"", "the level can be changed");
    if (log_on(LVL_ERROR))
        log_info("a macro is one statement");
    else
        log_info("not this");
    is_str(next_event(), "info a macro is one statement", "also before else");
}

static void test_process(void)
{
    log_init(LOG_FORMAT_TEXT, LVL_INFO);
    log_set_process("worker-3");
    log_info("hello", log_int("n", 1));
    is_str(next_event(), "info hello proc=worker-3 n=1", "the process is named");
    log_set_process("a name that is much longer than what is kept of it");
    log_info("hello");
    is_str(next_event(), "info hello proc=\"a name that is much longer than\"", "it is cut");
    log_set_process("");
    log_info("hello");
    is_str(next_event(), "info hello", "and taken away");
}

static void busy(unsigned times)
{
    while (times-- > 0)
        log_warn("busy", log_int("n", 1));
}

/* The time, whatever this test makes of it. */
static uint64_t unmoved(void)
{
    return clock_boottime_ns() - (uint64_t)offset;
}

static void keep_event(char *text, size_t n)
{
    const char *event = next_event();

    snprintf(text, n, "%s", event ? event : "nothing");
}

static void test_rate(void)
{
    unsigned burst, others, early, more, refilled;
    char first[64], second[64], third[64];
    uint64_t began;

    log_init(LOG_FORMAT_TEXT, LVL_INFO);
    log_set_process(NULL);
    do { /* in less time than the test's own clock leaves */
        offset += (int64_t)(3600 * NS_PER_SEC);
        began = unmoved();
        busy(25);
        burst = count_lines();
        for (int i = 0; i < 20; i++)
            log_warn("another", log_int("n", 1));
        others = count_lines();
        offset += (int64_t)(800 * NS_PER_MS);
        busy(1);
        early = count_lines();
        offset += (int64_t)(400 * NS_PER_MS);
        busy(10);
        keep_event(first, sizeof(first));
        more = count_lines();
        offset += (int64_t)NS_PER_SEC;
        busy(1);
        keep_event(second, sizeof(second));
        offset += (int64_t)(3600 * NS_PER_SEC);
        busy(1);
        keep_event(third, sizeof(third));
        busy(30);
        refilled = count_lines();
    } while (unmoved() - began > 190 * NS_PER_MS);
    is_u64(burst, 20, "twenty lines at once");
    is_u64(others, 20, "another site has its own rate");
    is_u64(early, 0, "none within the second");
    is_str(first, "warn busy suppressed=6 n=1", "one a second, with the count");
    is_u64(more, 0, "and only one");
    is_str(second, "warn busy suppressed=9 n=1", "the count begins again");
    is_str(third, "warn busy n=1", "nothing to tell, no count");
    is_u64(refilled, 19, "after a pause the burst is full again, but not fuller");
    for (int i = 0; i < 100; i++)
        log_audit("audit");
    is_u64(count_lines(), 100, "an audit is never suppressed");
}

static void test_fork(void)
{
    uint64_t began;
    unsigned burst;
    int status;
    pid_t pid;

    log_init(LOG_FORMAT_TEXT, LVL_INFO);
    log_set_process("parent");
    do {
        offset += (int64_t)(3600 * NS_PER_SEC);
        began = unmoved();
        busy(23);
        burst = count_lines();
    } while (unmoved() - began > 900 * NS_PER_MS);
    is_u64(burst, 20, "the parent has used its burst");
    pid = fork();
    if (pid == 0) {
        log_set_process("child");
        busy(1);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        bail_out("fork: %s", strerror(errno));
    is_str(next_event(), "warn busy proc=child n=1", "a child has its own, and no count of others");
    log_set_process(NULL);
}

static void test_errno(void)
{
    int saved = dup(STDERR_FILENO);

    errno = EXDEV;
    log_error("kept");
    is_int(errno, EXDEV, "errno is kept");
    close(STDERR_FILENO);
    errno = EXDEV;
    log_error("lost");
    is_int(errno, EXDEV, "also when stderr is closed");
    for (int i = 0; i < 30; i++)
        log_error("suppressed");
    is_int(errno, EXDEV, "also when the line is suppressed");
    dup2(saved, STDERR_FILENO);
    close(saved);
    count_lines();
}

static void test_journal(void)
{
    char name[64];
    struct stat st;

    fstat(STDERR_FILENO, &st);
    snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", name, 1);
    log_init(LOG_FORMAT_TEXT, LVL_DEBUG);
    log_error("e");
    ok(strncmp(next_line(), "<3>2", 4) == 0, "error is priority 3");
    log_warn("w");
    ok(strncmp(next_line(), "<4>2", 4) == 0, "warn is priority 4");
    log_info("i");
    ok(strncmp(next_line(), "<6>2", 4) == 0, "info is priority 6");
    log_debug("d");
    ok(strncmp(next_line(), "<7>2", 4) == 0, "debug is priority 7");
    log_init(LOG_FORMAT_JSON, LVL_INFO);
    log_info("i");
    ok(strncmp(next_line(), "<6>{\"time\":\"2", 13) == 0, "JSON has one, too");

    snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + 1);
    setenv("JOURNAL_STREAM", name, 1);
    log_init(LOG_FORMAT_TEXT, LVL_INFO);
    log_info("i");
    is_str(next_event(), "info i", "another stream is not the journal");
    setenv("JOURNAL_STREAM", "nonsense", 1);
    log_init(LOG_FORMAT_TEXT, LVL_INFO);
    log_info("i");
    is_str(next_event(), "info i", "nor is nonsense");
    unsetenv("JOURNAL_STREAM");
    log_init(LOG_FORMAT_JOURNAL, LVL_INFO);
    log_info("i");
    ok(strncmp(next_line(), "<6>2", 4) == 0, "it can be asked for");
}

static void test_json_line(void)
{
    const char *line;
    int used = 0;

    log_init(LOG_FORMAT_JSON, LVL_INFO);
    log_set_process("master");
    log_info("say \"hi\"", log_str("key", "a\nb"), log_uint("n", 1), log_ms("took", 1500000));
    line = next_line();
    sscanf(line, "{\"time\":\"%*4u-%*2u-%*2uT%*2u:%*2u:%*2u.%*3uZ\"%n", &used);
    is_str(
        line + used,
        ",\"level\":\"info\",\"msg\":\"say \\\"hi\\\"\",\"proc\":\"master\",\"key\":\"a\\u000ab\","
        "\"n\":1,\"took_ms\":1.500}",
        "one JSON object");
    log_set_process(NULL);
}

int main(int argc, char **argv)
{
    unsigned seed = argc > 1 ? (unsigned)atoi(argv[1]) : 20261120;

    diag("seed %u", seed);
    srandom(seed);
    capture_stderr();
    clock_test_offset_ns(&offset, NULL);
    test_values();
    test_kinds();
    test_time();
    test_too_long();
    test_too_many_fields();
    test_random_bytes();
    test_levels();
    test_process();
    test_rate();
    test_fork();
    test_errno();
    test_journal();
    test_json_line();
    return done_testing();
}
