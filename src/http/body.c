/*
 * http/body.c - see body.h.
 */
#include "http/body.h"

#include "base/utf8.h"
#include "http/memory.h"
#include "http/routes.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SHOWN = 64 }; /* bytes of a name that the client made up */

static const struct {
    const char *name;
    unsigned field;
    int64_t min, max;
    size_t offset; /* in struct body */
} numbers[] = {
    {"acquire_timeout_s", FIELD_ACQUIRE_TIMEOUT, 0, BODY_SECONDS_MAX,
     offsetof(struct body, acquire_timeout_s)},
    {"timeout_s", FIELD_TIMEOUT, 0, BODY_SECONDS_MAX, offsetof(struct body, timeout_s)},
    {"lease_ttl_s", FIELD_LEASE, 0, BODY_SECONDS_MAX, offsetof(struct body, lease_ttl_s)},
    {"limit", FIELD_LIMIT, 1, BODY_LIMIT_MAX, offsetof(struct body, limit)},
};
enum { NUMBERS = sizeof(numbers) / sizeof(numbers[0]) };

/* False, so that it can be returned. */
__attribute__((format(printf, 2, 3))) static bool wrong(char why[BODY_WHY], const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, BODY_WHY, fmt, args);
    va_end(args);
    return false;
}

static bool read_token(const json_t *value, struct body *out, char why[BODY_WHY])
{
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);
    bool good = n >= 1 && n <= BODY_TOKEN_MAX;

    if (!text)
        return wrong(why, "token: a string is wanted");
    for (size_t i = 0; good && i < n; i++)
        good = text[i] != ' ' && (text[i] < '\t' || text[i] > '\r');
    if (!good)
        return wrong(why, "token: 1 to %d bytes without white space are wanted", BODY_TOKEN_MAX);
    memcpy(out->token, text, n + 1);
    out->token_len = n;
    return true;
}

static bool read_number(unsigned i, const json_t *value, struct body *out, char why[BODY_WHY])
{
    if (!json_is_integer(value))
        return wrong(why, "%s: a whole number is wanted, without quotes, point or exponent",
                     numbers[i].name);
    *(int64_t *)((char *)out + numbers[i].offset) = json_integer_value(value);
    return true;
}

/* Names the field, as far as it is not too long, and those that there are. */
static bool unknown(const char *name, unsigned fields, char why[BODY_WHY])
{
    size_t len = strlen(name), shown = 0;
    const char *before = " ";
    uint32_t code;

    for (size_t n = 0; shown < len; shown += n) {
        n = utf8_next(name + shown, len - shown, &code);
        if (shown + n > NAME_SHOWN)
            break;
    }
    wrong(why, "'%.*s%s' is no field here; there are:", (int)shown, name, shown < len ? "…" : "");
    for (unsigned i = 0; i <= NUMBERS; i++) {
        size_t used = strlen(why);

        if (!(fields & (i < NUMBERS ? numbers[i].field : FIELD_TOKEN)))
            continue;
        snprintf(why + used, BODY_WHY - used, "%s%s", before,
                 i < NUMBERS ? numbers[i].name : "token");
        before = ", ";
    }
    return false;
}

static bool read_field(const char *name, const json_t *value, unsigned fields, struct body *out,
                       char why[BODY_WHY])
{
    if (fields & FIELD_TOKEN && strcmp(name, "token") == 0)
        return json_is_null(value) || read_token(value, out, why);
    for (unsigned i = 0; i < NUMBERS; i++)
        if (fields & numbers[i].field && strcmp(name, numbers[i].name) == 0)
            return json_is_null(value) || read_number(i, value, out, why);
    return unknown(name, fields, why);
}

static bool check(unsigned fields, const struct body *b, char why[BODY_WHY])
{
    if (fields & FIELD_TOKEN && b->token_len == 0)
        return wrong(why, "token is missing: the grant said it");
    for (unsigned i = 0; i < NUMBERS; i++) {
        int64_t n = *(const int64_t *)((const char *)b + numbers[i].offset);

        if (fields & numbers[i].field && (n < numbers[i].min || n > numbers[i].max))
            return wrong(why, "%s%s: a whole number from %" PRId64 " to %" PRId64 " is wanted",
                         numbers[i].name, n == 0 ? " is missing or 0" : "", numbers[i].min,
                         numbers[i].max);
    }
    return true;
}

static const char *no_json(enum json_error_code code)
{
    switch (code) {
    case json_error_duplicate_key:
        return "a field is there twice";
    case json_error_numeric_overflow:
        return "a number is too large";
    case json_error_end_of_input_expected:
        return "there is something behind the JSON object";
    case json_error_premature_end_of_input:
        return "the body ends before its JSON object does";
    case json_error_invalid_utf8:
        return "the body is not UTF-8";
    case json_error_stack_overflow:
        return "the body is nested too deeply";
    default:
        return "the body is not one JSON object";
    }
}

bool body_parse(const char *bytes, size_t n, unsigned fields, struct body *out, char why[BODY_WHY])
{
    json_error_t error;
    const char *name;
    json_t *object, *value;
    unsigned long missed = memory_missed();
    bool good = true;

    memset(out, 0, sizeof(*out));
    if (n == 0)
        return wrong(why, "the body is empty; {} is the least");
    if (memchr(bytes, 0, n)) /* jansson overlooks one behind a number or a word */
        return wrong(why, "the body has a NUL byte");
    object = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &error);
    /* jansson calls some of what it had no memory for a mistake in the text. */
    if (!object && memory_missed() != missed)
        return wrong(why, "%s", "");
    if (!object)
        return wrong(why, "%s: line %d, column %d", no_json(json_error_code(&error)), error.line,
                     error.column);
    if (!json_is_object(object)) {
        json_decref(object);
        return wrong(why, "the body is a list, and not one JSON object");
    }
    json_object_foreach(object, name, value) good =
        good && read_field(name, value, fields, out, why);
    json_decref(object);
    return good && check(fields, out, why);
}
