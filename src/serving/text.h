/*
 * serving/text.h - bytes that grow: an answer that is being made. Private memory; a failure sticks, so
 * that it is asked for once, at the end.
 */
#ifndef SERVING_TEXT_H
#define SERVING_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
    char *bytes;
    size_t n, room;
    bool failed; /* out of memory */
};

void text_add(struct text *t, const void *bytes, size_t n);
void text_put(struct text *t, const char *s);
void text_printf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_free(struct text *t);

#endif
