/*
 * http/metrics.c - see metrics.h. Counting; what is shown is exposition.c's.
 */
#include "http/metrics.h"

#include "http/exposition.h"
#include "http/http.h"
#include "proto/request.h"

#include <event2/buffer.h>
#include <string.h>

/* Numbers that are in counters which other versions read. */
_Static_assert(ROW_NONE == 0 && ROW_ACQUIRE_LOCK == 1 && ROW_ACQUIRE_SEM == 4 &&
                   ROW_ENQUEUE_LOCK == 7 && ROW_WAIT_SEM == 10 && ROW_AUTH_ANY == 13 &&
                   ROW_EVICT_ANY == 16 && (int)ROW_COUNT <= (int)COUNTERS_COMMANDS,
               "commands in counters");
_Static_assert(REPLY_OK == 0 && REPLY_ERROR == 4 && REPLY_MAX_LOCKS == 6 &&
                   REPLY_NOT_ENQUEUED == 9 && REPLY_DRAINING == 12 &&
                   (int)REPLY_COUNT <= (int)COUNTERS_RESULTS,
               "results in counters");
_Static_assert((int)ROUTE_COUNT < (int)HTTP_ROUTES && (int)METHODS == (int)HTTP_METHODS,
               "requests in counters");

static const enum request_row row_of[ROUTE_COUNT] = {
    [ROUTE_ID_STATS] = ROW_STATS_ANY,           [ROUTE_ID_RESOURCES] = ROW_LIST_ANY,
    [ROUTE_ID_RESOURCE] = ROW_SHOW_ANY,         [ROUTE_ID_SESSION_PING] = ROW_PING_ANY,
    [ROUTE_ID_LOCK_ACQUIRE] = ROW_ACQUIRE_LOCK, [ROUTE_ID_LOCK_RELEASE] = ROW_RELEASE_LOCK,
    [ROUTE_ID_LOCK_RENEW] = ROW_RENEW_LOCK,     [ROUTE_ID_LOCK_ENQUEUE] = ROW_ENQUEUE_LOCK,
    [ROUTE_ID_LOCK_WAIT] = ROW_WAIT_LOCK,       [ROUTE_ID_SEM_ACQUIRE] = ROW_ACQUIRE_SEM,
    [ROUTE_ID_SEM_RELEASE] = ROW_RELEASE_SEM,   [ROUTE_ID_SEM_RENEW] = ROW_RENEW_SEM,
    [ROUTE_ID_SEM_ENQUEUE] = ROW_ENQUEUE_SEM,   [ROUTE_ID_SEM_WAIT] = ROW_WAIT_SEM,
};

static const struct {
    enum reply word;
    int limit; /* enum limit_hit + 1 */
} errors[HTTP_ERRORS] = {
    [HTTP_ERR_BAD_REQUEST] = {.word = REPLY_ERROR},
    [HTTP_ERR_UNAUTHORIZED] = {.word = REPLY_AUTH},
    [HTTP_ERR_NOT_FOUND] = {.word = REPLY_ERROR},
    [HTTP_ERR_NOT_HELD] = {.word = REPLY_ERROR},
    [HTTP_ERR_METHOD_NOT_ALLOWED] = {.word = REPLY_ERROR},
    [HTTP_ERR_LIMIT_MISMATCH] = {.word = REPLY_LIMIT_MISMATCH},
    [HTTP_ERR_ALREADY_ENQUEUED] = {.word = REPLY_ALREADY_ENQUEUED},
    [HTTP_ERR_NOT_ENQUEUED] = {.word = REPLY_NOT_ENQUEUED},
    [HTTP_ERR_LEASE_EXPIRED] = {.word = REPLY_LEASE_EXPIRED},
    [HTTP_ERR_SESSION_GONE] = {.word = REPLY_ERROR},
    [HTTP_ERR_RATE_LIMITED] = {.word = REPLY_ERROR, .limit = LIMIT_HTTP_RATE + 1},
    [HTTP_ERR_INTERNAL] = {.word = REPLY_ERROR},
    [HTTP_ERR_MAX_LOCKS] = {.word = REPLY_MAX_LOCKS},     /* both are counted */
    [HTTP_ERR_MAX_WAITERS] = {.word = REPLY_MAX_WAITERS}, /* by op_count() */
    [HTTP_ERR_MAX_SESSIONS] = {.word = REPLY_ERROR, .limit = LIMIT_SESSIONS + 1},
    [HTTP_ERR_MAX_SESSIONS_PER_IP] = {.word = REPLY_ERROR, .limit = LIMIT_SESSIONS_PER_IP + 1},
    [HTTP_ERR_DRAINING] = {.word = REPLY_DRAINING},
    [HTTP_ERR_FENCE_PERSISTENCE] = {.word = REPLY_ERROR},
};

/* Any other will do that differs when rows or their order do. */
static uint64_t hash_of_table(void)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (unsigned i = 0; i < ROUTE_COUNT; i++)
        for (const char *p = route_table[i].template;; p++) {
            hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
            if (!*p)
                break;
        }
    return hash;
}

void metrics_init(struct http *h)
{
    struct http_counters *n = &h->r->http;
    uint64_t hash = hash_of_table();

    if (n->table == hash)
        return;
    memset(n, 0, sizeof(*n));
    n->table = hash;
}

void metrics_count(const struct call *c, int status, uint64_t took_ns)
{
    unsigned path = c->labelled ? (unsigned)(c->labelled - route_table) : ROUTE_COUNT;
    unsigned method = (unsigned)__builtin_ctz(c->method);
    enum request_row row = c->route ? row_of[c->route - route_table] : ROW_NONE;
    struct http_counters *n = &c->h->r->http;

    n->requests[path][method][exposition_status(status)]++;
    n->took[path][method] += took_ns;
    if (row != ROW_NONE && status != METRICS_CLIENT_LEFT)
        tally_add(&c->h->sh.slot->counters.commands[row][c->result], 1);
}

void metrics_serve(struct call *c)
{
    struct evbuffer *text = evbuffer_new();

    if (text && exposition_write(c->h, text))
        call_answer_bytes(c, 200, "text/plain; version=0.0.4; charset=utf-8",
                          (const char *)evbuffer_pullup(text, -1), evbuffer_get_length(text));
    else
        call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
    if (text)
        evbuffer_free(text);
}

enum reply metrics_word(enum http_error error)
{
    return errors[error].word;
}

void metrics_error(struct http *h, enum http_error error)
{
    if (errors[error].limit)
        tally_add(&h->sh.slot->counters.rejected[errors[error].limit - 1], 1);
}

void metrics_refused(struct http *h)
{
    tally_add(&h->sh.slot->counters.rejected[LIMIT_HTTP_CONNECTIONS_PER_IP], 1);
}

void metrics_handshake(struct http *h, bool good)
{
    tally_add(&h->sh.slot->counters.handshakes, good);
    tally_add(&h->sh.slot->counters.handshakes_failed, !good);
}
