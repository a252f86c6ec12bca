/*
 * tests/http/body_test.c - JSON bodies: known ones, and what is said about those that are wrong.
 */
#include "http/body.h"
#include "http/routes.h"
#include "tests/tap.h"

#include <string.h>

enum {
    ACQUIRE = FIELD_ACQUIRE_TIMEOUT | FIELD_LEASE,
    SEM = ACQUIRE | FIELD_LIMIT,
    RENEW = FIELD_TOKEN | FIELD_LEASE,
};

static const char *verdict(const char *text, unsigned fields, struct body *b)
{
    const char *why = "no reason";

    return body_parse(text, strlen(text), fields, b, &why) ? "good" : why;
}

static void known(void)
{
    static const char object[] = "the body is not one JSON object";
    static const char unknown[] = "a field is not known here";
    static const char whole[] = "a number is not a whole one";
    static const char seconds[] = "seconds are whole numbers from 0 to 9223372036";
    static const char limit[] = "limit is a number from 1 to 1048576";
    static const char token[] = "token has 1 to 256 bytes without white space";
    static const struct {
        const char *text;
        unsigned fields;
        const char *verdict;
    } cases[] = {
        {"{}", ACQUIRE, "good"},
        {" {\n}\r\t", ACQUIRE, "good"},
        {"{\"acquire_timeout_s\":1,\"lease_ttl_s\":2}", ACQUIRE, "good"},
        {"{\"acquire_timeout_s\":null,\"lease_ttl_s\":null}", ACQUIRE, "good"},
        {"{\"acquire_timeout_s\":9223372036}", ACQUIRE, "good"},
        {"{\"acquire_timeout_s\":-0}", ACQUIRE, "good"},
        {"{\"acquire_timeout_s\":9223372037}", ACQUIRE, seconds},
        {"{\"acquire_timeout_s\":-1}", ACQUIRE, seconds},
        {"{\"acquire_timeout_s\":\"10\"}", ACQUIRE, whole},
        {"{\"acquire_timeout_s\":10.0}", ACQUIRE, whole},
        {"{\"acquire_timeout_s\":1e1}", ACQUIRE, whole},
        {"{\"acquire_timeout_s\":true}", ACQUIRE, whole},
        {"{\"acquire_timeout_s\":[1]}", ACQUIRE, whole},
        {"{\"acquire_timeout_s\":01}", ACQUIRE, object},
        {"{\"acquire_timeout_s\":99999999999999999999}", ACQUIRE, "a number is too large"},
        {"{\"lease_ttl_s\":1,\"lease_ttl_s\":1}", ACQUIRE, "a field is there twice"},
        {"{\"limit\":1}", ACQUIRE, unknown},
        {"{\"Lease_ttl_s\":1}", ACQUIRE, unknown},
        {"{\"\":1}", ACQUIRE, unknown},
        {"{\"token\":\"x\"}", ACQUIRE, unknown},
        {"{\"limit\":1}", SEM, "good"},
        {"{\"limit\":1048576}", SEM, "good"},
        {"{\"limit\":1048577}", SEM, limit},
        {"{\"limit\":0}", SEM, limit},
        {"{}", SEM, limit},
        {"{\"limit\":null}", SEM, limit},
        {"{\"token\":\"x\"}", RENEW, "good"},
        {"{\"token\":\"\"}", RENEW, token},
        {"{\"token\":\"a b\"}", RENEW, token},
        {"{\"token\":\"a\\n\"}", RENEW, token},
        {"{\"token\":\"a\\u0000b\"}", RENEW, object},
        {"{\"token\":1}", RENEW, "token is not a string"},
        {"{\"token\":null}", RENEW, "token is missing"},
        {"{}", RENEW, "token is missing"},
        {"", ACQUIRE, object},
        {"[]", ACQUIRE, object},
        {"null", ACQUIRE, object},
        {"\"x\"", ACQUIRE, object},
        {"{", ACQUIRE, object},
        {"{}{}", ACQUIRE, "there is something behind the JSON object"},
        {"{} x", ACQUIRE, "there is something behind the JSON object"},
        {"{\"a\xff\":1}", ACQUIRE, object},
        {"{'limit':1}", SEM, object},
        {"{\"limit\":1,}", SEM, object},
        {"{limit:1}", SEM, object},
        {"{\"limit\":NaN}", SEM, object},
    };
    const char *why = NULL;
    struct body b;

    ok(!body_parse(NULL, 0, ACQUIRE, &b, &why) && strcmp(why, object) == 0, "no bytes at all");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        is_str(verdict(cases[i].text, cases[i].fields, &b), cases[i].verdict, "%s", cases[i].text);
    is_str(verdict("{\"acquire_timeout_s\":7,\"lease_ttl_s\":8,\"limit\":9}", SEM, &b), "good", "values");
    ok(b.acquire_timeout_s == 7 && b.lease_ttl_s == 8 && b.limit == 9, "are told");
    is_str(verdict("{\"token\":\"\\u0061bc\"}", RENEW, &b), "good", "a token");
    is_str(b.token, "abc", "is told");
    ok(b.token_len == 3 && b.lease_ttl_s == 0, "what is absent is 0");
}

int main(void)
{
    known();
    return done_testing();
}
