/*
 * serving/report.c - the JSON of stats, list and show. See report.h. Runs in lock workers and in the
 * HTTP worker.
 *
 * What is shown is copied under a shard's lock, a bounded number of resources at a time, and made
 * into text after the lock is released. The text stays in pieces: a large one is never copied
 * together.
 */
#include "serving/report.h"

#include "base/clock.h"
#include "base/random.h"
#include "base/utf8.h"
#include "serving/text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECES = 12 };

enum { PART_LOCKS, PART_SEMS, PART_IDLE_LOCKS, PART_IDLE_SEMS, PARTS };

struct report {
    enum report_what what;
    enum report_fault fault;
    const char *head;
    bool walked, details;
    uint32_t limit, listed;
    struct view_filter filter;
    struct view_walk at;
    struct view_row *rows; /* VIEW_STEP of them, what one step has copied */
    struct top *top; /* NULL: not sorted */
    bool in_order;   /* the walk is over, its rows are being made into text */
    struct text part[PARTS];
    struct text frame; /* what is around the parts */
    struct { const struct text *from; size_t at, n; } piece[PIECES];
    unsigned npieces;
    uint64_t size;
};

static int add_dumped(const char *bytes, size_t n, void *arg)
{
    text_add(arg, bytes, n);
    return 0;
}

/* Appends an object (whose reference it takes) to a list of them. */
static void add_object(struct text *t, json_t *object)
{
    if (t->n)
        text_put(t, ",");
    if (!object || json_dump_callback(object, add_dumped, t,
                                      JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)))
        t->failed = true;
    json_decref(object);
}

/* Any bytes as JSON text: what is not UTF-8 is shown as U+FFFD. */
static json_t *json_key(const char *key, size_t n)
{
    char clean[KEY_MAX * 3];
    size_t len = 0;

    for (size_t at = 0; at < n;) {
        uint32_t code;
        size_t piece = utf8_next(key + at, n - at, &code);

        if (code == UTF8_BAD) {
            memcpy(clean + len, UTF8_REPLACEMENT, 3);
            len += 3;
        } else {
            memcpy(clean + len, key + at, piece);
            len += piece;
        }
        at += piece;
    }
    return json_stringn(clean, len);
}

/* Seconds with a fraction of milliseconds, never negative. */
static json_t *json_seconds(uint64_t from, uint64_t to)
{
    return json_real(to > from ? (double)((to - from) / NS_PER_MS) / 1000.0 : 0.0);
}

static const char *kind_name(unsigned kind)
{
    return kind == KIND_SEM ? "sem" : "lock";
}

static void stats_row(struct report *j, const struct view_row *r, uint64_t now)
{
    bool lock = r->limit == 1;
    json_t *key = json_key(r->key, r->key_len);

    if (r->nholders == 0 && r->nwaiters == 0)
        add_object(&j->part[lock ? PART_IDLE_LOCKS : PART_IDLE_SEMS],
                   json_pack("{s:o,s:o}", "key", key, "idle_s",
                             json_seconds(r->last_active, now)));
    else if (lock)
        add_object(&j->part[PART_LOCKS],
                   json_pack("{s:o,s:I,s:o,s:I}", "key", key, "owner_conn_id",
                             (json_int_t)r->holder.conn_id, "lease_expires_in_s",
                             json_seconds(now, r->holder.end), "waiters",
                             (json_int_t)r->nwaiters));
    else
        add_object(&j->part[PART_SEMS],
                   json_pack("{s:o,s:I,s:I,s:I}", "key", key, "limit", (json_int_t)r->limit,
                             "holders", (json_int_t)r->nholders, "waiters",
                             (json_int_t)r->nwaiters));
}

static json_t *json_peer(const struct view_entry *e)
{
    char text[64];
    const char *peer = view_peer(e, text, sizeof(text));

    return peer ? json_string(peer) : json_null();
}

static json_t *json_holder(const struct view_entry *e, uint64_t now)
{
    char fence[24];

    /* As text: JavaScript's numbers end at 2^53. */
    snprintf(fence, sizeof(fence), "%llu", (unsigned long long)e->fence);
    return json_pack("{s:I,s:o,s:s,s:o,s:o}", "conn_id", (json_int_t)e->conn_id, "addr",
                     json_peer(e), "fence", fence, "held_s", json_seconds(e->since, now),
                     "lease_expires_in_s", json_seconds(now, e->end));
}

/* The whole key, whatever its bytes are: GET it. */
static json_t *json_href(const struct view_row *r)
{
    char path[32 + 3 * KEY_MAX];
    size_t n = (size_t)snprintf(path, sizeof(path), "/v1/resources/%s/", kind_name(r->kind));

    return json_stringn(path, n + view_escape(path + n, r->key, r->key_len));
}

static void list_row(struct report *j, const struct view_row *r, uint64_t now)
{
    json_t *o = json_pack("{s:s,s:o,s:I,s:I,s:I,s:o}", "kind", kind_name(r->kind), "key",
                          json_key(r->key, r->key_len), "limit", (json_int_t)r->limit, "holders",
                          (json_int_t)r->nholders, "waiters", (json_int_t)r->nwaiters,
                          "oldest_wait_s", json_seconds(r->waits_since, now));

    if (j->details && o &&
        (json_object_set_new(o, "idle_s",
                             r->nholders || r->nwaiters ? json_null()
                                                        : json_seconds(r->last_active, now)) ||
         json_object_set_new(o, "holder",
                             r->nholders ? json_holder(&r->holder, now) : json_null()) ||
         json_object_set_new(o, "href", json_href(r)))) {
        json_decref(o);
        o = NULL; /* no memory: not without it, then */
    }
    j->listed++;
    add_object(&j->part[0], o);
}

static void walk_step(struct shared *sh, struct report *j, uint64_t now)
{
    bool list = j->what == REPORT_LIST && !j->top;
    uint32_t left = list ? j->limit - j->listed : VIEW_STEP;
    uint32_t n = view_step(sh, &j->at, &j->filter, now, j->rows,
                           left < VIEW_STEP ? left : VIEW_STEP, NULL);

    for (uint32_t i = 0; i < n; i++) {
        if (j->what == REPORT_STATS)
            stats_row(j, &j->rows[i], now);
        else if (j->top)
            top_offer(j->top, &j->rows[i]);
        else
            list_row(j, &j->rows[i], now);
    }
    j->walked = j->at.over || (list && j->listed >= j->limit);
    if (j->walked && j->top) {
        j->limit = top_finish(j->top);
        j->in_order = true;
        j->walked = j->limit == 0;
    }
}

static void order_step(struct report *j, uint64_t now)
{
    for (uint32_t i = 0; i < VIEW_STEP && j->listed < j->limit; i++)
        list_row(j, top_row(j->top, j->listed), now);
    j->walked = j->listed == j->limit;
}

/* The next piece of the answer: bytes [at, at + n) of a text that grows no more. */
static void add_piece(struct report *j, const struct text *from, size_t at, size_t n)
{
    if (from->failed)
        j->fault = REPORT_NO_MEMORY;
    j->piece[j->npieces].from = from;
    j->piece[j->npieces].at = at;
    j->piece[j->npieces++].n = n;
    j->size += n;
}

/* Appends words around the parts, as a piece of their own. */
static void add_frame(struct report *j, const char *words)
{
    size_t at = j->frame.n;

    text_put(&j->frame, words);
    add_piece(j, &j->frame, at, j->frame.n - at);
}

static void finish_stats(struct shared *sh, struct report *j)
{
    static const char *const head[PARTS] = {",\"locks\":[", "],\"semaphores\":[",
                                            "],\"idle_locks\":[", "],\"idle_semaphores\":["};
    char connections[64];
    uint64_t n = __atomic_load_n(&sh->r->nconns, __ATOMIC_RELAXED) +
                 __atomic_load_n(&sh->r->nsessions, __ATOMIC_RELAXED);

    snprintf(connections, sizeof(connections), "%s{\"connections\":%llu", j->head,
             (unsigned long long)n);
    add_frame(j, connections);
    for (unsigned i = 0; i < PARTS; i++) {
        add_frame(j, head[i]);
        add_piece(j, &j->part[i], 0, j->part[i].n);
    }
    add_frame(j, "]}\n");
}

static void finish_list(struct report *j)
{
    char text[TOP_CURSOR_MAX + 64], cursor[TOP_CURSOR_MAX] = "";

    if (j->top)
        top_cursor(j->top, cursor);
    else if (!j->at.over)
        snprintf(cursor, sizeof(cursor), "%u-%u", j->at.shard, j->at.index);
    snprintf(text, sizeof(text), cursor[0] ? "],\"cursor\":\"%s\"" : "],\"cursor\":null", cursor);
    text_put(&j->frame, j->head);
    add_piece(j, &j->frame, 0, j->frame.n);
    add_frame(j, "{\"resources\":[");
    add_piece(j, &j->part[0], 0, j->part[0].n);
    add_frame(j, text);
    if (j->top) {
        snprintf(text, sizeof(text), ",\"matched\":%llu",
                 (unsigned long long)top_offered(j->top));
        add_frame(j, text);
    }
    add_frame(j, "}\n");
}

static void show_head(struct report *j, const struct report_query *q, const struct view_one *one)
{
    json_t *key = json_key(q->key, q->key_len);
    json_t *head = key ? json_pack("{s:s,s:o,s:I,s:I,s:I}", "kind", kind_name(q->kind), "key", key,
                                   "limit", (json_int_t)one->limit, "holder_count",
                                   (json_int_t)one->nholders, "waiters",
                                   (json_int_t)one->nwaiters)
                       : NULL;

    text_put(&j->frame, j->head);
    if (!head || json_dump_callback(head, add_dumped, &j->frame, JSON_COMPACT))
        j->frame.failed = true;
    json_decref(head);
    if (j->frame.n > 0)
        j->frame.n--; /* its closing brace: the lists follow */
    add_piece(j, &j->frame, 0, j->frame.n);
    add_frame(j, ",\"holders\":[");
}

static void show_one(struct shared *sh, struct report *j, const struct report_query *q,
                     struct view_one *one, uint64_t now)
{
    if (!view_one(sh, q->kind, q->key, q->key_len, now, one)) {
        uint32_t shard = table_shard_of(shared_key(sh, q->kind, q->key, q->key_len).hash);

        j->fault = table_lost(&sh->table, shard) ? REPORT_LOST : REPORT_NOT_FOUND;
        return;
    }
    for (uint32_t i = 0; i < one->holders_shown; i++)
        add_object(&j->part[0], json_holder(&one->holder[i], now));
    for (uint32_t i = 0; i < one->queue_shown; i++)
        add_object(&j->part[1],
                   json_pack("{s:I,s:o,s:o}", "conn_id", (json_int_t)one->queue[i].conn_id, "addr",
                             json_peer(&one->queue[i]), "waiting_s",
                             json_seconds(one->queue[i].since, now)));
    show_head(j, q, one);
    add_piece(j, &j->part[0], 0, j->part[0].n);
    add_frame(j, "],\"queue\":[");
    add_piece(j, &j->part[1], 0, j->part[1].n);
    add_frame(j, "]}\n");
}

/* One resource in full, in one step. */
static void show(struct shared *sh, struct report *j, const struct report_query *q, uint64_t now)
{
    struct view_one *one = malloc(sizeof(*one)); /* too large for a stack */

    if (one)
        show_one(sh, j, q, one, now);
    else
        j->fault = REPORT_NO_MEMORY;
    free(one);
}

/* "SHARD-INDEX", as finish_list() wrote it. */
static bool read_cursor(struct report *j, const struct report_query *q)
{
    char text[32];
    unsigned shard, index;
    int end = 0;

    if (!q->cursor)
        return true;
    if (j->top)
        return top_after(j->top, q->cursor, q->cursor_len);
    if (q->cursor_len >= sizeof(text))
        return false;
    memcpy(text, q->cursor, q->cursor_len);
    text[q->cursor_len] = '\0';
    if (sscanf(text, "%u-%u%n", &shard, &index, &end) != 2 || text[end] || shard >= SHARD_COUNT ||
        index < 1)
        return false;
    j->at.shard = shard;
    j->at.index = index;
    return true;
}

int report_init(void)
{
    size_t seed;
    int err = random_bytes(&seed, sizeof(seed));

    if (!err)
        json_object_seed(seed | 1); /* 0 would mean: look for one */
    return err;
}

struct report *report_begin(struct shared *sh, const struct report_query *q, uint64_t now)
{
    struct report *j = calloc(1, sizeof(*j));

    if (!j)
        return NULL;
    j->what = q->what;
    j->head = q->head;
    j->limit = q->limit;
    j->details = q->details;
    j->filter = (struct view_filter){.kinds = 1 << KIND_LOCK | 1 << KIND_SEM, .states = VIEW_ANY};
    j->at.index = 1;
    if (q->what == REPORT_SHOW) {
        show(sh, j, q, now);
        j->walked = true;
        return j;
    }
    j->rows = malloc(VIEW_STEP * sizeof(*j->rows));
    if (!j->rows) {
        free(j);
        return NULL;
    }
    if (q->what == REPORT_LIST) {
        j->filter = q->filter;
        if (q->sorted && !(j->top = top_new(q->sort, q->descending, q->limit)))
            j->fault = REPORT_NO_MEMORY;
        else if (!read_cursor(j, q))
            j->fault = REPORT_BAD_CURSOR;
        j->walked = j->fault != REPORT_FINE;
    }
    return j;
}

bool report_step(struct shared *sh, struct report *j, uint64_t now)
{
    if (!j->walked && j->in_order)
        order_step(j, now);
    else if (!j->walked)
        walk_step(sh, j, now);
    if (!j->walked)
        return false;
    if (j->npieces == 0 && !j->fault) {
        if (j->what == REPORT_STATS)
            finish_stats(sh, j);
        else
            finish_list(j);
    }
    return true;
}

enum report_fault report_fault(const struct report *j)
{
    return j->fault;
}

uint64_t report_size(const struct report *j)
{
    return j->fault ? 0 : j->size;
}

const char *report_piece(const struct report *j, unsigned i, size_t *n)
{
    if (i >= j->npieces)
        return NULL;
    *n = j->piece[i].n;
    return *n ? j->piece[i].from->bytes + j->piece[i].at : "";
}

size_t report_read(const struct report *j, uint64_t at, char *out, size_t room)
{
    size_t done = 0, n;
    const char *bytes;

    for (unsigned i = 0; done < room && (bytes = report_piece(j, i, &n)); i++) {
        if (at >= n) {
            at -= n;
            continue;
        }
        n -= (size_t)at;
        if (n > room - done)
            n = room - done;
        memcpy(out + done, bytes + at, n);
        done += n;
        at = 0;
    }
    return done;
}

void report_free(struct report *j)
{
    for (unsigned i = 0; i < PARTS; i++)
        text_free(&j->part[i]);
    text_free(&j->frame);
    if (j->top)
        top_free(j->top);
    free(j->rows);
    free(j);
}
