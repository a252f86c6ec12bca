/*
 * serving/text.c - see text.h.
 */
#include "serving/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_add(struct text *t, const void *bytes, size_t n)
{
    if (t->failed || n == 0) /* an empty list has no bytes, not even a pointer to them */
        return;
    if (t->n + n > t->room) {
        size_t room = t->room * 2 > t->n + n ? t->room * 2 : t->n + n + 4096;
        char *grown = realloc(t->bytes, room);

        if (!grown) {
            t->failed = true;
            return;
        }
        t->bytes = grown;
        t->room = room;
    }
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
}

void text_put(struct text *t, const char *s)
{
    text_add(t, s, strlen(s));
}

void text_printf(struct text *t, const char *format, ...)
{
    char line[1024];
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof(line))
        __builtin_trap(); /* what may be longer goes by text_add() */
    text_add(t, line, (size_t)n);
}

void text_free(struct text *t)
{
    free(t->bytes);
    *t = (struct text){0};
}
