/*
 * tests/tap.c - the harness: counts checks, prints TAP. See tap.h.
 *
 * Every line is flushed at once, so that a test that dies has said how far it came and a fork()
 * does not copy text that waits to be printed.
 */
#include "tests/tap.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    bool planned;
    unsigned plan;
    unsigned run;
    unsigned failed;
    unsigned misused;
} tap;

/* Prints text with mark before each of its lines. */
static void print_marked(const char *mark, const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");

        printf("%s%.*s\n", mark, (int)len, text);
        text += len;
        text += *text == '\n';
    }
    fflush(stdout);
}

/* A description is one line, and a "#" in it must not read as a directive. */
static void print_description(const char *fmt, va_list ap)
{
    char text[512];

    vsnprintf(text, sizeof(text), fmt, ap);
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '#' || *p == '\\')
            putchar('\\');
        putchar((unsigned char)*p < ' ' ? ' ' : *p);
    }
}

static bool result(bool held, const char *file, int line, const char *fmt, va_list ap)
{
    tap.run++;
    printf("%s %u - ", held ? "ok" : "not ok", tap.run);
    print_description(fmt, ap);
    putchar('\n');
    fflush(stdout);
    if (!held) {
        tap.failed++;
        diag("failed at %s:%d", file, line);
    }
    return held;
}

void plan(unsigned n)
{
    if (tap.planned || tap.run > 0) {
        tap.misused++;
        diag("plan(%u): a plan comes once and before the first check", n);
        return;
    }
    tap.planned = true;
    tap.plan = n;
    printf("1..%u\n", n);
    fflush(stdout);
}

void diag(const char *fmt, ...)
{
    char text[4096];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    print_marked("# ", text);
}

int done_testing(void)
{
    if (!tap.planned)
        printf("1..%u\n", tap.run);
    else if (tap.plan != tap.run)
        diag("planned %u, but ran %u", tap.plan, tap.run);
    if (tap.run == 0)
        diag("nothing was tested");
    if (tap.failed > 0)
        diag("%u of %u failed", tap.failed, tap.run);
    if (fflush(stdout) != 0 || ferror(stdout))
        return 2;
    return tap.run > 0 && tap.failed == 0 && tap.misused == 0 &&
                   (!tap.planned || tap.plan == tap.run)
               ? 0
               : 1;
}

void bail_out(const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    print_marked("Bail out! ", text);
    exit(255);
}

bool tap_ok(bool held, const char *expr, const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    result(held, file, line, fmt, ap);
    va_end(ap);
    if (!held)
        diag("    false: %s", expr);
    return held;
}

bool tap_is_int(int64_t got, int64_t want, const char *expr, const char *file, int line,
                const char *fmt, ...)
{
    bool held = got == want;
    va_list ap;

    va_start(ap, fmt);
    result(held, file, line, fmt, ap);
    va_end(ap);
    if (!held)
        diag("     what: %s\n      got: %" PRId64 "\n expected: %" PRId64, expr, got, want);
    return held;
}

bool tap_is_u64(uint64_t got, uint64_t want, const char *expr, const char *file, int line,
                const char *fmt, ...)
{
    bool held = got == want;
    va_list ap;

    va_start(ap, fmt);
    result(held, file, line, fmt, ap);
    va_end(ap);
    if (!held)
        diag("     what: %s\n      got: %" PRIu64 " (0x%" PRIx64 ")\n expected: %" PRIu64
             " (0x%" PRIx64 ")",
             expr, got, got, want, want);
    return held;
}

bool tap_is_str(const char *got, const char *want, const char *expr, const char *file, int line,
                const char *fmt, ...)
{
    bool held = got == want || (got != NULL && want != NULL && strcmp(got, want) == 0);
    va_list ap;

    va_start(ap, fmt);
    result(held, file, line, fmt, ap);
    va_end(ap);
    if (!held) {
        diag("     what: %s", expr);
        diag("      got: %s%s", got != NULL ? got : "NULL", got != NULL ? "|" : "");
        diag(" expected: %s%s", want != NULL ? want : "NULL", want != NULL ? "|" : "");
    }
    return held;
}
