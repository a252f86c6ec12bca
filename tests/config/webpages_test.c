/*
 * tests/config/webpages_test.c - origins in --http-cors-allowed-origins: those that a browser may
 * send, and what is said of others.
 */
#include "tests/config/sources.h"
#include "tests/tap.h"

#include <stdio.h>
#include <string.h>

#define OPTION "--http-cors-allowed-origins"
#define FORM "an origin is scheme://host or scheme://host:port, such as https://a.example"
#define ASCII "browsers send a host in ASCII: say its name that begins with xn--"

static const char *const good[] = {
    "*",
    "https://a.example",
    "http://localhost:3000",
    "https://a.example, http://127.0.0.1:8080 ,*",
    " https://a.example,,",
    "http://[::1]:8080",
    "http://[2001:db8::1]",
    "https://xn--bcher-kva.example",
    "https://a_b.example:65535",
    "http://a.example:443",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "capacitor://localhost",
};

static const struct {
    const char *list, *why, *say;
} bad[] = {
    {"foo", FORM, ""},
    {"a.example", FORM, ""},
    {"//a.example", FORM, ""},
    {"://a.example", FORM, ""},
    {"https://", FORM, ""},
    {"file://", FORM, ""},
    {"https://:80", FORM, ""},
    {"https://u@a.example", FORM, ""},
    {"https://a.example:", FORM, ""},
    {"https://a.example:0", FORM, ""},
    {"https://a.example:08", FORM, ""},
    {"https://a.example:65536", FORM, ""},
    {"https://a.example:1:2", FORM, ""},
    {"https://a.example:http", FORM, ""},
    {"https://*.a.example", FORM, ""},
    {"h_t://a.example", FORM, ""},
    {"http://[::1", FORM, ""},
    {"http://[]", FORM, ""},
    {"http://[::1]8080", FORM, ""},
    {"http://[x]", FORM, ""},
    {"http://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]", FORM, ""},
    {"https://a.example;https://b.example", FORM, ""},
    {"https://b\xc3\xa4r.example", ASCII, ""},
    {"https://a.example/", "an origin has no path", "https://a.example"},
    {"https://a.example:8443/x?y#z", "an origin has no path", "https://a.example:8443"},
    {"HTTPS://A.example/", "an origin has no path", "https://a.example"},
    {"https://A.Example", "browsers send it in lower case", "https://a.example"},
    {"HTTP://a.example", "browsers send it in lower case", "http://a.example"},
    {"https://a.example:443", "browsers leave out the usual port", "https://a.example"},
    {"http://[::1]:80", "browsers leave out the usual port", "http://[::1]"},
    {"wss://a.example:443", "browsers leave out the usual port", "wss://a.example"},
};

static unsigned check(const char *list)
{
    load(WORDS(OPTION, list), ENV(NULL));
    return report.errors.count;
}

int main(void)
{
    char want[512], list[400];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ok(check(good[i]) == 0, "'%s': %s", good[i], error_text(0));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(want, sizeof(want), OPTION ": '%s': %s%s%s", bad[i].list, bad[i].why,
                 bad[i].say[0] ? "; say " : "", bad[i].say);
        check(bad[i].list);
        is_u64(report.errors.count, 1, "errors of '%s'", bad[i].list);
        is_str(error_text(0), want, "what is said");
        if (bad[i].say[0])
            is_u64(check(bad[i].say), 0, "'%s' is right", bad[i].say);
    }
    is_u64(check("null"), 1, "null");
    ok(strstr(error_text(0), "any page can send") && strstr(error_text(0), "*"), "%s",
       error_text(0));
    is_u64(check("foo, https://a.example, *, https://b.example/"), 2, "two of four");
    is_str(error_text(1),
           OPTION ": 'https://b.example/': an origin has no path; say "
                  "https://b.example",
           "each has its line");
    memset(list, 'a', sizeof(list) - 1);
    list[sizeof(list) - 1] = '\0';
    memcpy(list, "http://", 7);
    is_u64(check(list), 1, "one that is too long: %s", error_text(0));
    ok(strlen(error_text(0)) < 250, "it is cut");
    return done_testing();
}
