/*
 * http/page.c - see page.h.
 *
 * src/http/page/ has the document, its style and its script; {{name}} in it is filled by a function.
 * The script asks for the same document every two seconds, so that there is one place that writes it.
 */
#include "http/page.h"

#include "base/clock.h"
#include "base/random.h"
#include "base/utf8.h"
#include "http/call.h"
#include "http/http.h"
#include "http/look.h"
#include "http/page_parts.h"
#include "http/tasks.h"
#include "proto/request.h"

#include <http/page/assets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

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

/* ---- the document ---- */

static void own(struct page *p, const char *tag, const unsigned char *bytes, size_t n)
{
    if (p->live)
        return;
    text_printf(&p->out, "<%s nonce=\"%s\">\n", tag, p->nonce);
    text_add(&p->out, bytes, n);
    text_printf(&p->out, "</%s>", tag);
}

static void style(struct page *p)
{
    own(p, "style", page_css, sizeof(page_css) - 1);
}

static void script(struct page *p)
{
    own(p, "script", page_js, sizeof(page_js) - 1);
}

static const struct {
    const char *name;
    void (*write)(struct page *p);
} parts[] = {
    {"title", page_title}, {"style", style},           {"script", script},
    {"self", page_self},   {"verdict", page_verdict},  {"tiles", page_tiles},
    {"form", page_form},   {"workers", page_workers},  {"count", page_count},
    {"open", page_open},   {"heads", page_heads},      {"rows", page_rows},
    {"paging", page_paging},
};

static void write_part(struct page *p, const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strlen(parts[i].name) == n && memcmp(parts[i].name, name, n) == 0) {
            parts[i].write(p);
            return;
        }
    __builtin_trap(); /* the document and this table are of the same build */
}

static void write_document(struct page *p)
{
    const char *at = (const char *)page_html, *mark;

    while ((mark = strstr(at, "{{"))) {
        size_t n = strcspn(mark, "}");

        text_add(&p->out, at, (size_t)(mark - at));
        write_part(p, mark + 2, n - 2);
        at = mark + n + 2;
    }
    text_put(&p->out, at);
}

/* ---- the work ---- */

static enum task_step step(struct http *h, void *work)
{
    static struct view_row rows[VIEW_STEP];
    struct page *p = work;
    uint32_t n;

    p->now = h->now;
    if (!p->at.over) {
        n = view_step(&h->sh, &p->at, &p->q.filter, p->now, rows, VIEW_STEP, &p->totals);
        for (uint32_t i = 0; i < n; i++)
            top_offer(p->top, &rows[i]);
        return TASK_MORE;
    }
    p->rows = top_finish(p->top);
    if (p->open_len)
        p->found = view_one(&h->sh, (enum kind)p->open_kind, p->open_key, p->open_len, p->now,
                            &p->one);
    for (uint32_t i = 0; i < p->rows && p->found; i++) {
        const struct view_row *r = top_row(p->top, i);

        if (r->kind == p->open_kind && r->key_len == p->open_len &&
            memcmp(r->key, p->open_key, r->key_len) == 0)
            p->listed = true;
    }
    write_document(p);
    return TASK_DONE;
}

static void answer(struct http *h, void *work, struct call *c)
{
    struct page *p = work;
    char policy[256];

    (void)h;
    if (p->out.failed) {
        call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
        return;
    }
    snprintf(policy, sizeof(policy),
             "default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; img-src data:; "
             "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
             p->nonce, p->nonce);
    call_header(c, "Content-Security-Policy", policy);
    call_header(c, "Referrer-Policy", "no-referrer");
    call_header(c, "Cache-Control", "no-store");
    call_answer_bytes(c, 200, "text/html; charset=utf-8", p->out.bytes, p->out.n);
}

static void drop(void *work)
{
    struct page *p = work;

    if (p->top)
        top_free(p->top);
    text_free(&p->out);
    free(p);
}

static const struct task_type page_task = {step, answer, drop};

static bool make_nonce(struct page *p)
{
    unsigned char bytes[PAGE_NONCE / 2];

    if (random_bytes(bytes, sizeof(bytes)) != 0)
        return false;
    for (unsigned i = 0; i < sizeof(bytes); i++)
        snprintf(p->nonce + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

/* KIND/KEY */
static bool read_open(struct page *p, const struct path *path)
{
    char value[KEY_MAX + 8];
    int n = path_query(path, "open", value, sizeof(value)), kind;
    const char *slash = n > 0 ? memchr(value, '/', (size_t)n) : NULL;
    size_t len;

    if (n == -1 || n == 0)
        return true;
    if (!slash)
        return false;
    kind = look_kind(value, (size_t)(slash - value));
    len = (size_t)(value + n - slash - 1);
    if (kind < 0 || !request_key_ok(slash + 1, len))
        return false;
    p->open_kind = (uint8_t)kind;
    p->open_len = (uint32_t)len;
    memcpy(p->open_key, slash + 1, len);
    return true;
}

static const char *read_query(struct page *p, const struct path *path)
{
    const char *why;
    char value[16];

    if (!listing_parse(path, "open part", &p->q, &why))
        return why;
    if (!read_open(p, path))
        return "open is lock/KEY or sem/KEY";
    p->live = path_query(path, "part", value, sizeof(value)) == 4;
    p->stated = path_query(path, "state", value, sizeof(value)) > 0;
    p->chosen = p->q.sorted;
    if (!p->stated)
        p->q.filter.states = VIEW_HELD | VIEW_WAITING;
    if (!p->chosen) {
        p->q.sort = TOP_WAITERS;
        p->q.descending = true;
    }
    return NULL;
}

void page_serve(struct call *c)
{
    struct page *p = calloc(1, sizeof(*p));
    const char *why;

    if (!p) {
        call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
        return;
    }
    p->h = c->h;
    p->at.index = 1;
    why = read_query(p, c->path);
    if (!why) {
        p->top = top_new(p->q.sort, p->q.descending, p->q.limit);
        if (!p->top || !make_nonce(p)) {
            drop(p);
            call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
            return;
        }
        if (p->q.cursor_len && !top_after(p->top, p->q.cursor, p->q.cursor_len))
            why = "cursor is what the page before gave, for the same sort";
    }
    if (why) {
        drop(p);
        call_answer_error(c, HTTP_ERR_BAD_REQUEST, why);
        return;
    }
    tasks_add(c, &page_task, p);
}
