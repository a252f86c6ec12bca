/*
 * http/look.c - see look.h.
 */
#include "http/look.h"

#include "http/call.h"
#include "http/http.h"
#include "http/tasks.h"
#include "http/listing.h"
#include "proto/request.h"
#include "serving/report.h"
#include "shm/fences.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

/* A report and who still needs it: its task, and the answers that are on their way out. */
struct look {
    struct http *h;
    struct report_query query;
    char key[KEY_MAX];
    char cursor[TOP_CURSOR_MAX];
    struct report *report; /* NULL: not begun */
    unsigned users;
    uint64_t unread;
};

void look_health(struct call *c)
{
    call_answer_json(c, 200, json_pack("{s:s}", "status", "ok"));
}

void look_ready(struct call *c)
{
    const char *status = "ok";

    if (__atomic_load_n(&c->h->r->draining, __ATOMIC_RELAXED))
        status = "draining";
    else if (__atomic_load_n(&c->h->r->fences, __ATOMIC_RELAXED) == FENCES_FAILING)
        status = "fence_persistence";
    call_answer_json(c, strcmp(status, "ok") == 0 ? 200 : 503,
                     json_pack("{s:s}", "status", status));
}

static void release(void *work)
{
    struct look *l = work;

    if (--l->users)
        return;
    l->h->unread -= l->unread;
    if (l->report)
        report_free(l->report);
    free(l);
}

static void piece_sent(const void *bytes, size_t n, void *look)
{
    (void)bytes, (void)n;
    release(look);
}

/* The report's pieces themselves go out, to however many asked. */
static bool add_pieces(struct look *l, struct evbuffer *out)
{
    const char *bytes;
    size_t n;

    for (unsigned i = 0; (bytes = report_piece(l->report, i, &n)); i++) {
        if (n == 0)
            continue;
        l->users++;
        if (evbuffer_add_reference(out, bytes, n, piece_sent, l) != 0) {
            l->users--;
            return false;
        }
    }
    return true;
}

static void answer(struct http *h, void *work, struct call *c)
{
    struct look *l = work;
    struct evbuffer *out;

    switch (report_fault(l->report)) {
    case REPORT_FINE:
        break;
    case REPORT_NOT_FOUND:
        call_answer_error(c, HTTP_ERR_NOT_FOUND, "there is no such resource now");
        return;
    case REPORT_BAD_CURSOR:
        call_answer_error(c, HTTP_ERR_BAD_REQUEST,
                          "cursor is what the page before gave, for the same sort");
        return;
    default:
        call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
        return;
    }
    out = evbuffer_new();
    if (!out || !add_pieces(l, out)) {
        if (out)
            evbuffer_free(out);
        call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
        return;
    }
    if (l->unread == 0) {
        l->unread = report_size(l->report);
        h->unread += l->unread;
    }
    call_answer_lent(c, 200, "application/json", out);
}

static enum task_step step(struct http *h, void *work)
{
    struct look *l = work;

    if (!l->report) {
        l->report = report_begin(&h->sh, &l->query, h->now);
        if (!l->report)
            return TASK_LATER;
    }
    return report_step(&h->sh, l->report, h->now) ? TASK_DONE : TASK_MORE;
}

/* All stats are. */
static bool same(const void *work, const void *other)
{
    (void)work, (void)other;
    return true;
}

static const struct task_type stats_task = {step, answer, release, same};
static const struct task_type other_task = {step, answer, release, NULL};

static struct look *look_new(struct call *c, enum report_what what)
{
    struct look *l = calloc(1, sizeof(*l));

    if (!l) {
        call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
        return NULL;
    }
    l->h = c->h;
    l->users = 1;
    l->query.what = what;
    l->query.head = "";
    return l;
}

void look_stats(struct call *c)
{
    struct look *l = look_new(c, REPORT_STATS);

    if (l)
        tasks_add(c, &stats_task, l);
}

void look_resources(struct call *c)
{
    struct listing q;
    struct look *l;
    const char *why;

    if (!listing_parse(c->path, "", &q, &why)) {
        call_answer_error(c, HTTP_ERR_BAD_REQUEST, why);
        return;
    }
    l = look_new(c, REPORT_LIST);
    if (!l)
        return;
    l->query.filter = q.filter;
    l->query.limit = q.limit;
    l->query.sorted = q.sorted;
    l->query.sort = q.sort;
    l->query.descending = q.descending;
    l->query.details = true;
    if (q.cursor_len) {
        memcpy(l->cursor, q.cursor, q.cursor_len);
        l->query.cursor = l->cursor;
        l->query.cursor_len = q.cursor_len;
    }
    tasks_add(c, &other_task, l);
}

void look_resource(struct call *c)
{
    int kind = routes_param(c->route, "kind"), key = routes_param(c->route, "key");
    const char *bytes = c->path->seg[key].at;
    size_t n = c->path->seg[key].len;
    int wanted = look_kind(c->path->seg[kind].at, c->path->seg[kind].len);
    struct look *l;

    if (wanted < 0 || c->path->seg[kind].bad) {
        call_answer_error(c, HTTP_ERR_BAD_REQUEST, "the kind is lock or sem");
        return;
    }
    if (c->path->seg[key].bad || !request_key_ok(bytes, n)) {
        call_answer_error(c, HTTP_ERR_BAD_REQUEST,
                          "the key has 1 to 256 bytes, percent-encoded, without white space");
        return;
    }
    l = look_new(c, REPORT_SHOW);
    if (!l)
        return;
    memcpy(l->key, bytes, n);
    l->query.kind = (enum kind)wanted;
    l->query.key = l->key;
    l->query.key_len = (uint32_t)n;
    tasks_add(c, &other_task, l);
}

int look_kind(const char *name, size_t n)
{
    if (n == 4 && memcmp(name, "lock", n) == 0)
        return KIND_LOCK;
    return n == 3 && memcmp(name, "sem", n) == 0 ? KIND_SEM : -1;
}
