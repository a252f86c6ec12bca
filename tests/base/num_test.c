/*
 * tests/base/num_test.c - what is a number and what is not, and the way back.
 */
#include "base/num.h"

#include "tests/tap.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNTOUCHED INT64_C(424242)

static const struct {
    const char *text;
    int rc;
    int64_t value;
} cases[] = {
    {"0", 0, 0},
    {"007", 0, 7},
    {"+5", 0, 5},
    {"-5", 0, -5},
    {"-0", 0, 0},
    {"+0", 0, 0},
    {"00000000000000000000000000000000000000001", 0, 1},
    {"9223372036854775807", 0, INT64_MAX},
    {"+9223372036854775807", 0, INT64_MAX},
    {"-9223372036854775808", 0, INT64_MIN},
    {"9223372036854775808", -ERANGE, 0},
    {"-9223372036854775809", -ERANGE, 0},
    {"18446744073709551616", -ERANGE, 0},
    {"18446744073709551617", -ERANGE, 0},
    {"99999999999999999999999999", -ERANGE, 0},
    {"-99999999999999999999999999", -ERANGE, 0},
    {"", -EINVAL, 0},
    {"+", -EINVAL, 0},
    {"-", -EINVAL, 0},
    {"--5", -EINVAL, 0},
    {"+-5", -EINVAL, 0},
    {"5-", -EINVAL, 0},
    {" 5", -EINVAL, 0},
    {"5 ", -EINVAL, 0},
    {"5\n", -EINVAL, 0},
    {"0x10", -EINVAL, 0},
    {"1_000", -EINVAL, 0},
    {"1.0", -EINVAL, 0},
    {"1e3", -EINVAL, 0},
    {"abc", -EINVAL, 0},
    {"/", -EINVAL, 0},
    {":", -EINVAL, 0},
    {"\xd9\xa3", -EINVAL, 0},                    /* an Arabic digit */
    {"99999999999999999999999999x", -EINVAL, 0}, /* syntax comes before range */
};

static void test_parse(void)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        /* Exactly as long as the text, so that a sanitizer sees a read behind it. */
        size_t n = strlen(cases[i].text);
        char *exact = malloc(n > 0 ? n : 1);
        int64_t value = UNTOUCHED;

        memcpy(exact, cases[i].text, n);
        is_int(num_parse_i64(exact, n, &value), cases[i].rc, "parse '%s'", cases[i].text);
        is_int(value, cases[i].rc == 0 ? cases[i].value : UNTOUCHED, "value of '%s'",
               cases[i].text);
        free(exact);
    }

    int64_t value = UNTOUCHED;

    is_int(num_parse_i64("1\0002", 3, &value), -EINVAL, "a NUL inside is not a digit");
    is_int(num_parse_i64("123", 2, &value), 0, "n ends the text");
    is_int(value, 12, "and not the NUL");
}

static const struct {
    const char *text;
    int rc;
    double value;
} decimals[] = {
    {"0", 0, 0},
    {"10", 0, 10},
    {"0.25", 0, 0.25},
    {"0.1", 0, 0.1},
    {"007.50", 0, 7.5},
    {"1.000000000000000000000000000000000001", 0, 1},
    {"9223372036", 0, 9223372036.0},
    {"9223372036.5", -ERANGE, 0},
    {"9223372037", -ERANGE, 0},
    {"", -EINVAL, 0},
    {".", -EINVAL, 0},
    {".5", -EINVAL, 0},
    {"5.", -EINVAL, 0},
    {"1.2.3", -EINVAL, 0},
    {"1,5", -EINVAL, 0},
    {"+1", -EINVAL, 0},
    {"-1", -EINVAL, 0},
    {"1e3", -EINVAL, 0},
    {"0x1", -EINVAL, 0},
    {"inf", -EINVAL, 0},
    {"nan", -EINVAL, 0},
    {" 1", -EINVAL, 0},
    {"1 ", -EINVAL, 0},
    {"1s", -EINVAL, 0},
};

static void test_decimals(void)
{
    char *digits = malloc(1000);
    double value = -1;

    for (size_t i = 0; i < sizeof(decimals) / sizeof(decimals[0]); i++) {
        value = -1;
        is_int(num_parse_decimal(decimals[i].text, strlen(decimals[i].text), &value),
               decimals[i].rc, "parse the decimal '%s'", decimals[i].text);
        ok(value == (decimals[i].rc == 0 ? decimals[i].value : -1), "value of '%s'",
           decimals[i].text);
    }
    memset(digits, '9', 1000);
    is_int(num_parse_decimal(digits, 1000, &value), -ERANGE, "1000 digits are too many seconds");
    digits[1] = '.';
    is_int(num_parse_decimal(digits, 1000, &value), 0, "998 digits behind the point are read");
    ok(value > 9.99 && value <= 10, "as far as they count");
    free(digits);
}

static void check_u64(uint64_t value)
{
    char want[32], got[32];
    uint64_t back = 0;
    size_t n;

    snprintf(want, sizeof(want), "%" PRIu64, value);
    memset(got, 0, sizeof(got));
    n = num_format_u64(got, value);
    is_u64(n, strlen(want), "length of %s", want);
    is_str(got, want, "decimal %s", want);

    snprintf(want, sizeof(want), "%016" PRIx64, value);
    memset(got, 0, sizeof(got));
    num_format_hex(got, value);
    is_str(got, want, "hex %s", want);
    is_int(num_parse_hex(got, &back), 0, "hex %s parses", want);
    is_u64(back, value, "and back");
}

static void test_hex(void)
{
    uint64_t value = UNTOUCHED;

    is_int(num_parse_hex("00000000000000fF", &value), -EINVAL, "upper case has no place");
    is_int(num_parse_hex("000000000000000g", &value), -EINVAL, "g is not a digit");
    is_int(num_parse_hex("+00000000000000f", &value), -EINVAL, "nor is a sign");
    is_u64(value, UNTOUCHED, "a refused text leaves the value alone");
}

static void test_seconds(void)
{
    is_u64(seconds_to_ns(0), 0, "0 s");
    is_u64(seconds_to_ns(1), UINT64_C(1000000000), "1 s");
    is_u64(seconds_to_ns(SECONDS_MAX), UINT64_C(9223372036000000000), "SECONDS_MAX is exact");
    is_u64(seconds_to_ns(INT64_C(18446744073)), UINT64_C(18446744073000000000), "the last exact");
    is_u64(seconds_to_ns(INT64_C(18446744074)), UINT64_MAX, "the first that saturates");
    is_u64(seconds_to_ns(INT64_MAX), UINT64_MAX, "does not wrap");
    is_u64(seconds_to_ns(-1), 0, "negative is 0");
    is_u64(seconds_to_ns(INT64_MIN), 0, "the most negative is 0");
}

int main(void)
{
    static const uint64_t values[] = {0,   1,    9,          10,        99,
                                      100, 4096, UINT32_MAX, INT64_MAX, UINT64_MAX};

    test_parse();
    test_decimals();
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        check_u64(values[i]);
    test_hex();
    test_seconds();
    return done_testing();
}
