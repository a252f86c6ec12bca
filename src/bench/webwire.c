/*
 * bench/webwire.c - see webwire.h.
 */
#include "bench/webwire.h"

#include "base/num.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEAD_MAX = 16 * 1024 };

/* ---- requests -------------------------------------------------------------------------------- */

static const struct {
    const char *command; /* NULL: no single one */
    const char *method, *path, *behind;
    const char *field; /* of the first number of the arg, or NULL */
} kinds[WEBWIRE_KINDS] = {
    [WEBWIRE_OPEN] = {NULL, "POST", "/v1/sessions", "", NULL},
    [WEBWIRE_PING] = {NULL, "POST", "/v1/sessions/", "/ping", NULL},
    [WEBWIRE_CLOSE] = {NULL, "DELETE", "/v1/sessions/", "", NULL},
    [WEBWIRE_ACQUIRE] = {"l", "POST", "/v1/locks/", "", "acquire_timeout_s"},
    [WEBWIRE_ENQUEUE] = {"e", "POST", "/v1/locks/", "/enqueue", NULL},
    [WEBWIRE_WAIT] = {"w", "POST", "/v1/locks/", "/wait", "timeout_s"},
    [WEBWIRE_RELEASE] = {"r", "POST", "/v1/locks/", "/release", NULL},
};

enum webwire_kind webwire_kind(const struct webwire_from *from, const char *command)
{
    for (unsigned i = 0; i < WEBWIRE_KINDS; i++)
        if (kinds[i].command && strcmp(kinds[i].command, command) == 0)
            return i;
    return from->session[0] ? WEBWIRE_PING : WEBWIRE_OPEN;
}

/* All but what a path may have as it is. */
static char *encode(const char *key)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    size_t n = strlen(key), at = 0;
    char *out = malloc(3 * n + 1);

    for (size_t i = 0; out && i < n; i++) {
        if (strchr(plain, key[i]))
            out[at++] = key[i];
        else
            at += (size_t)sprintf(out + at, "%%%02X", (unsigned char)key[i]);
    }
    if (out)
        out[at] = '\0';
    return out;
}

/* "TIMEOUT LEASE", "TIMEOUT", "LEASE", "" or a token. */
static json_t *body_of(enum webwire_kind kind, const char *arg)
{
    json_t *o = json_object();
    const char *rest = arg;

    if (kind == WEBWIRE_RELEASE) {
        json_object_set_new(o, "token", json_string(arg));
        return o;
    }
    if (kinds[kind].field) {
        json_object_set_new(o, kinds[kind].field, json_integer(strtoll(arg, NULL, 10)));
        rest += strcspn(rest, " ");
    }
    rest += strspn(rest, " ");
    if (*rest)
        json_object_set_new(o, "lease_ttl_s", json_integer(strtoll(rest, NULL, 10)));
    return o;
}

/* Allocated; NULL: no memory. */
static char *print(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *print(const char *format, ...)
{
    va_list args;
    char *out;
    int n;

    va_start(args, format);
    n = vasprintf(&out, format, args);
    va_end(args);
    return n < 0 ? NULL : out;
}

static char *headers(const struct webwire_from *from, bool locks)
{
    char *own =
        locks ? print("X-Dflockd-Session: %s\r\nContent-Type: application/json\r\n", from->session)
              : print("%s", "");
    char *all = NULL;

    if (own && from->token)
        all = print("Host: %s\r\nAuthorization: Bearer %s\r\n%s", from->host, from->token, own);
    else if (own)
        all = print("Host: %s\r\n%s", from->host, own);
    free(own);
    return all;
}

char *webwire_request(const struct webwire_from *from, enum webwire_kind kind, const char *key,
                      const char *arg, size_t *len)
{
    bool locks = kind >= WEBWIRE_ACQUIRE;
    json_t *o = locks ? body_of(kind, arg) : NULL;
    char *body = locks ? json_dumps(o, JSON_COMPACT) : print("%s", "");
    char *name = locks ? encode(key) : print("%s", kind == WEBWIRE_OPEN ? "" : from->session);
    char *head = headers(from, locks), *out = NULL;

    if (body && name && head)
        out = print("%s %s%s%s HTTP/1.1\r\n%sContent-Length: %zu\r\n\r\n%s", kinds[kind].method,
                    kinds[kind].path, name, kinds[kind].behind, head, strlen(body), body);
    json_decref(o);
    free(body);
    free(name);
    free(head);
    *len = out ? strlen(out) : 0;
    return out;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* "HTTP/1.1 200 OK" */
static bool parse_status(const char *line, size_t n, int *status)
{
    if (n < 12 || memcmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ' || (n > 12 && line[12] != ' '))
        return false;
    *status = 0;
    for (unsigned i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9')
            return false;
        *status = 10 * *status + (line[i] - '0');
    }
    return *status >= 200; /* an interim answer was not asked for */
}

/* False: the line says something that no dflockd says. */
static bool parse_header(const char *line, size_t n, bool *has_length, size_t *length)
{
    static const char length_name[] = "content-length:", coding[] = "transfer-encoding:";
    size_t name = sizeof(length_name) - 1;
    int64_t value;

    if (n >= sizeof(coding) - 1 && strncasecmp(line, coding, sizeof(coding) - 1) == 0)
        return false;
    if (n < name || strncasecmp(line, length_name, name) != 0)
        return true;
    while (name < n && line[name] == ' ')
        name++;
    if (*has_length || num_parse_i64(line + name, n - name, &value) != 0 || value < 0 ||
        value > WEBWIRE_ANSWER_MAX)
        return false;
    *has_length = true;
    *length = (size_t)value;
    return true;
}

int webwire_answer(const char *in, size_t n, struct webwire_answer *a, const char **why)
{
    const char *end = memmem(in, n, "\r\n\r\n", 4), *line_end;
    bool has_length = false;
    size_t length = 0;

    *why = "that is no HTTP; is it the port of the line protocol?";
    if (n >= 7 && memcmp(in, "HTTP/1.", 7) != 0)
        return -1;
    if (!end) {
        if (n < 7 && memchr(in, '\n', n))
            return -1;
        *why = "the head of an answer is longer than any dflockd's";
        return n > HEAD_MAX ? -1 : 0;
    }
    line_end = memmem(in, n, "\r\n", 2);
    *why = "an answer of HTTP that no dflockd gives";
    if (!parse_status(in, (size_t)(line_end - in), &a->status))
        return -1;
    for (const char *line = line_end + 2; line < end + 2; line = line_end + 2) {
        line_end = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        if (!parse_header(line, (size_t)(line_end - line), &has_length, &length))
            return -1;
    }
    if (!has_length && a->status != 204)
        return -1;
    a->body = end + 4;
    a->body_len = a->status == 204 ? 0 : length;
    a->len = (size_t)(a->body - in) + a->body_len;
    return a->len <= n;
}

static const struct {
    const char *code;
    int status;
} refusals[] = {
    {"max_locks", DFLOCK_ERR_MAX_LOCKS},
    {"max_waiters", DFLOCK_ERR_MAX_WAITERS},
    {"limit_mismatch", DFLOCK_ERR_LIMIT_MISMATCH},
    {"not_enqueued", DFLOCK_ERR_NOT_QUEUED},
    {"already_enqueued", DFLOCK_ERR_ALREADY_QUEUED},
    {"lease_expired", DFLOCK_ERR_LEASE_EXPIRED},
    {"unauthorized", DFLOCK_ERR_AUTH},
    {"not_held", DFLOCK_ERR_SERVER},
    {"draining", DFLOCK_ERR_DRAINING},
};

static int refusal(const json_t *o)
{
    const char *code = json_string_value(json_object_get(o, "error"));

    if (!code)
        return DFLOCK_ERR_PROTOCOL;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
        if (strcmp(code, refusals[i].code) == 0)
            return refusals[i].status;
    return DFLOCK_ERR_STATE;
}

/* 32 hexadecimal digits, lower case, into `out`. */
static bool take_hex(const json_t *value, char out[33])
{
    const char *text = json_string_value(value);

    if (!text || strlen(text) != 32 || strspn(text, "0123456789abcdef") != 32)
        return false;
    memcpy(out, text, 33);
    return true;
}

static int granted(const json_t *o, const char *word, int otherwise, const char *other, int yes,
                   struct dflock_reply *reply)
{
    const char *status = json_string_value(json_object_get(o, "status"));
    json_int_t lease = json_integer_value(json_object_get(o, "lease_ttl_s"));

    if (status && strcmp(status, other) == 0)
        return otherwise;
    if (!status || strcmp(status, word) != 0 || lease < 1 ||
        !take_hex(json_object_get(o, "token"), reply->token))
        return DFLOCK_ERR_PROTOCOL;
    reply->seconds = (uint64_t)lease;
    return yes;
}

static int status_of(struct webwire_from *from, enum webwire_kind kind, int status, const json_t *o,
                     struct dflock_reply *reply)
{
    if (status >= 400)
        return refusal(o);
    switch (kind) {
    case WEBWIRE_OPEN:
        return status == 200 && take_hex(json_object_get(o, "session_id"), from->session)
                   ? 0
                   : DFLOCK_ERR_PROTOCOL;
    case WEBWIRE_ACQUIRE:
    case WEBWIRE_WAIT:
        return status == 200 ? granted(o, "ok", DFLOCK_ERR_TIMEOUT, "timeout", 0, reply)
                             : DFLOCK_ERR_PROTOCOL;
    case WEBWIRE_ENQUEUE:
        return status == 200 ? granted(o, "acquired", DFLOCK_QUEUED, "queued", DFLOCK_HELD, reply)
                             : DFLOCK_ERR_PROTOCOL;
    default:
        return status == 204 ? 0 : DFLOCK_ERR_PROTOCOL;
    }
}

void webwire_reply(struct webwire_from *from, enum webwire_kind kind,
                   const struct webwire_answer *a, struct dflock_reply *reply,
                   char text[WEBWIRE_TEXT])
{
    json_t *o = a->body_len ? json_loadb(a->body, a->body_len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    int n = snprintf(text, WEBWIRE_TEXT, "%d %.*s", a->status, (int)a->body_len, a->body);

    reply->token[0] = '\0';
    reply->seconds = 0;
    reply->status = status_of(from, kind, a->status, o, reply);
    if (n >= WEBWIRE_TEXT)
        n = WEBWIRE_TEXT - 1;
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        text[--n] = '\0';
    for (char *p = text; *p; p++)
        *p = *p < ' ' || *p == 127 ? '?' : *p;
    reply->text = text;
    reply->len = strlen(text);
    json_decref(o);
}
