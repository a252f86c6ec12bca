/*
 * config/report.c - see report.h.
 */
#include "config/report.h"

#include "base/err.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* The texts quote what users typed, which must not reach a terminal as it is. */
static void copy_safe(char *out, size_t size, const char *text)
{
    size_t used = 0;
    uint32_t code;

    for (size_t len, n = strlen(text); n > 0; text += len, n -= len) {
        char piece[16];
        size_t put;

        len = utf8_next(text, n, &code);
        put = len;
        if (code == UTF8_BAD || utf8_is_control(code))
            put = utf8_escape(piece, text, len);
        else
            memcpy(piece, text, len);
        if (put >= size - used)
            break;
        memcpy(out + used, piece, put);
        used += put;
    }
    out[used] = '\0';
}

static void add(struct report_list *list, const char *fmt, va_list ap)
{
    char text[REPORT_TEXT];

    if (list->count < REPORT_KEPT) {
        vsnprintf(text, sizeof(text), fmt, ap);
        copy_safe(list->text[list->count], REPORT_TEXT, text);
    }
    list->count++;
}

void report_error(struct config_report *report, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add(&report->errors, fmt, ap);
    va_end(ap);
}

void report_warn(struct config_report *report, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add(&report->warnings, fmt, ap);
    va_end(ap);
}

void report_no_memory(struct config_report *report, const char *origin, const char *path)
{
    report->momentary++;
    report_error(report, "%s: %s: out of memory", origin, path);
}

void report_unreadable(struct config_report *report, const char *origin, const char *path, int err)
{
    report->momentary += err_is_momentary(err);
    report_error(report, "%s: %s: %s%s", origin, path, err_text(err),
                 err == -EACCES ? ": the user that dflockd runs as must be able to read it" : "");
}

static void print_list(const struct report_list *list, const char *mark, const char *plural,
                       FILE *to)
{
    for (unsigned i = 0; i < list->count && i < REPORT_KEPT; i++)
        fprintf(to, "dflockd: %s%s\n", mark, list->text[i]);
    if (list->count > REPORT_KEPT)
        fprintf(to, "dflockd: and %u more %s\n", list->count - REPORT_KEPT, plural);
}

void report_print(const struct config_report *report, FILE *to)
{
    print_list(&report->warnings, "warning: ", "warnings", to);
    print_list(&report->errors, "", "errors", to);
}
