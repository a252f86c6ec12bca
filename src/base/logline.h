/*
 * base/logline.h - how a line of the log is written: text or JSON, escapes, what happens when it
 * gets too long. Only for log.c and its tests.
 *
 * Pure, and safe in a child forked while another thread was logging: no lock, no allocation, no
 * gmtime(), no stdio.
 */
#ifndef BASE_LOGLINE_H
#define BASE_LOGLINE_H

#include "base/log.h"

struct logline {
    enum log_format format;
    size_t used;
    size_t room; /* what `used` must not exceed; the end has its own */
    bool cut;    /* something did not fit: nothing more is added */
    char text[LOG_LINE_MAX];
};

/* Starts the line. `now` is REALTIME; LOG_FORMAT_TEXT is taken as it is. */
void logline_begin(struct logline *l, enum log_format format, enum log_level level, uint64_t now,
                   const char *msg);

/* A field that does not fit leaves nothing behind, except the start of a long string. */
void logline_field(struct logline *l, const struct log_field *f);

/* Ends the line: text[0…used) is to be written. */
void logline_end(struct logline *l);

#endif
