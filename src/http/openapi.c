/*
 * http/openapi.c - see openapi.h. Paths, methods, parameters, bodies and what depends on the flags
 * of a route come from the table of routes; what only its handler knows is in `answers` below.
 */
#include "http/openapi.h"

#include "base/log.h"
#include "config.h"
#include "http/body.h"
#include "http/call.h"
#include "http/http.h"
#include "http/memory.h"

#include <ctype.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ERROR(name) (1u << HTTP_ERR_##name)
_Static_assert(HTTP_ERRORS <= 32, "bits of an unsigned");

#define GIVES (ERROR(MAX_LOCKS) | ERROR(MAX_WAITERS) | ERROR(DRAINING) | ERROR(FENCE_PERSISTENCE))

/* schema: a name in `components`, or a media type; NULL: no body. errors: beside those of all
   routes with the same flags. */
static const struct {
    int status;
    const char *schema, *says;
    unsigned errors;
} answers[ROUTE_COUNT] = {
    [ROUTE_ID_HEALTH] = {200, "Status", "It answers", 0},
    [ROUTE_ID_READY] = {200, "Status", "Locks are given", 0},
    [ROUTE_ID_METRICS] = {200, "text/plain", "The metrics", 0},
    [ROUTE_ID_OPENAPI] = {200, "application/json", "This document", 0},
    [ROUTE_ID_STATS] = {200, "Stats", "All that is held or remembered", 0},
    [ROUTE_ID_RESOURCES] = {200, "Resources", "A page; with a cursor there are more",
                            ERROR(BAD_REQUEST)},
    [ROUTE_ID_RESOURCE] = {200, "Resource", "The resource", ERROR(BAD_REQUEST) | ERROR(NOT_FOUND)},
    [ROUTE_ID_PAGE] = {200, "text/html", "The page", 0},
    [ROUTE_ID_SESSION_NEW] = {200, "Session", "The session",
                              ERROR(MAX_SESSIONS) | ERROR(MAX_SESSIONS_PER_IP) | ERROR(DRAINING)},
    [ROUTE_ID_SESSION_END] = {204, NULL, "It has ended", ERROR(BAD_REQUEST) | ERROR(SESSION_GONE)},
    [ROUTE_ID_SESSION_PING] = {204, NULL, "It lives", ERROR(BAD_REQUEST) | ERROR(SESSION_GONE)},
    [ROUTE_ID_LOCK_ACQUIRE] = {200, "Grant", "Held, or the time is over",
                               GIVES | ERROR(LEASE_EXPIRED)},
    [ROUTE_ID_LOCK_RELEASE] = {204, NULL, "Released", ERROR(NOT_HELD)},
    [ROUTE_ID_LOCK_RENEW] = {200, "Renewal", "Renewed", ERROR(NOT_HELD) | ERROR(FENCE_PERSISTENCE)},
    [ROUTE_ID_LOCK_ENQUEUE] = {200, "Place", "Held, or in the queue",
                               GIVES | ERROR(ALREADY_ENQUEUED)},
    [ROUTE_ID_LOCK_WAIT] = {200, "Grant", "Held, or the time is over",
                            ERROR(NOT_ENQUEUED) | ERROR(LEASE_EXPIRED) | ERROR(DRAINING) |
                                ERROR(FENCE_PERSISTENCE)},
    [ROUTE_ID_SEM_ACQUIRE] = {200, "Grant", "Held, or the time is over",
                              GIVES | ERROR(LEASE_EXPIRED) | ERROR(LIMIT_MISMATCH)},
    [ROUTE_ID_SEM_RELEASE] = {204, NULL, "Released", ERROR(NOT_HELD)},
    [ROUTE_ID_SEM_RENEW] = {200, "Renewal", "Renewed", ERROR(NOT_HELD) | ERROR(FENCE_PERSISTENCE)},
    [ROUTE_ID_SEM_ENQUEUE] = {200, "Place", "Held, or in the queue",
                              GIVES | ERROR(ALREADY_ENQUEUED) | ERROR(LIMIT_MISMATCH)},
    [ROUTE_ID_SEM_WAIT] = {200, "Grant", "Held, or the time is over",
                           ERROR(NOT_ENQUEUED) | ERROR(LEASE_EXPIRED) | ERROR(DRAINING) |
                               ERROR(FENCE_PERSISTENCE)},
};

static const char *const operations[ROUTE_COUNT] = {
#define ROUTE(id, ...) [ROUTE_ID_##id] = #id,
#include "http/routes.def"
#undef ROUTE
};

/* ---- schemas ---- */

static json_t *text(void)
{
    return json_pack("{s:s}", "type", "string");
}

static json_t *text_or_null(void)
{
    return json_pack("{s:[s,s]}", "type", "string", "null");
}

static json_t *number(void)
{
    return json_pack("{s:s,s:i}", "type", "number", "minimum", 0);
}

static json_t *count(void)
{
    return json_pack("{s:s,s:i}", "type", "integer", "minimum", 0);
}

static json_t *between(int64_t min, int64_t max)
{
    return json_pack("{s:s,s:I,s:I}", "type", "integer", "minimum", (json_int_t)min, "maximum",
                     (json_int_t)max);
}

static json_t *seconds(void)
{
    return between(0, BODY_SECONDS_MAX);
}

static json_t *hex(void)
{
    return json_pack("{s:s,s:s}", "type", "string", "pattern", "^[0-9a-f]{32}$");
}

/* One of the words, which are separated by blanks. */
static json_t *word(const char *words)
{
    json_t *all = json_array();

    for (const char *at = words; *at; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");

        json_array_append_new(all, json_stringn(at, n));
        at += n;
    }
    return json_pack("{s:s,s:o}", "type", "string", "enum", all);
}

static json_t *list(json_t *items)
{
    return json_pack("{s:s,s:o}", "type", "array", "items", items);
}

static json_t *ref(const char *name)
{
    return json_pack("{s:s+}", "$ref", "#/components/schemas/", name);
}

/* Of properties made by json_pack(), all of which are there. */
static json_t *record(json_t *properties)
{
    json_t *required = json_array();
    const char *name;
    json_t *value;

    json_object_foreach(properties, name, value) json_array_append_new(required, json_string(name));
    return json_pack("{s:s,s:o,s:o}", "type", "object", "properties", properties, "required",
                     required);
}

/* {"status": `granted`, "token", "lease_ttl_s"} or {"status": `otherwise`} */
static json_t *grant(const char *granted, const char *otherwise)
{
    return json_pack("{s:[o,o]}", "oneOf",
                     record(json_pack("{s:o,s:o,s:o}", "status", word(granted), "token", hex(),
                                      "lease_ttl_s", between(1, BODY_SECONDS_MAX))),
                     record(json_pack("{s:o}", "status", word(otherwise))));
}

static json_t *idle(void)
{
    return record(json_pack("{s:o,s:o}", "key", text(), "idle_s", number()));
}

static json_t *stats(void)
{
    json_t *lock = json_pack("{s:o,s:o,s:o,s:o}", "key", text(), "owner_conn_id", count(),
                             "lease_expires_in_s", number(), "waiters", count());
    json_t *semaphore = json_pack("{s:o,s:o,s:o,s:o}", "key", text(), "limit", count(), "holders",
                                  count(), "waiters", count());

    return record(json_pack("{s:o,s:o,s:o,s:o,s:o}", "connections", count(), "locks",
                            list(record(lock)), "semaphores", list(record(semaphore)), "idle_locks",
                            list(idle()), "idle_semaphores", list(idle())));
}

static json_t *summary(void)
{
    json_t *o = record(json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "kind", word("lock sem"), "key",
                                 text(), "limit", count(), "holders", count(), "waiters", count(),
                                 "oldest_wait_s", number()));
    json_t *more = json_object_get(o, "properties");

    json_object_set_new(more, "idle_s", json_pack("{s:[s,s]}", "type", "number", "null"));
    json_object_set_new(
        more, "holder",
        json_pack("{s:[o,o]}", "oneOf", ref("Holder"), json_pack("{s:s}", "type", "null")));
    json_object_set_new(more, "href", text());
    return o;
}

static json_t *holder(void)
{
    return record(json_pack("{s:o,s:o,s:o,s:o,s:o}", "conn_id", count(), "addr", text_or_null(),
                            "fence", text(), "held_s", number(), "lease_expires_in_s", number()));
}

static json_t *resource(void)
{
    json_t *waiter = json_pack("{s:o,s:o,s:o}", "conn_id", count(), "addr", text_or_null(),
                               "waiting_s", number());

    return record(json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "kind", word("lock sem"), "key",
                            text(), "limit", count(), "holder_count", count(), "waiters", count(),
                            "holders", list(ref("Holder")), "queue", list(record(waiter))));
}

static json_t *resources(void)
{
    json_t *o =
        record(json_pack("{s:o,s:o}", "resources", list(ref("Summary")), "cursor", text_or_null()));

    json_object_set_new(json_object_get(o, "properties"), "matched", count());
    return o;
}

static json_t *schemas(void)
{
    return json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "Status",
        record(json_pack("{s:o}", "status", word("ok draining fence_persistence"))), "Session",
        record(json_pack("{s:o,s:o}", "session_id", hex(), "idle_timeout_s", seconds())), "Grant",
        grant("ok", "timeout"), "Place", grant("acquired", "queued"), "Renewal",
        record(json_pack("{s:o}", "remaining_s", seconds())), "Stats", stats(), "Summary",
        summary(), "Holder", holder(), "Resource", resource(), "Resources", resources());
}

/* ---- parameters and bodies ---- */

static void add_param(json_t *all, const char *in, const char *name, const char *says,
                      bool required, json_t *schema)
{
    json_array_append_new(all,
                          json_pack("{s:s,s:s,s:s,s:b,s:o}", "name", name, "in", in, "description",
                                    says, "required", required, "schema", schema));
}

static void add_query(json_t *all, bool page)
{
    add_param(all, "query", "kind", "Only these", false, word("lock sem"));
    add_param(all, "query", "prefix", "What the keys begin with", false, text());
    add_param(all, "query", "contains", "What the keys have in them", false, text());
    add_param(all, "query", "state",
              page ? "Only these; held and waiting without it" : "Only these", false,
              word("held waiting idle any"));
    add_param(all, "query", "sort",
              page ? "waiters without it" : "Without it the order is the table's", false,
              word("key waiters oldest_wait held_since lease_left"));
    add_param(all, "query", "order", "Of sort; without it what is most telling comes first", false,
              word("asc desc"));
    add_param(all, "query", "cursor", "What the page before gave, for the next one", false, text());
    add_param(all, "query", "limit", "How many; 100 without it", false, between(1, 1000));
}

static json_t *parameters(const struct route *r)
{
    json_t *all = json_array();

    if (routes_param(r, "kind") >= 0)
        add_param(all, "path", "kind", "Which key space", true, word("lock sem"));
    if (routes_param(r, "key") >= 0)
        add_param(all, "path", "key",
                  "1 to 256 bytes without white space, percent-encoded, a / too", true, text());
    if (routes_param(r, "id") >= 0)
        add_param(all, "path", "id", "session_id of POST /v1/sessions", true, hex());
    if (r->flags & ROUTE_SESSION)
        add_param(all, "header", "X-Dflockd-Session", "session_id of POST /v1/sessions", true,
                  hex());
    if (r == &route_table[ROUTE_ID_RESOURCES])
        add_query(all, false);
    if (r == &route_table[ROUTE_ID_PAGE]) {
        add_query(all, true);
        add_param(all, "query", "open", "lock/KEY or sem/KEY: who holds it, who waits", false,
                  text());
    }
    return all;
}

static json_t *described(json_t *schema, const char *says)
{
    json_object_set_new(schema, "description", json_string(says));
    return schema;
}

static json_t *body(const struct route *r)
{
    json_t *properties = json_object(), *required = json_array(), *schema;

    if (r->fields & FIELD_ACQUIRE_TIMEOUT)
        json_object_set_new(properties, "acquire_timeout_s",
                            described(seconds(), "How long to wait; 0, or absent: not at all"));
    if (r->fields & FIELD_TIMEOUT)
        json_object_set_new(properties, "timeout_s",
                            described(seconds(), "How long to wait; 0, or absent: not at all"));
    if (r->fields & FIELD_LIMIT) {
        json_object_set_new(properties, "limit",
                            described(between(1, BODY_LIMIT_MAX), "Slots; the same for all"));
        json_array_append_new(required, json_string("limit"));
    }
    if (r->fields & FIELD_TOKEN) {
        json_object_set_new(properties, "token",
                            json_pack("{s:s,s:i,s:i,s:s}", "type", "string", "minLength", 1,
                                      "maxLength", BODY_TOKEN_MAX, "pattern", "^\\S+$"));
        json_array_append_new(required, json_string("token"));
    }
    if (r->fields & FIELD_LEASE)
        json_object_set_new(properties, "lease_ttl_s",
                            described(seconds(), "0, or absent: the server's default"));
    schema = json_pack("{s:s,s:o,s:b}", "type", "object", "properties", properties,
                       "additionalProperties", false);
    if (json_array_size(required)) /* older readers take none that is empty */
        json_object_set(schema, "required", required);
    json_decref(required);
    return json_pack("{s:b,s:{s:{s:o}}}", "required", !(r->flags & ROUTE_BODY_MAY_LACK), "content",
                     "application/json", "schema", schema);
}

/* ---- answers ---- */

static json_t *answer(const char *says, const char *media, json_t *schema)
{
    return json_pack("{s:s,s:{s:{s:o}}}", "description", says, "content", media, "schema", schema);
}

static json_t *success(enum route_id id)
{
    const char *schema = answers[id].schema, *says = answers[id].says;

    if (!schema)
        return json_pack("{s:s}", "description", says);
    if (strchr(schema, '/'))
        return answer(says, schema,
                      strcmp(schema, "application/json") == 0 ? json_pack("{s:s}", "type", "object")
                                                              : text());
    return answer(says, "application/json", ref(schema));
}

static unsigned errors_of(enum route_id id)
{
    const struct route *r = &route_table[id];
    unsigned errors =
        answers[id].errors | ERROR(BAD_REQUEST) | ERROR(METHOD_NOT_ALLOWED) | ERROR(INTERNAL);

    if (!(r->flags & ROUTE_OPEN))
        errors |= ERROR(UNAUTHORIZED);
    if (!(r->flags & ROUTE_UNLIMITED))
        errors |= ERROR(RATE_LIMITED);
    if (r->flags & ROUTE_SESSION)
        errors |= ERROR(SESSION_GONE);
    return errors;
}

/* The header that comes with all errors of a status. */
static const struct {
    int status;
    const char *name, *says;
} error_headers[] = {
    {401, "WWW-Authenticate", "Which scheme is taken"},
    {405, "Allow", "The methods of this path"},
    {429, "Retry-After", "Seconds until a request will be served"},
};

static void add_header(json_t *answer, int status)
{
    for (size_t i = 0; i < sizeof(error_headers) / sizeof(error_headers[0]); i++)
        if (error_headers[i].status == status)
            json_object_set_new(answer, "headers",
                                json_pack("{s:{s:s,s:o}}", error_headers[i].name, "description",
                                          error_headers[i].says, "schema", text()));
}

static void add_errors(json_t *responses, unsigned errors, int status)
{
    json_t *codes = json_array(), *schema, *all;
    char name[8], says[256] = "";

    for (unsigned i = 0; i < HTTP_ERRORS; i++) {
        const char *code = call_error_code(i);

        if (!(errors & 1u << i) || call_error_status(i) != status)
            continue;
        json_array_append_new(codes, json_string(code));
        snprintf(says + strlen(says), sizeof(says) - strlen(says), "%s%s", says[0] ? ", " : "",
                 code);
    }
    schema = json_pack("{s:s,s:{s:{s:s,s:o},s:o},s:[s]}", "type", "object", "properties", "error",
                       "type", "string", "enum", codes, "detail", text(), "required", "error");
    snprintf(name, sizeof(name), "%d", status);
    all = answer(says, "application/json", schema);
    add_header(all, status);
    json_object_set_new(responses, name, all);
}

/* What libevent answers in its own words before a route is looked for. */
static void add_library(json_t *all)
{
    json_t *bad = json_object_get(json_object_get(all, "400"), "content");

    json_object_set_new(bad, "text/html", json_pack("{s:o}", "schema", text()));
    json_object_set_new(all, "413", answer("Larger than is read", "text/html", text()));
    json_object_set_new(all, "417", answer("Expect is not 100-continue", "text/html", text()));
}

static json_t *responses(enum route_id id)
{
    json_t *all = json_object();
    unsigned errors = errors_of(id);
    char name[8];
    int last = 0;

    snprintf(name, sizeof(name), "%d", answers[id].status);
    json_object_set_new(all, name, success(id));
    /* The errors are in the order of their statuses. */
    for (unsigned i = 0; i < HTTP_ERRORS; i++)
        if (errors & 1u << i && call_error_status(i) != last)
            add_errors(all, errors, last = call_error_status(i));
    add_library(all);
    if (id == ROUTE_ID_READY)
        json_object_set_new(
            all, "503", answer("draining, fence_persistence", "application/json", ref("Status")));
    return all;
}

/* ---- the document ---- */

static json_t *lower(const char *word)
{
    char out[32];
    size_t n = strlen(word);

    for (size_t i = 0; i < n && i < sizeof(out); i++)
        out[i] = (char)tolower((unsigned char)word[i]);
    return json_stringn(out, n < sizeof(out) ? n : sizeof(out));
}

static json_t *security(const struct route *r)
{
    if (r->flags & ROUTE_OPEN)
        return json_array();
    if (r->flags & ROUTE_BASIC)
        return json_pack("[{s:[]},{s:[]}]", "bearer", "basic");
    return json_pack("[{s:[]}]", "bearer");
}

static json_t *operation(enum route_id id)
{
    const struct route *r = &route_table[id];
    json_t *o = json_pack("{s:o,s:s,s:o,s:o,s:o}", "operationId", lower(operations[id]), "summary",
                          r->summary, "security", security(r), "parameters", parameters(r),
                          "responses", responses(id));

    if (r->fields)
        json_object_set_new(o, "requestBody", body(r));
    return o;
}

static json_t *paths(void)
{
    json_t *all = json_object();

    for (unsigned i = 0; i < ROUTE_COUNT; i++) {
        const struct route *r = &route_table[i];
        json_t *method = lower(routes_method_name(r->method));

        if (!json_object_get(all, r->template))
            json_object_set_new(all, r->template, json_object());
        json_object_set_new(json_object_get(all, r->template), json_string_value(method),
                            operation(i));
        json_decref(method);
    }
    return all;
}

static json_t *document(void)
{
    return json_pack(
        "{s:s,s:{s:s,s:s,s:s,s:{s:s}},s:o,s:{s:o,s:{s:{s:s,s:s},s:{s:s,s:s,s:s}}}}", "openapi",
        "3.1.0", "info", "title", "dflockd", "version", PACKAGE_VERSION, "description",
        "Locks and semaphores of the lock server dflockd; dflockd-http(7) is its manual. HEAD is "
        "served wherever GET is. Without a token set at the server no authentication is needed.",
        "license", "name", "MIT", "paths", paths(), "components", "schemas", schemas(),
        "securitySchemes", "bearer", "type", "http", "scheme", "bearer", "basic", "type", "http",
        "scheme", "basic", "description", "Any user; the token is the password");
}

/* Made once in a process. */
static const char *written(struct http *h)
{
    unsigned long missed = memory_missed();
    json_t *o;
    char *line, *whole = NULL;

    if (h->openapi)
        return h->openapi;
    o = document();
    line = o ? json_dumps(o, JSON_COMPACT) : NULL;
    if (line && memory_missed() == missed && asprintf(&whole, "%s\n", line) > 0)
        h->openapi = whole;
    free(line);
    json_decref(o);
    return h->openapi;
}

void openapi_serve(struct call *c)
{
    const char *whole = written(c->h);
    struct evbuffer *out = whole ? evbuffer_new() : NULL;

    if (out && evbuffer_add_reference(out, whole, strlen(whole), NULL, NULL) == 0) {
        call_answer_lent(c, 200, "application/json", out);
        return;
    }
    if (out)
        evbuffer_free(out);
    log_error("no memory for the description of the API");
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}
