/*
 * http/pagetext.c - the status page's words: whatever is in a key, as text of HTML; numbers; times.
 */
#include "http/page_parts.h"

#include "base/clock.h"
#include "base/date.h"
#include "base/utf8.h"

#include <stdio.h>

static void escape(struct text *t, const char *bytes, size_t n, const char *before,
                   const char *after)
{
    for (size_t at = 0; at < n;) {
        uint32_t code;
        size_t piece = utf8_next(bytes + at, n - at, &code);
        char hex[16];

        if (code == UTF8_BAD) {
            text_put(t, UTF8_REPLACEMENT);
        } else if (utf8_is_control(code)) {
            text_put(t, before);
            text_add(t, hex, utf8_escape(hex, bytes + at, piece));
            text_put(t, after);
        } else if (code == '<') {
            text_put(t, "&lt;");
        } else if (code == '>') {
            text_put(t, "&gt;");
        } else if (code == '&') {
            text_put(t, "&amp;");
        } else if (code == '"') {
            text_put(t, "&quot;");
        } else if (code == '\'') {
            text_put(t, "&#39;");
        } else {
            text_add(t, bytes + at, piece);
        }
        at += piece;
    }
}

void page_escape(struct text *t, const char *bytes, size_t n)
{
    escape(t, bytes, n, "", "");
}

void page_key(struct text *t, const char *key, size_t n)
{
    text_put(t, "<bdi>");
    escape(t, key, n, "<span class=\"code\">", "</span>");
    text_put(t, "</bdi>");
}

void page_number(struct text *t, uint64_t n)
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);

    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            text_put(t, ",");
        text_add(t, &digits[i], 1);
    }
}

void page_time(struct text *t, uint64_t from, uint64_t to)
{
    unsigned long long s = to > from ? (to - from) / NS_PER_SEC : 0;

    if (s < 60)
        text_printf(t, "%llu s", s);
    else if (s < 3600)
        text_printf(t, "%llu min %llu s", s / 60, s % 60);
    else if (s < 86400)
        text_printf(t, "%llu h %llu min", s / 3600, s / 60 % 60);
    else
        text_printf(t, "%llu d %llu h", s / 86400, s / 3600 % 24);
}

void page_date(struct page *p, uint64_t since, const char *between)
{
    struct date d = date_of(since + p->day);

    text_printf(&p->out, "%04u-%02u-%02u%s%02u:%02u:%02u", d.year, d.month, d.day, between, d.hour,
                d.minute, d.second);
}

void page_since(struct page *p, uint64_t since)
{
    text_put(&p->out, "<time datetime=\"");
    page_date(p, since, "T");
    text_put(&p->out, "Z\" title=\"since ");
    page_date(p, since, " ");
    text_put(&p->out, " UTC\">");
    page_time(&p->out, since, p->now);
    text_put(&p->out, "</time>");
}
