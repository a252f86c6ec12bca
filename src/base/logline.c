/*
 * base/logline.c - see logline.h.
 */
#include "base/logline.h"

#include "base/clock.h"
#include "base/date.h"
#include "base/err.h"
#include "base/num.h"
#include "base/utf8.h"

#include <string.h>

enum { TAIL_ROOM = sizeof(",\"truncated\":true}\n") };

/* How a level is called, and its syslog priority. */
static const struct {
    const char *name;
    char priority[4];
} levels[] = {
    [LVL_ERROR] = {"error", "<3>"},
    [LVL_WARN] = {"warn", "<4>"},
    [LVL_INFO] = {"info", "<6>"},
    [LVL_DEBUG] = {"debug", "<7>"},
};

/* All of it or nothing. */
static bool put(struct logline *l, const void *p, size_t n)
{
    if (l->cut || n > l->room - l->used) {
        l->cut = true;
        return false;
    }
    memcpy(l->text + l->used, p, n);
    l->used += n;
    return true;
}

static bool put_str(struct logline *l, const char *s)
{
    return put(l, s, strlen(s));
}

/* At least `width` digits. */
static bool put_uint(struct logline *l, uint64_t value, size_t width)
{
    char digits[NUM_U64_DIGITS];
    size_t n = num_format_u64(digits, value);

    for (; width > n; width--)
        put_str(l, "0");
    return put(l, digits, n);
}

static bool put_int(struct logline *l, int64_t value)
{
    if (value >= 0)
        return put_uint(l, (uint64_t)value, 1);
    put_str(l, "-");
    return put_uint(l, -(uint64_t)value, 1);
}

/* ISO 8601, UTC, milliseconds. */
static void put_time(struct logline *l, uint64_t ns)
{
    struct date d = date_of(ns);

    put_uint(l, d.year, 4);
    put_str(l, "-");
    put_uint(l, d.month, 2);
    put_str(l, "-");
    put_uint(l, d.day, 2);
    put_str(l, "T");
    put_uint(l, d.hour, 2);
    put_str(l, ":");
    put_uint(l, d.minute, 2);
    put_str(l, ":");
    put_uint(l, d.second, 2);
    put_str(l, ".");
    put_uint(l, ns / NS_PER_MS % 1000, 3);
    put_str(l, "Z");
}

/* One piece of utf8_next(), as it may stand between quotes. */
static bool put_piece_text(struct logline *l, const unsigned char *p, size_t n, uint32_t code)
{
    char escaped[16];

    if (code == '"' || code == '\\') {
        escaped[0] = '\\';
        escaped[1] = (char)code;
        return put(l, escaped, 2);
    }
    if (code != UTF8_BAD && !utf8_is_control(code))
        return put(l, p, n);
    return put(l, escaped, utf8_escape(escaped, p, n));
}

static bool put_piece_json(struct logline *l, const unsigned char *p, size_t n, uint32_t code)
{
    char hex[NUM_HEX_DIGITS];
    char escaped[6] = "\\u";

    if (code == UTF8_BAD)
        return put_str(l, UTF8_REPLACEMENT);
    if (code == '"' || code == '\\')
        return put(l, code == '"' ? "\\\"" : "\\\\", 2);
    if (!utf8_is_control(code))
        return put(l, p, n);
    /* All controls are in the basic plane, so four digits do. */
    num_format_hex(hex, code);
    memcpy(escaped + 2, hex + NUM_HEX_DIGITS - 4, 4);
    return put(l, escaped, sizeof(escaped));
}

static void put_pieces(struct logline *l, const unsigned char *p, size_t n)
{
    uint32_t code;

    for (size_t len; n > 0; p += len, n -= len) {
        len = utf8_next(p, n, &code);
        if (!(l->format == LOG_FORMAT_JSON ? put_piece_json(l, p, len, code)
                                           : put_piece_text(l, p, len, code)))
            return;
    }
}

/* A string that is too long is cut between characters, and still gets its closing quote. */
static bool put_quoted(struct logline *l, const void *p, size_t n)
{
    if (l->cut || l->room - l->used < 2) {
        l->cut = true;
        return false;
    }
    put_str(l, "\"");
    l->room--;
    put_pieces(l, p, n);
    l->room++;
    l->text[l->used++] = '"';
    return true;
}

/* Whether a value can stand in a text line as it is. */
static bool is_plain(const unsigned char *p, size_t n)
{
    uint32_t code;

    if (n == 0)
        return false;
    for (size_t len; n > 0; p += len, n -= len) {
        len = utf8_next(p, n, &code);
        if (code == UTF8_BAD || code == ' ' || code == '"' || code == '=' || code == '\\' ||
            utf8_is_control(code))
            return false;
    }
    return true;
}

static bool put_bytes(struct logline *l, const void *p, size_t n)
{
    if (p == NULL)
        return put_str(l, "null");
    if (l->format != LOG_FORMAT_JSON && n < l->room - l->used && is_plain(p, n))
        return put(l, p, n);
    return put_quoted(l, p, n);
}

static bool put_key(struct logline *l, const char *key, const char *unit)
{
    if (l->format == LOG_FORMAT_JSON)
        return put_str(l, ",\"") && put_str(l, key) && put_str(l, unit) && put_str(l, "\":");
    return put_str(l, " ") && put_str(l, key) && put_str(l, unit) && put_str(l, "=");
}

static bool put_value(struct logline *l, const struct log_field *f)
{
    switch (f->kind) {
    case LOG_KIND_BYTES:
        return put_bytes(l, f->bytes, f->len);
    case LOG_KIND_INT:
        return put_int(l, f->i);
    case LOG_KIND_UINT:
        return put_uint(l, f->u, 1);
    case LOG_KIND_MS:
        return put_uint(l, f->u / NS_PER_MS, 1) && put_str(l, ".") &&
               put_uint(l, f->u / NS_PER_US % 1000, 3);
    case LOG_KIND_ERR: {
        const char *text = err_text((int)f->i);

        return put_bytes(l, text, strlen(text));
    }
    case LOG_KIND_NONE:
        break;
    }
    return false;
}

void logline_field(struct logline *l, const struct log_field *f)
{
    size_t start = l->used;

    if (f->kind == LOG_KIND_NONE)
        return;
    if (!put_key(l, f->key, f->kind == LOG_KIND_MS ? "_ms" : "") || !put_value(l, f))
        l->used = start;
}

void logline_begin(struct logline *l, enum log_format format, enum log_level level, uint64_t now,
                   const char *msg)
{
    l->format = format == LOG_FORMAT_JSON_JOURNAL ? LOG_FORMAT_JSON : format;
    l->used = 0;
    l->room = sizeof(l->text) - TAIL_ROOM;
    l->cut = false;
    if (format == LOG_FORMAT_JOURNAL || format == LOG_FORMAT_JSON_JOURNAL)
        put(l, levels[level].priority, 3);
    if (l->format == LOG_FORMAT_JSON) {
        put_str(l, "{\"time\":\"");
        put_time(l, now);
        put_str(l, "\",\"level\":\"");
        put_str(l, levels[level].name);
        put_str(l, "\",\"msg\":");
        put_quoted(l, msg, strlen(msg));
    } else {
        put_time(l, now);
        put_str(l, " ");
        put_str(l, levels[level].name);
        put_str(l, " ");
        put_pieces(l, (const unsigned char *)msg, strlen(msg));
    }
}

void logline_end(struct logline *l)
{
    bool json = l->format == LOG_FORMAT_JSON;
    bool cut = l->cut;

    l->room = sizeof(l->text);
    l->cut = false;
    if (cut)
        put_str(l, json ? ",\"truncated\":true" : " truncated=true");
    put_str(l, json ? "}\n" : "\n");
}

const char *log_level_name(enum log_level level)
{
    return levels[level].name;
}
