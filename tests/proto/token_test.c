/*
 * tests/proto/token_test.c - tokens to text and back; what is no token.
 */
#include "proto/token.h"
#include "tests/tap.h"

#include <string.h>

#define GOOD "0123456789abcdef00112233445566ff"

static void test_vectors(void)
{
    static const struct {
        struct token token;
        const char *text;
    } row[] = {
        {{0, 0}, "00000000000000000000000000000000"},
        {{1, 0}, "00000000000000010000000000000000"},
        {{0, 1}, "00000000000000000000000000000001"},
        {{UINT64_MAX, UINT64_MAX}, "ffffffffffffffffffffffffffffffff"},
        {{UINT64_C(0x0123456789abcdef), UINT64_C(0x00112233445566ff)}, GOOD},
        {{UINT64_C(0x8000000000000000), 0x10}, "80000000000000000000000000000010"},
    };

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char out[TOKEN_LEN + 2];
        struct token back = {7, 7};

        memset(out, '!', sizeof(out));
        token_format(out + 1, &row[i].token);
        ok(out[0] == '!' && out[TOKEN_LEN + 1] == '!' &&
               memcmp(out + 1, row[i].text, TOKEN_LEN) == 0,
           "%s is written, 32 bytes and no more", row[i].text);
        ok(token_parse(row[i].text, TOKEN_LEN, &back) && token_equal(&back, &row[i].token),
           "%s is read", row[i].text);
    }
}

static void test_order(void)
{
    static const uint64_t fence[] = {
        0, 1, 9, 10, 15, 16, 255, 256, UINT64_C(1) << 32, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX};
    enum { N = sizeof(fence) / sizeof(fence[0]) };
    int wrong = 0;

    for (int i = 0; i + 1 < N; i++) {
        char less[TOKEN_LEN], more[TOKEN_LEN];
        token_format(less, &(struct token){fence[i], UINT64_MAX});
        token_format(more, &(struct token){fence[i + 1], 0});
        wrong += memcmp(less, more, TOKEN_LEN) >= 0;
    }
    is_int(wrong, 0, "tokens compare as strings in the order of their fences");
}

/* Every byte value at every place: only 0-9 and a-f are hex digits. */
static void test_alphabet(void)
{
    int wrong = 0;

    for (int at = 0; at < TOKEN_LEN; at++) {
        for (int c = 0; c < 256; c++) {
            char text[] = GOOD;
            struct token out = {7, 8};
            bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');

            text[at] = (char)c;
            wrong += token_parse(text, TOKEN_LEN, &out) != good;
            wrong += !good && (out.fence != 7 || out.salt != 8);
        }
    }
    is_int(wrong, 0, "a byte that is not a lower-case hex digit makes no token, out is unchanged");
}

static void test_lengths(void)
{
    static const char text[] = GOOD "00000000";
    struct token out;

    for (size_t len = 0; len < sizeof(text); len++)
        is_int(token_parse(text, len, &out), len == TOKEN_LEN, "%zu digits", len);
    ok(!token_parse(NULL, 0, &out), "no bytes at all");
}

static void test_equal(void)
{
    struct token a = {5, 6};
    int wrong = 0;

    for (int bit = 0; bit < 64; bit++) {
        struct token b = {a.fence ^ UINT64_C(1) << bit, a.salt};
        struct token c = {a.fence, a.salt ^ UINT64_C(1) << bit};
        struct token d = {b.fence, c.salt};
        wrong += token_equal(&a, &b) || token_equal(&a, &c) || token_equal(&a, &d);
    }
    is_int(wrong, 0, "a token that differs in any bit is another one");
    ok(token_equal(&a, &(struct token){5, 6}), "the same numbers are the same token");
}

int main(void)
{
    test_vectors();
    test_order();
    test_alphabet();
    test_lengths();
    test_equal();
    return done_testing();
}
