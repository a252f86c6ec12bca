/*
 * http/page.c - see page.h.
 *
 * src/http/page/ has the document, its style and its script; {{name}} in it is filled by a function.
 * The script asks for the same document every two seconds, so that there is one place that writes it.
 * It is written in bounded steps, and once for all who have asked for the same; only style and script,
 * which bear the nonce of an answer, are added to each.
 */
#include "http/page.h"

#include "base/clock.h"
#include "base/random.h"
#include "http/call.h"
#include "http/http.h"
#include "http/look.h"
#include "http/page_parts.h"
#include "http/tasks.h"
#include "proto/request.h"

#include <event2/buffer.h>
#include <http/page/assets.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the document ---- */

/* Into the pieces of it that are made, without a copy. */
static void bytes_sent(const void *bytes, size_t n, void *arg)
{
    (void)n, (void)arg;
    free((void *)(uintptr_t)bytes);
}

static void put_aside(struct page *p)
{
    struct text *t = &p->out;

    if (t->failed || t->n == 0)
        return;
    if (evbuffer_add_reference(p->piece[p->at_piece], t->bytes, t->n, bytes_sent, NULL) == 0)
        *t = (struct text){0};
    else
        t->failed = true;
}

/* Here something comes that differs from one who asks to the next: add_own(). */
static void next_piece(struct page *p)
{
    put_aside(p);
    p->at_piece++;
}

static const struct {
    const char *name;
    void (*write)(struct page *p);
    bool (*write_some)(struct page *p); /* true: all of it */
} parts[] = {
    {"title", page_title, NULL},     {"style", next_piece, NULL}, {"script", next_piece, NULL},
    {"self", page_self, NULL},       {"verdict", page_verdict, NULL},
    {"tiles", page_tiles, NULL},     {"facts", page_facts, NULL}, {"form", page_form, NULL},
    {"workers", page_workers, NULL}, {"count", page_count, NULL}, {"open", page_open, NULL},
    {"heads", page_heads, NULL},     {"rows", NULL, page_rows},   {"paging", page_paging, NULL},
};

/* True: it is whole. */
static bool write_part(struct page *p, const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strlen(parts[i].name) == n && memcmp(parts[i].name, name, n) == 0) {
            if (parts[i].write_some)
                return parts[i].write_some(p);
            parts[i].write(p);
            return true;
        }
    __builtin_trap(); /* the document and this table are of the same build */
}

/* A step of it; true: that was the last. */
static bool write_some(struct page *p)
{
    const char *mark;

    while ((mark = strstr(p->written, "{{"))) {
        size_t n = strcspn(mark, "}");

        text_add(&p->out, p->written, (size_t)(mark - p->written));
        p->written = mark;
        if (!write_part(p, mark + 2, n - 2)) {
            put_aside(p);
            return false;
        }
        p->written = mark + n + 2;
    }
    text_put(&p->out, p->written);
    put_aside(p);
    return true;
}

/* ---- the work ---- */

static void begin_writing(struct page *p)
{
    p->rows = top_finish(p->top);
    if (p->open_len)
        p->found = view_one(&p->h->sh, (enum kind)p->open_kind, p->open_key, p->open_len, p->now,
                            &p->one);
    for (uint32_t i = 0; i < p->rows && p->found; i++)
        p->listed |= page_is_open(p, top_row(p->top, i));
    p->day = clock_realtime_ns() - clock_boottime_ns();
    p->written = (const char *)page_html;
}

static enum task_step step(struct http *h, void *work)
{
    static struct view_row rows[VIEW_STEP];
    struct page *p = work;
    uint32_t n;

    if (p->at.over) {
        if (!p->written)
            begin_writing(p);
        return write_some(p) ? TASK_DONE : TASK_MORE;
    }
    p->now = h->now;
    n = view_step(&h->sh, &p->at, &p->q.filter, p->now, rows, VIEW_STEP, &p->totals);
    for (uint32_t i = 0; i < n; i++)
        top_offer(p->top, &rows[i]);
    return TASK_MORE;
}

/* Who looks at the same shares the work. */
static bool same(const void *work, const void *other)
{
    const struct page *a = work, *b = other;

    return strcmp(a->query, b->query) == 0;
}

/* ---- an answer ---- */

struct nonce {
    char text[33];
};

static bool make_nonce(struct nonce *nonce)
{
    unsigned char bytes[16];

    if (random_bytes(bytes, sizeof(bytes)) != 0)
        return false;
    for (unsigned i = 0; i < sizeof(bytes); i++)
        snprintf(nonce->text + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

/* Style or script: the program has them, they need no copy. */
static bool add_own(struct evbuffer *out, const char *tag, const struct nonce *nonce,
                    const unsigned char *bytes, size_t n)
{
    return evbuffer_add_printf(out, "<%s nonce=\"%s\">\n", tag, nonce->text) > 0 &&
           evbuffer_add_reference(out, bytes, n, NULL, NULL) == 0 &&
           evbuffer_add_printf(out, "</%s>", tag) > 0;
}

static bool add_document(struct evbuffer *out, const struct page *p, const struct nonce *nonce)
{
    for (unsigned i = 0; i < PAGE_PIECES; i++) {
        if (i == 1 && !p->live && !add_own(out, "style", nonce, page_css, sizeof(page_css) - 1))
            return false;
        if (i == 2 && !p->live && !add_own(out, "script", nonce, page_js, sizeof(page_js) - 1))
            return false;
        if (evbuffer_add_buffer_reference(out, p->piece[i]) != 0)
            return false;
    }
    return true;
}

static void answer(struct http *h, void *work, struct call *c)
{
    struct page *p = work;
    struct evbuffer *out = evbuffer_new();
    struct nonce nonce;
    char policy[256];

    (void)h;
    if (!out || p->out.failed || !make_nonce(&nonce) || !add_document(out, p, &nonce)) {
        if (out)
            evbuffer_free(out);
        call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
        return;
    }
    snprintf(policy, sizeof(policy),
             "default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; img-src data:; "
             "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
             nonce.text, nonce.text);
    call_header(c, "Content-Security-Policy", policy);
    call_header(c, "Referrer-Policy", "no-referrer");
    call_header(c, "Cache-Control", "no-store");
    call_answer_buffer(c, 200, "text/html; charset=utf-8", out);
}

static void drop(void *work)
{
    struct page *p = work;

    if (p->top)
        top_free(p->top);
    for (unsigned i = 0; i < PAGE_PIECES; i++)
        if (p->piece[i])
            evbuffer_free(p->piece[i]);
    text_free(&p->out);
    free(p->query);
    free(p);
}

static const struct task_type page_task = {step, answer, drop, same};

/* ---- what is asked for ---- */

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

static struct page *page_new(struct call *c)
{
    struct page *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->h = c->h;
    p->at.index = 1;
    p->query = strdup(c->path->query);
    for (unsigned i = 0; i < PAGE_PIECES; i++)
        p->piece[i] = evbuffer_new();
    if (p->query && p->piece[0] && p->piece[1] && p->piece[2])
        return p;
    drop(p);
    return NULL;
}

void page_serve(struct call *c)
{
    struct page *p = page_new(c);
    const char *why;

    if (!p) {
        call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
        return;
    }
    why = read_query(p, c->path);
    if (!why) {
        p->top = top_new(p->q.sort, p->q.descending, p->q.limit);
        if (!p->top) {
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
