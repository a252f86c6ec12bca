/*
 * http/call.c - see call.h.
 *
 * The order of checks: framing → CORS → counting → rate limit → headers that are there twice →
 * authentication → routing → key → session's header → session → body → fields → the handler.
 */
#include "http/call.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/auth.h"
#include "http/cors.h"
#include "http/framing.h"
#include "http/guard.h"
#include "http/http.h"
#include "http/link.h"
#include "http/metrics.h"
#include "http/sessions.h"
#include "proto/request.h"

#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *code;
    int status;
} errors[HTTP_ERRORS] = {
    [HTTP_ERR_BAD_REQUEST] = {"bad_request", 400},
    [HTTP_ERR_UNAUTHORIZED] = {"unauthorized", 401},
    [HTTP_ERR_NOT_FOUND] = {"not_found", 404},
    [HTTP_ERR_NOT_HELD] = {"not_held", 404},
    [HTTP_ERR_METHOD_NOT_ALLOWED] = {"method_not_allowed", 405},
    [HTTP_ERR_LIMIT_MISMATCH] = {"limit_mismatch", 409},
    [HTTP_ERR_ALREADY_ENQUEUED] = {"already_enqueued", 409},
    [HTTP_ERR_NOT_ENQUEUED] = {"not_enqueued", 409},
    [HTTP_ERR_LEASE_EXPIRED] = {"lease_expired", 409},
    [HTTP_ERR_SESSION_GONE] = {"session_gone", 410},
    [HTTP_ERR_RATE_LIMITED] = {"rate_limited", 429},
    [HTTP_ERR_INTERNAL] = {"internal", 500},
    [HTTP_ERR_MAX_LOCKS] = {"max_locks", 503},
    [HTTP_ERR_MAX_WAITERS] = {"max_waiters", 503},
    [HTTP_ERR_MAX_SESSIONS] = {"max_sessions", 503},
    [HTTP_ERR_MAX_SESSIONS_PER_IP] = {"max_sessions_per_ip", 503},
    [HTTP_ERR_DRAINING] = {"draining", 503},
    [HTTP_ERR_FENCE_PERSISTENCE] = {"fence_persistence", 503},
};

/* What can be done about it whatever was asked; who answers may know more. */
static const char *const details[HTTP_ERRORS] = {
    [HTTP_ERR_NOT_FOUND] = "there is no such route: /v1/openapi.json has those that there are",
    [HTTP_ERR_METHOD_NOT_ALLOWED] = "another method is wanted here: Allow says which",
    [HTTP_ERR_SESSION_GONE] =
        "the session is unknown, or has ended: POST /v1/sessions makes a new one",
};

const char *call_error_code(enum http_error error)
{
    return errors[error].code;
}

int call_error_status(enum http_error error)
{
    return errors[error].status;
}

/* ---- answers ---- */

void call_header(struct call *c, const char *name, const char *value)
{
    if (c->req)
        evhttp_add_header(evhttp_request_get_output_headers(c->req), name, value);
}

static void end(struct call *c, int status)
{
    uint64_t now = clock_boottime_ns();

    if (c->counted)
        metrics_count(c, status, now > c->began ? now - c->began : 0);
    if (c->session)
        sessions_leave(c->h, c);
    if (c->timer)
        event_free(c->timer);
    free(c->kept);
    free(c);
}

/* `body` may be NULL; it is emptied. */
static void answer(struct call *c, int status, const char *type, struct evbuffer *body, bool lent)
{
    struct evhttp_request *req = c->req;

    if (req) {
        char length[24];

        link_served(c->link);
        if (type)
            call_header(c, "Content-Type", type);
        call_header(c, "X-Content-Type-Options", "nosniff");
        snprintf(length, sizeof(length), "%zu", body ? evbuffer_get_length(body) : 0);
        if (status != 204) /* libevent leaves it out where no body follows */
            call_header(c, "Content-Length", length);
        c->req = NULL;
        link_send(c->link, req, status, status == 429 ? "Too Many Requests" : NULL,
                  c->method == METHOD_HEAD ? NULL : body, lent);
    }
    end(c, status);
}

/* No memory, or another bug of ours: what it was is nobody else's affair. */
static void answer_internal(struct call *c)
{
    static const char text[] = "{\"error\":\"internal\"}\n";
    struct evbuffer *body = evbuffer_new();

    log_error("a request cannot be answered", log_str("route", c->route ? c->route->template : ""));
    c->result = (uint8_t)metrics_word(HTTP_ERR_INTERNAL);
    if (body)
        evbuffer_add_reference(body, text, sizeof(text) - 1, NULL, NULL);
    answer(c, 500, "application/json", body, false);
    if (body)
        evbuffer_free(body);
}

void call_answer_bytes(struct call *c, int status, const char *type, const char *bytes, size_t n)
{
    struct evbuffer *body = evbuffer_new();

    if (body && evbuffer_add(body, bytes, n) == 0)
        answer(c, status, type, body, false);
    else
        answer_internal(c);
    if (body)
        evbuffer_free(body);
}

void call_answer_buffer(struct call *c, int status, const char *type, struct evbuffer *body)
{
    answer(c, status, type, body, false);
    evbuffer_free(body);
}

void call_answer_lent(struct call *c, int status, const char *type, struct evbuffer *body)
{
    answer(c, status, type, body, true);
    evbuffer_free(body);
}

void call_answer_nobody(struct call *c)
{
    end(c, METRICS_CLIENT_LEFT);
}

void call_answer_nothing(struct call *c)
{
    answer(c, 204, NULL, NULL, false);
}

void call_answer_json(struct call *c, int status, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    struct evbuffer *body = evbuffer_new();

    if (text && body && evbuffer_add(body, text, strlen(text)) == 0 &&
        evbuffer_add(body, "\n", 1) == 0)
        answer(c, status, "application/json", body, false);
    else
        answer_internal(c);
    if (body)
        evbuffer_free(body);
    free(text);
    json_decref(object);
}

void call_answer_error(struct call *c, enum http_error error, const char *detail)
{
    json_t *o;

    if (error == HTTP_ERR_INTERNAL) {
        answer_internal(c);
        return;
    }
    o = json_pack("{s:s,s:s*}", "error", errors[error].code, "detail",
                  detail ? detail : details[error]);
    c->result = (uint8_t)metrics_word(error);
    metrics_error(c->h, error);
    call_answer_json(c, errors[error].status, o);
}

/* ---- a request ---- */

static enum http_method method_of(const struct evhttp_request *req)
{
    switch (evhttp_request_get_command(req)) {
    case EVHTTP_REQ_GET:
        return METHOD_GET;
    case EVHTTP_REQ_POST:
        return METHOD_POST;
    case EVHTTP_REQ_DELETE:
        return METHOD_DELETE;
    case EVHTTP_REQ_HEAD:
        return METHOD_HEAD;
    case EVHTTP_REQ_OPTIONS:
        return METHOD_OPTIONS;
    default:
        return METHOD_OTHER;
    }
}

static bool take_key(struct call *c)
{
    int i = routes_param(c->route, "key");

    if (c->path->seg[i].bad || !request_key_ok(c->path->seg[i].at, c->path->seg[i].len)) {
        call_answer_error(c, HTTP_ERR_BAD_REQUEST,
                          "the key has 1 to 256 bytes, percent-encoded, without white space");
        return false;
    }
    memcpy(c->key, c->path->seg[i].at, c->path->seg[i].len);
    c->key_len = (uint32_t)c->path->seg[i].len;
    return true;
}

static bool take_session(struct call *c)
{
    const char *id = evhttp_find_header(evhttp_request_get_input_headers(c->req),
                                        "X-Dflockd-Session");
    int64_t slot;

    if (!id) {
        call_answer_error(c, HTTP_ERR_BAD_REQUEST,
                          "X-Dflockd-Session is missing: POST /v1/sessions makes a session");
        return false;
    }
    slot = sessions_find(c->h, id, strlen(id));
    if (slot <= 0) {
        call_answer_error(c, HTTP_ERR_SESSION_GONE, NULL);
        return false;
    }
    c->session = (uint32_t)slot;
    c->session_id = conns_slot(c->h->r, c->session)->id;
    sessions_enter(c->h, c);
    return true;
}

static bool take_body(struct call *c, struct body *out)
{
    struct evbuffer *in = evhttp_request_get_input_buffer(c->req);
    size_t n = evbuffer_get_length(in);
    const char *bytes = (const char *)evbuffer_pullup(in, -1);
    char why[BODY_WHY] = "";

    if (n == 0 && c->route->flags & ROUTE_BODY_MAY_LACK) {
        memset(out, 0, sizeof(*out));
        return true;
    }
    if ((bytes || n == 0) && body_parse(bytes, n, c->route->fields, out, why))
        return true;
    if (why[0])
        call_answer_error(c, HTTP_ERR_BAD_REQUEST, why);
    else
        answer_internal(c);
    return false;
}

static void serve(struct call *c)
{
    static struct body body;
    const struct route *r = c->route;

    if (r->flags & (ROUTE_LOCK | ROUTE_SEM) && !take_key(c))
        return;
    if (r->flags & ROUTE_SESSION && !take_session(c))
        return;
    c->body = &body;
    if (r->fields && !take_body(c, &body))
        return;
    r->serve(c);
}

static void refuse_route(struct call *c, unsigned allow)
{
    char text[64];

    if (allow == 0) {
        call_answer_error(c, HTTP_ERR_NOT_FOUND, NULL);
        return;
    }
    call_header(c, "Allow", routes_methods_text(allow, text, sizeof(text)));
    if (c->method == METHOD_OPTIONS)
        call_answer_nothing(c);
    else
        call_answer_error(c, HTTP_ERR_METHOD_NOT_ALLOWED, NULL);
}

static void dispatch(struct call *c)
{
    static struct path path;
    unsigned allow = 0;
    const char *why = NULL;
    enum framing framing = framing_check(&c->link->head, c->req, &why);
    bool good = path_parse(&path, evhttp_request_get_uri(c->req));

    c->path = &path;
    if (good)
        c->route = routes_find(&path, c->method, &allow, &c->labelled);
    if (framing != FRAMING_GOOD) {
        call_header(c, "Connection", "close");
        link_last(c->link);
    }
    if (cors_answer(c))
        return;
    c->counted = true;
    if (framing == FRAMING_BAD) {
        call_answer_error(c, HTTP_ERR_BAD_REQUEST, why);
        return;
    }
    if (!(c->route && c->route->flags & ROUTE_UNLIMITED) && !guard_rate(c))
        return;
    why = framing_who(c->req);
    if (why) {
        call_answer_error(c, HTTP_ERR_BAD_REQUEST, why);
        return;
    }
    if (!(c->route && c->route->flags & ROUTE_OPEN) && !auth_admits(c))
        return;
    if (!good)
        call_answer_error(c, HTTP_ERR_BAD_REQUEST, "the target is not a path");
    else if (!c->route)
        refuse_route(c, allow);
    else
        serve(c);
}

void call_come(struct evhttp_request *req, void *http)
{
    struct http *h = http;
    struct link *l = link_of(h, evhttp_request_get_connection(req));
    struct call *c;
    int fd;

    if (!l || h->leaves) { /* what is served now would not be answered */
        evhttp_connection_free(evhttp_request_get_connection(req));
        return;
    }
    c = calloc(1, sizeof(*c));
    if (!c) {
        log_error("no memory for a request");
        evhttp_send_error(req, 503, NULL);
        return;
    }
    h->now = clock_boottime_ns();
    c->h = h;
    c->req = req;
    c->began = h->now;
    c->method = method_of(req);
    c->link = l;
    fd = l->fd;
    link_serves(l, c);
    dispatch(c);
    link_waits(h, fd); /* the call may be gone, the link as well */
}

void call_client_left(struct call *c)
{
    c->req = NULL;
    c->link = NULL;
    if (c->left)
        c->left(c);
}
