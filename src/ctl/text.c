/*
 * ctl/text.c - see text.h.
 */
#include "ctl/text.h"

#include "base/utf8.h"

#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <wchar.h>

static bool terminal_is_utf8;

void text_init(void)
{
    /* Only that: numbers are written the same everywhere. */
    setlocale(LC_CTYPE, "");
    terminal_is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

void *text_memory(void *p)
{
    if (p == NULL) {
        fputs("dflockctl: no memory\n", stderr);
        exit(EX_OSERR);
    }
    return p;
}

static bool can_be_shown(uint32_t code)
{
    if (code == UTF8_BAD || utf8_is_control(code))
        return false;
    return code < 0x80 || (terminal_is_utf8 && wcwidth((wchar_t)code) >= 0);
}

char *text_clean(const char *bytes, size_t n)
{
    char *clean = text_memory(malloc(4 * n + 1));
    size_t len = 0;

    for (size_t at = 0; at < n;) {
        uint32_t code;
        size_t piece = utf8_next(bytes + at, n - at, &code);

        if (can_be_shown(code)) {
            memcpy(clean + len, bytes + at, piece);
            len += piece;
        } else {
            char escaped[16];
            size_t k = utf8_escape(escaped, bytes + at, piece);

            memcpy(clean + len, escaped, k);
            len += k;
        }
        at += piece;
    }
    clean[len] = '\0';
    return clean;
}

/* The next character of a cleaned text and the columns it takes. */
static size_t next(const char *text, size_t n, size_t *columns)
{
    uint32_t code;
    size_t piece = utf8_next(text, n, &code);
    int width = code < 0x80 || code == UTF8_BAD ? 1 : wcwidth((wchar_t)code);

    *columns = width < 0 ? 1 : (size_t)width;
    return piece;
}

size_t text_width(const char *clean)
{
    size_t n = strlen(clean), width = 0, columns;

    for (size_t at = 0; at < n; width += columns)
        at += next(clean + at, n - at, &columns);
    return width;
}

size_t text_fit(const char *clean, size_t columns)
{
    size_t n = strlen(clean), at = 0;

    while (at < n) {
        size_t width, piece = next(clean + at, n - at, &width);

        if (width > columns)
            break;
        columns -= width;
        at += piece;
    }
    return at;
}

char *text_format(const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    return text_memory(text);
}

char *text_seconds(double seconds)
{
    unsigned long long s = seconds < 1e15 ? (unsigned long long)seconds : 1000000000000000;

    if (seconds < 10)
        return text_format("%.3fs", seconds);
    if (s < 60)
        return text_format("%.1fs", seconds);
    if (s < 3600)
        return text_format("%llum%02llus", s / 60, s % 60);
    if (s < 86400)
        return text_format("%lluh%02llum", s / 3600, s / 60 % 60);
    return text_format("%llud%02lluh", s / 86400, s / 3600 % 24);
}

struct table {
    size_t columns, rows, room;
    size_t *width;
    bool *right;
    char **cell; /* rows × columns */
};

static void measure(struct table *t, char *const *cells)
{
    for (size_t i = 0; i < t->columns; i++) {
        size_t width = text_width(cells[i]);

        if (width > t->width[i])
            t->width[i] = width;
    }
}

void table_add(struct table *t, char *const *cells)
{
    if (t->rows == t->room) {
        t->room = t->room > 0 ? 2 * t->room : 16;
        t->cell = text_memory(reallocarray(t->cell, t->room * t->columns, sizeof(*t->cell)));
    }
    memcpy(t->cell + t->rows++ * t->columns, cells, t->columns * sizeof(*cells));
    measure(t, cells);
}

struct table *table_new(const char *const *heads, size_t n)
{
    struct table *t = text_memory(calloc(1, sizeof(*t)));
    char **cells = text_memory(calloc(n, sizeof(*cells)));

    t->columns = n;
    t->width = text_memory(calloc(n, sizeof(*t->width)));
    t->right = text_memory(calloc(n, sizeof(*t->right)));
    for (size_t i = 0; i < n; i++) {
        t->right[i] = heads[i][0] == '>';
        cells[i] = text_memory(strdup(heads[i] + t->right[i]));
    }
    table_add(t, cells);
    free(cells);
    return t;
}

char *table_line(const struct table *t, size_t line)
{
    char *const *cells = t->cell + line * t->columns;
    char *text = NULL;
    size_t n;
    FILE *out;

    if (line >= t->rows)
        return NULL;
    out = text_memory(open_memstream(&text, &n));
    for (size_t i = 0; i < t->columns; i++) {
        size_t pad = t->width[i] - text_width(cells[i]);
        bool last = i + 1 == t->columns;

        fprintf(out, "%*s%s", t->right[i] ? (int)pad : 0, "", cells[i]);
        if (!last)
            fprintf(out, "%*s", (t->right[i] ? 0 : (int)pad) + 2, "");
    }
    if (fclose(out) != 0)
        text_memory(NULL);
    return text;
}

void table_print(const struct table *t, FILE *out)
{
    for (size_t i = 0; i < t->rows; i++) {
        char *line = table_line(t, i);

        fprintf(out, "%s\n", line);
        free(line);
    }
}

void table_free(struct table *t)
{
    for (size_t i = 0; i < t->rows * t->columns; i++)
        free(t->cell[i]);
    free(t->cell);
    free(t->width);
    free(t->right);
    free(t);
}
