/*
 * worker/report.c - the JSON of stats, list and show. See report.h.
 *
 * What is shown is copied under a shard's lock, a bounded number of resources at a time, and made
 * into text after the lock is released. The text stays in pieces: a large one is never copied
 * together.
 */
#include "worker/report.h"

#include "base/clock.h"
#include "base/random.h"
#include "base/utf8.h"
#include "proto/reply.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STEP_SLOTS = 128,    /* resource slots copied under one lock */
    LIST_MAX = 100,      /* protocol.md */
    SHOW_QUEUE = 100,
    SHOW_HOLDERS = 1000, /* shown at most; their number is always whole */
    PIECES = 12,
};

struct text {
    char *bytes;
    size_t n, room;
    bool failed; /* out of memory */
};

enum { PART_LOCKS, PART_SEMS, PART_IDLE_LOCKS, PART_IDLE_SEMS, PARTS };

/* A resource as copied under the lock. */
struct row {
    uint64_t owner_conn_id, end, last_active;
    uint64_t waits_since; /* the head of the queue; UINT64_MAX: nobody waits */
    uint32_t limit, nholders, nwaiters;
    uint16_t key_len;
    uint8_t kind;
    char key[KEY_MAX];
};

struct report {
    enum request_verb verb;
    uint32_t shard, index; /* where the walk goes on */
    uint32_t listed;
    bool walked, failed;
    char prefix[KEY_MAX];
    uint32_t prefix_len;
    struct text part[PARTS];
    struct text frame; /* what is around the parts */
    struct { const struct text *from; size_t at, n; } piece[PIECES];
    unsigned npieces;
    uint64_t size;
};

static void add_bytes(struct text *t, const char *bytes, size_t n)
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

static void add_text(struct text *t, const char *s)
{
    add_bytes(t, s, strlen(s));
}

static int add_dumped(const char *bytes, size_t n, void *arg)
{
    add_bytes(arg, bytes, n);
    return 0;
}

/* Appends an object (whose reference it takes) to a list of them. */
static void add_object(struct text *t, json_t *object)
{
    if (t->n)
        add_text(t, ",");
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

static void stats_row(struct worker *w, struct report *j, const struct row *r)
{
    bool lock = r->limit == 1;
    json_t *key = json_key(r->key, r->key_len);

    if (r->nholders == 0 && r->nwaiters == 0)
        add_object(&j->part[lock ? PART_IDLE_LOCKS : PART_IDLE_SEMS],
                   json_pack("{s:o,s:o}", "key", key, "idle_s",
                             json_seconds(r->last_active, w->now)));
    else if (lock)
        add_object(&j->part[PART_LOCKS],
                   json_pack("{s:o,s:I,s:o,s:I}", "key", key, "owner_conn_id",
                             (json_int_t)r->owner_conn_id, "lease_expires_in_s",
                             json_seconds(w->now, r->end), "waiters", (json_int_t)r->nwaiters));
    else
        add_object(&j->part[PART_SEMS],
                   json_pack("{s:o,s:I,s:I,s:I}", "key", key, "limit", (json_int_t)r->limit,
                             "holders", (json_int_t)r->nholders, "waiters",
                             (json_int_t)r->nwaiters));
}

static void list_row(struct worker *w, struct report *j, const struct row *r)
{
    j->listed++;
    add_object(&j->part[0], json_pack("{s:s,s:o,s:I,s:I,s:I,s:o}", "kind",
                                      r->kind == KIND_SEM ? "sem" : "lock", "key",
                                      json_key(r->key, r->key_len), "limit",
                                      (json_int_t)r->limit, "holders", (json_int_t)r->nholders,
                                      "waiters", (json_int_t)r->nwaiters, "oldest_wait_s",
                                      json_seconds(r->waits_since, w->now)));
}

static bool wanted(const struct worker *w, const struct report *j, uint32_t shard, uint32_t i)
{
    const struct resource *r = table_resource(&w->sh.table, shard, i);

    return r->state != RES_FREE &&
           (j->verb != VERB_LIST ||
            (r->key_len >= j->prefix_len &&
             memcmp(table_key_bytes(&w->sh.table, shard, i), j->prefix, j->prefix_len) == 0));
}

static void copy_row(const struct worker *w, uint32_t shard, uint32_t i, struct row *out)
{
    const struct resource *r = table_resource(&w->sh.table, shard, i);

    out->owner_conn_id = out->end = 0;
    if (r->holders) {
        out->owner_conn_id = table_node(&w->sh.table, r->holders)->conn_id;
        out->end = table_node(&w->sh.table, r->holders)->end;
    }
    out->waits_since = r->q_head ? table_node(&w->sh.table, r->q_head)->since : UINT64_MAX;
    out->last_active = r->last_active;
    out->limit = r->limit;
    out->nholders = r->nholders;
    out->nwaiters = r->nwaiters;
    out->kind = r->kind;
    out->key_len = r->key_len;
    memcpy(out->key, table_key_bytes(&w->sh.table, shard, i), r->key_len);
}

/* Copies the next slots of the current shard and moves on. Returns how many rows there are. */
static uint32_t walk(struct worker *w, struct report *j, struct row *rows)
{
    uint32_t room = j->verb == VERB_LIST ? LIST_MAX - j->listed : STEP_SLOTS;
    uint32_t n = 0, looked = 0;
    bool last = true;
    struct tx tx;

    if (shared_begin(&w->sh, &tx, j->shard, w->now)) {
        while (j->index <= tx.s->res_bump && looked < STEP_SLOTS && n < room) {
            if (wanted(w, j, j->shard, j->index))
                copy_row(w, j->shard, j->index, &rows[n++]);
            j->index++;
            looked++;
        }
        last = j->index > tx.s->res_bump;
        shared_end(&w->sh, &tx);
    }
    if (last) {
        j->index = 1;
        j->shard++;
    }
    j->walked = j->shard == SHARD_COUNT || (j->verb == VERB_LIST && j->listed + n >= LIST_MAX);
    return n;
}

static void walk_step(struct worker *w, struct report *j)
{
    static struct row rows[STEP_SLOTS];
    uint32_t n = walk(w, j, rows);

    for (uint32_t i = 0; i < n; i++) {
        if (j->verb == VERB_STATS)
            stats_row(w, j, &rows[i]);
        else
            list_row(w, j, &rows[i]);
    }
}

/* The next piece of the answer: bytes [at, at + n) of a text that grows no more. */
static void add_piece(struct report *j, const struct text *from, size_t at, size_t n)
{
    if (from->failed)
        j->failed = true;
    j->piece[j->npieces].from = from;
    j->piece[j->npieces].at = at;
    j->piece[j->npieces++].n = n;
    j->size += n;
}

/* Appends words around the parts, as a piece of their own. */
static void add_frame(struct report *j, const char *words)
{
    size_t at = j->frame.n;

    add_text(&j->frame, words);
    add_piece(j, &j->frame, at, j->frame.n - at);
}

static void finish_stats(struct worker *w, struct report *j)
{
    static const char *const head[PARTS] = {",\"locks\":[", "],\"semaphores\":[",
                                            "],\"idle_locks\":[", "],\"idle_semaphores\":["};
    char connections[64];

    snprintf(connections, sizeof(connections), REPLY_JSON_HEAD "{\"connections\":%llu",
             (unsigned long long)__atomic_load_n(&w->r->nconns, __ATOMIC_RELAXED));
    add_frame(j, connections);
    for (unsigned i = 0; i < PARTS; i++) {
        add_frame(j, head[i]);
        add_piece(j, &j->part[i], 0, j->part[i].n);
    }
    add_frame(j, "]}\n");
}

static void finish_list(struct report *j)
{
    char cursor[64];

    if (j->shard < SHARD_COUNT)
        snprintf(cursor, sizeof(cursor), "],\"cursor\":\"%u-%u\"}\n", j->shard, j->index);
    else
        snprintf(cursor, sizeof(cursor), "],\"cursor\":null}\n");
    add_frame(j, REPLY_JSON_HEAD "{\"resources\":[");
    add_piece(j, &j->part[0], 0, j->part[0].n);
    add_frame(j, cursor);
}

/* A holder or waiter as copied under the lock. */
struct entry {
    uint64_t conn_id, fence, since, end;
    uint8_t addr[16];
    uint16_t port;
    uint8_t family;
};

static void copy_entry(struct worker *w, uint32_t node, struct entry *out)
{
    const struct node *n = table_node(&w->sh.table, node);
    const struct conn *c = conns_slot(w->r, n->owner);

    *out = (struct entry){.conn_id = n->conn_id, .fence = n->order, .since = n->since,
                          .end = n->end};
    if (n->owner) {
        memcpy(out->addr, c->addr, sizeof(out->addr));
        out->port = c->port;
        out->family = c->family;
    }
}

static json_t *entry_peer(const struct entry *e)
{
    struct conn c = {.family = e->family, .port = e->port};
    char text[64];

    memcpy(c.addr, e->addr, sizeof(c.addr));
    return e->family ? json_string(conn_peer_text(&c, text, sizeof(text))) : json_null();
}

static void show_head(struct report *j, const struct request *req, uint32_t limit,
                      uint32_t nholders, uint32_t nwaiters)
{
    json_t *key = json_key(req->key, req->key_len);
    json_t *head = key ? json_pack("{s:s,s:o,s:I,s:I,s:I}", "kind",
                                   req->kind == REQUEST_SEM ? "sem" : "lock", "key", key, "limit",
                                   (json_int_t)limit, "holder_count", (json_int_t)nholders,
                                   "waiters", (json_int_t)nwaiters)
                       : NULL;

    add_text(&j->frame, REPLY_JSON_HEAD);
    if (!head || json_dump_callback(head, add_dumped, &j->frame, JSON_COMPACT))
        j->frame.failed = true;
    json_decref(head);
    if (j->frame.n > 0)
        j->frame.n--; /* its closing brace: the lists follow */
    add_piece(j, &j->frame, 0, j->frame.n);
    add_frame(j, ",\"holders\":[");
}

/* One resource in full, in one step. */
static void show(struct worker *w, struct report *j, const struct request *req)
{
    static struct entry holders[SHOW_HOLDERS], queue[SHOW_QUEUE];
    struct table_key key = shared_key(&w->sh, (enum kind)req->kind, req->key, req->key_len);
    uint32_t nh = 0, nq = 0, res, limit = 0, nholders = 0, nwaiters = 0;
    struct text hs = {0}, qs = {0};
    struct tx tx;

    j->walked = true;
    if (!shared_begin(&w->sh, &tx, table_shard_of(key.hash), w->now)) {
        j->failed = true;
        return;
    }
    res = table_find(&tx, &key);
    if (res) {
        const struct resource *r = table_resource(&w->sh.table, tx.shard, res);
        uint32_t i;

        limit = r->limit;
        nholders = r->nholders;
        nwaiters = r->nwaiters;
        for (i = r->holders; i && nh < SHOW_HOLDERS; i = table_node(&w->sh.table, i)->next)
            copy_entry(w, i, &holders[nh++]);
        for (i = r->q_head; i && nq < SHOW_QUEUE; i = table_node(&w->sh.table, i)->next)
            copy_entry(w, i, &queue[nq++]);
    }
    shared_end(&w->sh, &tx);
    if (!res) {
        j->failed = true;
        return;
    }
    for (uint32_t i = 0; i < nh; i++) {
        char fence[24];

        /* As text: JavaScript's numbers end at 2^53. */
        snprintf(fence, sizeof(fence), "%llu", (unsigned long long)holders[i].fence);
        add_object(&hs, json_pack("{s:I,s:o,s:s,s:o,s:o}", "conn_id",
                                  (json_int_t)holders[i].conn_id, "addr", entry_peer(&holders[i]),
                                  "fence", fence, "held_s", json_seconds(holders[i].since, w->now),
                                  "lease_expires_in_s", json_seconds(w->now, holders[i].end)));
    }
    for (uint32_t i = 0; i < nq; i++)
        add_object(&qs, json_pack("{s:I,s:o,s:o}", "conn_id", (json_int_t)queue[i].conn_id, "addr",
                                  entry_peer(&queue[i]), "waiting_s",
                                  json_seconds(queue[i].since, w->now)));
    show_head(j, req, limit, nholders, nwaiters);
    /* The two lists become the report's own. */
    j->part[0] = hs;
    j->part[1] = qs;
    add_piece(j, &j->part[0], 0, hs.n);
    add_frame(j, "],\"queue\":[");
    add_piece(j, &j->part[1], 0, qs.n);
    add_frame(j, "]}\n");
}

/* "SHARD-INDEX", as finish_list() wrote it. */
static bool read_cursor(struct report *j, const struct request *req)
{
    char text[32];
    unsigned shard, index;
    int end = 0;

    if (!req->cursor)
        return true;
    if (req->cursor_len >= sizeof(text))
        return false;
    memcpy(text, req->cursor, req->cursor_len);
    text[req->cursor_len] = '\0';
    if (sscanf(text, "%u-%u%n", &shard, &index, &end) != 2 || text[end] || shard >= SHARD_COUNT ||
        index < 1)
        return false;
    j->shard = shard;
    j->index = index;
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

struct report *report_begin(struct worker *w, const struct request *req)
{
    struct report *j = calloc(1, sizeof(*j));

    if (!j)
        return NULL;
    j->verb = req->verb;
    j->index = 1;
    if (req->verb == VERB_LIST) {
        memcpy(j->prefix, req->key, req->key_len);
        j->prefix_len = req->key_len;
        if (!read_cursor(j, req))
            j->failed = j->walked = true;
    } else if (req->verb == VERB_SHOW) {
        show(w, j, req);
        j->walked = true;
    }
    return j;
}

bool report_step(struct worker *w, struct report *j)
{
    if (!j->walked)
        walk_step(w, j);
    if (!j->walked)
        return false;
    if (j->npieces == 0 && !j->failed) {
        if (j->verb == VERB_STATS)
            finish_stats(w, j);
        else if (j->verb == VERB_LIST)
            finish_list(j);
    }
    return true;
}

uint64_t report_size(const struct report *j)
{
    return j->failed ? 0 : j->size;
}

size_t report_read(const struct report *j, uint64_t at, char *out, size_t room)
{
    size_t done = 0;

    for (unsigned i = 0; i < j->npieces && done < room; i++) {
        size_t n = j->piece[i].n;

        if (at >= n) {
            at -= n;
            continue;
        }
        n -= (size_t)at;
        if (n > room - done)
            n = room - done;
        memcpy(out + done, j->piece[i].from->bytes + j->piece[i].at + at, n);
        done += n;
        at = 0;
    }
    return done;
}

void report_free(struct report *j)
{
    for (unsigned i = 0; i < PARTS; i++)
        free(j->part[i].bytes);
    free(j->frame.bytes);
    free(j);
}
