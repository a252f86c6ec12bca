/*
 * http/body.c - see body.h.
 */
#include "http/body.h"

#include "http/routes.h"

#include <jansson.h>
#include <string.h>

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

static bool read_token(const json_t *value, struct body *out, const char **why)
{
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);

    if (!text) {
        *why = "token is not a string";
        return false;
    }
    *why = "token has 1 to 256 bytes without white space";
    if (n < 1 || n > BODY_TOKEN_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        if (text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r'))
            return false;
    memcpy(out->token, text, n + 1);
    out->token_len = n;
    return true;
}

static bool read_number(unsigned i, const json_t *value, struct body *out, const char **why)
{
    if (!json_is_integer(value)) {
        *why = "a number is not a whole one";
        return false;
    }
    *(int64_t *)((char *)out + numbers[i].offset) = json_integer_value(value);
    return true;
}

static bool read_field(const char *name, const json_t *value, unsigned fields, struct body *out,
                       const char **why)
{
    if (fields & FIELD_TOKEN && strcmp(name, "token") == 0)
        return json_is_null(value) || read_token(value, out, why);
    for (unsigned i = 0; i < NUMBERS; i++)
        if (fields & numbers[i].field && strcmp(name, numbers[i].name) == 0)
            return json_is_null(value) || read_number(i, value, out, why);
    *why = "a field is not known here";
    return false;
}

static bool check(unsigned fields, const struct body *b, const char **why)
{
    if (fields & FIELD_TOKEN && b->token_len == 0) {
        *why = "token is missing";
        return false;
    }
    for (unsigned i = 0; i < NUMBERS; i++) {
        int64_t n = *(const int64_t *)((const char *)b + numbers[i].offset);

        if (fields & numbers[i].field && (n < numbers[i].min || n > numbers[i].max)) {
            *why = numbers[i].field == FIELD_LIMIT
                       ? "limit is a number from 1 to 1048576"
                       : "seconds are whole numbers from 0 to 9223372036";
            return false;
        }
    }
    return true;
}

static const char *why_no_json(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_duplicate_key:
        return "a field is there twice";
    case json_error_numeric_overflow:
        return "a number is too large";
    case json_error_end_of_input_expected:
        return "there is something behind the JSON object";
    case json_error_out_of_memory:
        return "there is no memory for this body";
    default:
        return "the body is not one JSON object";
    }
}

bool body_parse(const char *bytes, size_t n, unsigned fields, struct body *out, const char **why)
{
    json_error_t error;
    const char *name;
    json_t *object, *value;
    bool good = true;

    memset(out, 0, sizeof(*out));
    if (n == 0 || memchr(bytes, 0, n)) { /* jansson overlooks a NUL behind a number or a word */
        *why = "the body is not one JSON object";
        return false;
    }
    object = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(object)) {
        *why = object ? "the body is not one JSON object" : why_no_json(&error);
        json_decref(object);
        return false;
    }
    json_object_foreach(object, name, value)
        good = good && read_field(name, value, fields, out, why);
    json_decref(object);
    return good && check(fields, out, why);
}
