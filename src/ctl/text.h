/*
 * ctl/text.h - what people see: keys that may hold any bytes, durations, tables with aligned
 * columns. One thread. Without memory it says so and ends the process, by exit().
 */
#ifndef CTL_TEXT_H
#define CTL_TEXT_H

#include <stddef.h>
#include <stdio.h>

/* Once, before the rest: finds out what the terminal's character set is. */
void text_init(void);

/* `p`, which must not be NULL: exit status EX_OSERR. For what malloc() and its like return. */
void *text_memory(void *p);

/* A copy, owned by the caller, that can be printed: what is no UTF-8, or a control character, or no
   character that the terminal's character set has, is written as \xNN. */
char *text_clean(const char *bytes, size_t n);

/* How many columns a cleaned text takes. */
size_t text_width(const char *clean);

/* How many of its bytes fit into so many columns. */
size_t text_fit(const char *clean, size_t columns);

/* "0.250s", "12.3s", "5m03s", "2h07m", "3d04h"; owned by the caller. */
char *text_seconds(double seconds);

/* printf() into memory owned by the caller. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct table;

/* `heads`: n of them; the columns whose heads begin with '>' are aligned to the right. */
struct table *table_new(const char *const *heads, size_t n);
/* One row: n cells, cleaned, which become the table's. */
void table_add(struct table *t, char *const *cells);
/* Two blanks between columns, none at the end of a line. */
void table_print(const struct table *t, FILE *out);
/* The same, line by line, into what the caller frees; line 0 is the heads. NULL after the last. */
char *table_line(const struct table *t, size_t line);
void table_free(struct table *t);

#endif
