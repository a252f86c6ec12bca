/*
 * http/call.h - a request that is being answered, from its last byte to its answer's.
 *
 * Its client may leave before: then `req` is NULL, what it would have been answered is thrown away,
 * and whoever keeps the call (a long poll) hears of it by `left`. A call is answered exactly once, by
 * one of the functions below, which also count it; it is freed then.
 */
#ifndef HTTP_CALL_H
#define HTTP_CALL_H

#include "http/body.h"
#include "http/path.h"
#include "http/routes.h"
#include "shm/region.h"

#include <event2/http.h>
#include <jansson.h>

struct evbuffer;
struct http;
struct link;

/* {"error": …}: the code, its status. */
enum http_error {
    HTTP_ERR_BAD_REQUEST,
    HTTP_ERR_UNAUTHORIZED,
    HTTP_ERR_NOT_FOUND,
    HTTP_ERR_NOT_HELD,
    HTTP_ERR_METHOD_NOT_ALLOWED,
    HTTP_ERR_LIMIT_MISMATCH,
    HTTP_ERR_ALREADY_ENQUEUED,
    HTTP_ERR_NOT_ENQUEUED,
    HTTP_ERR_LEASE_EXPIRED,
    HTTP_ERR_SESSION_GONE,
    HTTP_ERR_RATE_LIMITED,
    HTTP_ERR_INTERNAL,
    HTTP_ERR_MAX_LOCKS,
    HTTP_ERR_MAX_WAITERS,
    HTTP_ERR_MAX_SESSIONS,
    HTTP_ERR_MAX_SESSIONS_PER_IP,
    HTTP_ERR_DRAINING,
    HTTP_ERR_FENCE_PERSISTENCE,
    HTTP_ERRORS,
};

struct call {
    struct http *h;
    struct evhttp_request *req; /* NULL: its client has left */
    struct link *link;          /* its connection; valid while req is */
    const struct route *route;
    const struct route *labelled; /* for the metrics; NULL: unmatched */
    enum http_method method;
    uint64_t began; /* BOOTTIME ns */
    uint64_t refused_at; /* ditto, of a 401 that is put off: auth.c */
    uint8_t result; /* enum reply: the line protocol's word for the answer, for the metrics */
    bool counted;   /* in the metrics: not so a preflight */
    const struct path *path; /* while its handler runs, not longer; and so is */
    const struct body *body;
    char key[KEY_MAX]; /* of ROUTE_LOCK and ROUTE_SEM, checked */
    uint32_t key_len;
    uint32_t session; /* connection slot, of ROUTE_SESSION; 0 = none */
    uint64_t session_id; /* its connection id: the slot may be another's by the time of the answer */
    /* A list of those that wait: long polls (polls.c), long answers (tasks.c). */
    struct call *prev, *next;
    struct task *task; /* tasks.c's: that makes its answer */
    struct event *timer;
    struct body *kept; /* what `body` was; freed with the call */
    unsigned waits; /* polls.c's: for what; 0: it is no long poll */
    void (*left)(struct call *c); /* the client has left; answer it all the same, nobody hears */
};

/* evhttp's: a whole request has come. */
void call_come(struct evhttp_request *req, void *http);

/* The client has left: link.c's. */
void call_client_left(struct call *c);

/* Takes the reference. */
void call_answer_json(struct call *c, int status, json_t *object);
/* `bytes` are copied; a type such as "text/html; charset=utf-8". */
void call_answer_bytes(struct call *c, int status, const char *type, const char *bytes, size_t n);
/* Takes the buffer, without a copy. */
void call_answer_buffer(struct call *c, int status, const char *type, struct evbuffer *body);
/* Ditto; its bytes are lent, and whose they are counts them as unread (owed.h). */
void call_answer_lent(struct call *c, int status, const char *type, struct evbuffer *body);
/* 204 */
void call_answer_nothing(struct call *c);
/* Its client has left: for the statistics only. */
void call_answer_nobody(struct call *c);
/* `detail` is for people, in UTF-8; NULL: what is said of this error anyway, if anything is. */
void call_answer_error(struct call *c, enum http_error error, const char *detail);

/* Before the answer: adds a header to it. */
void call_header(struct call *c, const char *name, const char *value);

const char *call_error_code(enum http_error error);
int call_error_status(enum http_error error);

#endif
