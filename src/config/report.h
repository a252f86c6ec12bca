/*
 * config/report.h - everything that is wrong with a configuration, collected so that it is said at
 * once. Who asked for the configuration prints or logs it. Any process; takes no lock.
 */
#ifndef CONFIG_REPORT_H
#define CONFIG_REPORT_H

#include <stddef.h>
#include <stdio.h>

enum {
    REPORT_KEPT = 32,  /* texts kept of each sort; the others are only counted */
    REPORT_TEXT = 512, /* bytes of a text, the NUL included; longer ones are cut */
};

/* Texts without the program's name and without a newline; controls are escaped. */
struct report_list {
    unsigned count; /* may be more than REPORT_KEPT */
    char text[REPORT_KEPT][REPORT_TEXT];
};

struct config_report {
    struct report_list errors;
    struct report_list warnings;
    unsigned momentary; /* of the errors, those that another attempt may not meet: no memory */
};

void report_error(struct config_report *report, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void report_warn(struct config_report *report, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* There was none for this file. */
void report_no_memory(struct config_report *report, const char *origin, const char *path);

/* Of a file that could not be read: err, and what to do about it where that is known. */
void report_unreadable(struct config_report *report, const char *origin, const char *path, int err);

/* "dflockd: TEXT" a line, "dflockd: warning: TEXT", and "dflockd: and N more errors" at the end. */
void report_print(const struct config_report *report, FILE *to);

#endif
