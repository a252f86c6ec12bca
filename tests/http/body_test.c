/*
 * tests/http/body_test.c - JSON bodies: known ones, and what is said about those that are wrong.
 */
#include "http/body.h"
#include "http/routes.h"
#include "tests/tap.h"

#include <stdio.h>
#include <string.h>

enum {
    ACQUIRE = FIELD_ACQUIRE_TIMEOUT | FIELD_LEASE,
    SEM = ACQUIRE | FIELD_LIMIT,
    RENEW = FIELD_TOKEN | FIELD_LEASE,
};

static const char *verdict(const char *text, unsigned fields, struct body *b)
{
    static char why[BODY_WHY];

    strcpy(why, "no reason");
    return body_parse(text, strlen(text), fields, b, why) ? "good" : why;
}

#define OBJECT(column) "the body is not one JSON object: line 1, column " column
#define ENDS(column) "the body ends before its JSON object does: line 1, column " column
#define WHOLE ": a whole number is wanted, without quotes, point or exponent"
#define SECONDS ": a whole number from 0 to 9223372036 is wanted"
#define LIMIT ": a whole number from 1 to 1048576 is wanted"
#define NO_FIELD "is no field here; there are: "

static void known(void)
{
    static const char token[] = "token: 1 to 256 bytes without white space are wanted";
    static const char missing[] = "token is missing: the grant said it";
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
        {"{\"acquire_timeout_s\":9223372037}", ACQUIRE, "acquire_timeout_s" SECONDS},
        {"{\"acquire_timeout_s\":-1}", ACQUIRE, "acquire_timeout_s" SECONDS},
        {"{\"acquire_timeout_s\":1,\"lease_ttl_s\":-1}", ACQUIRE, "lease_ttl_s" SECONDS},
        {"{\"timeout_s\":-1}", FIELD_TIMEOUT, "timeout_s" SECONDS},
        {"{\"acquire_timeout_s\":\"10\"}", ACQUIRE, "acquire_timeout_s" WHOLE},
        {"{\"acquire_timeout_s\":10.0}", ACQUIRE, "acquire_timeout_s" WHOLE},
        {"{\"acquire_timeout_s\":1e1}", ACQUIRE, "acquire_timeout_s" WHOLE},
        {"{\"acquire_timeout_s\":true}", ACQUIRE, "acquire_timeout_s" WHOLE},
        {"{\"acquire_timeout_s\":[1]}", ACQUIRE, "acquire_timeout_s" WHOLE},
        {"{\"acquire_timeout_s\":1,\"lease_ttl_s\":\"1\"}", ACQUIRE, "lease_ttl_s" WHOLE},
        {"{\"acquire_timeout_s\":01}", ACQUIRE, OBJECT("22")},
        {"{\"acquire_timeout_s\":99999999999999999999}", ACQUIRE,
         "a number is too large: line 1, column 41"},
        {"{\n \"lease_ttl_s\":1,\n \"lease_ttl_s\":1}", ACQUIRE,
         "a field is there twice: line 3, column 14"},
        {"{\"limit\":1}", ACQUIRE, "'limit' " NO_FIELD "acquire_timeout_s, lease_ttl_s"},
        {"{\"Lease_ttl_s\":1}", ACQUIRE,
         "'Lease_ttl_s' " NO_FIELD "acquire_timeout_s, lease_ttl_s"},
        {"{\"\":1}", FIELD_TOKEN, "'' " NO_FIELD "token"},
        {"{\"a\\nb%s\\\"\":1}", RENEW, "'a\nb%s\"' " NO_FIELD "lease_ttl_s, token"},
        {"{\"token\":\"x\"}", SEM, "'token' " NO_FIELD "acquire_timeout_s, lease_ttl_s, limit"},
        {"{\"limit\":1}", SEM, "good"},
        {"{\"limit\":1048576}", SEM, "good"},
        {"{\"limit\":1048577}", SEM, "limit" LIMIT},
        {"{\"limit\":0}", SEM, "limit is missing or 0" LIMIT},
        {"{}", SEM, "limit is missing or 0" LIMIT},
        {"{\"limit\":null}", SEM, "limit is missing or 0" LIMIT},
        {"{\"token\":\"x\"}", RENEW, "good"},
        {"{\"token\":\"\"}", RENEW, token},
        {"{\"token\":\"a b\"}", RENEW, token},
        {"{\"token\":\"a\\n\"}", RENEW, token},
        {"{\"token\":\"a\\u0000b\"}", RENEW, OBJECT("19")},
        {"{\"token\":1}", RENEW, "token: a string is wanted"},
        {"{\"token\":null}", RENEW, missing},
        {"{}", RENEW, missing},
        {"", ACQUIRE, "the body is empty; {} is the least"},
        {" ", ACQUIRE, ENDS("1")},
        {"[]", ACQUIRE, "the body is a list, and not one JSON object"},
        {"null", ACQUIRE, OBJECT("4")},
        {"\"x\"", ACQUIRE, OBJECT("3")},
        {"{", ACQUIRE, ENDS("1")},
        {"{}{}", ACQUIRE, "there is something behind the JSON object: line 1, column 3"},
        {"{} x", ACQUIRE, "there is something behind the JSON object: line 1, column 4"},
        {"{\"a\xff\":1}", ACQUIRE, "the body is not UTF-8: line 1, column 3"},
        {"{'limit':1}", SEM, OBJECT("2")},
        {"{\"limit\":1,}", SEM, OBJECT("12")},
        {"{limit:1}", SEM, OBJECT("6")},
        {"{\"limit\":NaN}", SEM, OBJECT("12")},
    };
    char why[BODY_WHY];
    struct body b;

    ok(!body_parse(NULL, 0, ACQUIRE, &b, why) && strstr(why, "empty"), "no bytes at all");
    ok(!body_parse("{\0}", 3, ACQUIRE, &b, why) && strstr(why, "NUL"), "a NUL");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        is_str(verdict(cases[i].text, cases[i].fields, &b), cases[i].verdict, "%s", cases[i].text);
    is_str(verdict("{\"acquire_timeout_s\":7,\"lease_ttl_s\":8,\"limit\":9}", SEM, &b), "good",
           "values");
    ok(b.acquire_timeout_s == 7 && b.lease_ttl_s == 8 && b.limit == 9, "are told");
    is_str(verdict("{\"token\":\"\\u0061bc\"}", RENEW, &b), "good", "a token");
    is_str(b.token, "abc", "is told");
    ok(b.token_len == 3 && b.lease_ttl_s == 0, "what is absent is 0");
}

/* Of n `a` and then m of three bytes each. */
static const char *of_name(int n, int m, char *text)
{
    struct body b;
    int len = sprintf(text, "{\"");

    memset(text + len, 'a', (size_t)n);
    len += n;
    while (m-- > 0)
        len += sprintf(text + len, "€");
    sprintf(text + len, "\":1}");
    return verdict(text, ~0u, &b);
}

/* It goes back to who sent it: a piece of it, and whole characters. */
static void long_names(void)
{
    char text[100000];

    is_str(of_name(64, 0, text),
           "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' " NO_FIELD
           "acquire_timeout_s, timeout_s, lease_ttl_s, limit, token",
           "64 bytes are shown");
    is_str(of_name(90000, 0, text),
           "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…' " NO_FIELD
           "acquire_timeout_s, timeout_s, lease_ttl_s, limit, token",
           "of 90000");
    for (int n = 0; n < 4; n++) {
        const char *why = of_name(n, 1000, text);
        const char *end = strstr(why, "…");

        ok(end && (end - why - 1 - n) % 3 == 0 && end - why - 1 <= 64 && end - why - 1 > 61, "%s",
           why);
    }
}

int main(void)
{
    known();
    long_names();
    return done_testing();
}
