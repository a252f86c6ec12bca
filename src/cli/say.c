/*
 * cli/say.c - see say.h. One write for a line, so that the command's own do not get into it.
 */
#include "cli/say.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    int fd; /* -1: say nothing */
    bool socket;
    char shown[256 * 4 + 1]; /* the key: what is not UTF-8 or would act on a terminal is \xNN */
    bool events, json;
} to;

/* A description of the file of its own, so that only this process does not wait. One of another
 * user's terminal may not be had, then it is asked before. A file never keeps anybody waiting for
 * long, and a new description of it would begin at its start. */
static void open_stderr(void)
{
    struct stat s;

    to.fd = STDERR_FILENO;
    if (fstat(STDERR_FILENO, &s) != 0)
        return;
    to.socket = S_ISSOCK(s.st_mode);
    if (S_ISFIFO(s.st_mode) || S_ISCHR(s.st_mode))
        to.fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (to.fd < 0)
        to.fd = STDERR_FILENO;
}

void say_no_more(void)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (to.fd > STDERR_FILENO)
        close(to.fd);
    to.fd = -1;
    dup2(null, STDERR_FILENO);
    close(null);
}

static void put(const char *line, size_t n)
{
    struct pollfd p = {.fd = to.fd, .events = POLLOUT};
    ssize_t done;

    if (to.fd < 0 || poll(&p, 1, 0) != 1)
        return;
    if (to.socket)
        done = sendto(to.fd, line, n, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
    else
        done = write(to.fd, line, n);
    (void)done; /* who could be told? */
}

void say_init(const char *key, bool events, bool json)
{
    size_t left = strlen(key), used = 0;

    for (const char *at = key; left > 0 && used + 4 * 4 < sizeof(to.shown);) {
        uint32_t code;
        size_t n = utf8_next(at, left, &code);

        if (code == UTF8_BAD || utf8_is_control(code)) {
            used += utf8_escape(to.shown + used, at, n);
        } else {
            memcpy(to.shown + used, at, n);
            used += n;
        }
        at += n;
        left -= n;
    }
    to.shown[used] = '\0';
    to.events = events || json;
    to.json = json;
    open_stderr();
}

static void write_json(const char *event, const char *text, const struct say_number number[2])
{
    json_t *o = json_object();
    char *line;

    json_object_set_new(o, "time", json_real((double)clock_boottime_ns() / (double)NS_PER_SEC));
    json_object_set_new(o, "event", json_string(event));
    json_object_set_new(o, "key", json_string(to.shown));
    for (unsigned i = 0; i < 2; i++)
        if (number[i].name != NULL)
            json_object_set_new(o, number[i].name, json_integer(number[i].value));
    json_object_set_new(o, "text", json_string(text));
    line = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(15));
    json_decref(o);
    if (line != NULL) {
        size_t n = strlen(line);

        line[n] = '\n'; /* in the place of its NUL */
        put(line, n + 1);
    }
    free(line);
}

static void write_text(const char *text)
{
    char line[2048];
    int n = snprintf(line, sizeof(line), "dflock: %s: %s\n", to.shown, text);

    if (n >= (int)sizeof(line)) {
        n = sizeof(line) - 1;
        line[n - 1] = '\n';
    }
    put(line, (size_t)n);
}

static void say(const char *event, const struct say_number number[2], const char *format,
                va_list args)
{
    char text[1024];

    vsnprintf(text, sizeof(text), format, args);
    if (to.json)
        write_json(event, text, number);
    else
        write_text(text);
}

void say_error(int exitcode, const char *format, ...)
{
    const struct say_number number[2] = {SAY_NUMBER("exit", exitcode), SAY_NONE};
    va_list args;

    va_start(args, format);
    say("error", number, format, args);
    va_end(args);
}

void say_event(const char *event, struct say_number a, struct say_number b, const char *format, ...)
{
    const struct say_number number[2] = {a, b};
    va_list args;

    if (!to.events)
        return;
    va_start(args, format);
    say(event, number, format, args);
    va_end(args);
}
