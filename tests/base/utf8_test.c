/*
 * tests/base/utf8_test.c - every code point decodes, everything else is bad in the right pieces.
 */
#include "base/utf8.h"

#include "tests/tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t encode(uint32_t code, unsigned char out[4])
{
    if (code < 0x80)
        return out[0] = (unsigned char)code, 1;
    if (code < 0x800) {
        out[0] = (unsigned char)(0xc0 | code >> 6);
        out[1] = (unsigned char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (unsigned char)(0xe0 | code >> 12);
        out[1] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (unsigned char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (unsigned char)(0xf0 | code >> 18);
    out[1] = (unsigned char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (unsigned char)(0x80 | (code & 0x3f));
    return 4;
}

static void test_all_code_points(void)
{
    unsigned wrong = 0, wrong_surrogates = 0;
    unsigned char bytes[4];
    uint32_t got;

    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        size_t n = encode(code, bytes);
        bool surrogate = code >= 0xd800 && code <= 0xdfff;

        if (surrogate)
            wrong_surrogates += utf8_next(bytes, n, &got) != 1 || got != UTF8_BAD;
        else
            wrong += utf8_next(bytes, n, &got) != n || got != code;
    }
    is_u64(wrong, 0, "every code point comes back");
    is_u64(wrong_surrogates, 0, "no surrogate does");
}

/* The lengths of the pieces as digits, "!" before bad ones. */
static const char *pieces(const char *text, size_t n)
{
    static char out[64];
    char *p = out;
    char *exact = malloc(n > 0 ? n : 1);
    uint32_t code;

    memcpy(exact, text, n);
    for (size_t at = 0, len; at < n; at += len) {
        len = utf8_next(exact + at, n - at, &code);
        p += sprintf(p, "%s%zu", code == UTF8_BAD ? "!" : "", len);
    }
    *p = '\0';
    free(exact);
    return out;
}

#define PIECES(text) pieces(text, sizeof(text) - 1)

static void test_pieces(void)
{
    is_str(PIECES("a\xc3\xa9z"), "121", "good text");
    is_str(PIECES("\x80"), "!1", "a lone continuation");
    is_str(PIECES("\xc3"), "!1", "cut after one of two");
    is_str(PIECES("\xe2\x82"), "!2", "cut after two of three");
    is_str(PIECES("\xf0\x9f\x98"), "!3", "cut after three of four");
    is_str(PIECES("\xe2\x82x"), "!21", "the next character is kept");
    is_str(PIECES("\xc0\xaf"), "!1!1", "overlong of two");
    is_str(PIECES("\xe0\x80\xaf"), "!1!1!1", "overlong of three");
    is_str(PIECES("\xf0\x80\x80\xaf"), "!1!1!1!1", "overlong of four");
    is_str(PIECES("\xf4\x90\x80\x80"), "!1!1!1!1", "beyond U+10FFFF");
    is_str(PIECES("\xff\xfe"), "!1!1", "bytes that never occur");
    is_str(PIECES("\xe2\xc3\xa9"), "!12", "a lead byte inside a sequence");
}

static void test_control(void)
{
    ok(utf8_is_control(0) && utf8_is_control('\n') && utf8_is_control(0x1f), "C0");
    ok(utf8_is_control(0x7f) && utf8_is_control(0x85) && utf8_is_control(0x9f), "DEL and C1");
    ok(utf8_is_control(0x2028) && utf8_is_control(0x202e) && utf8_is_control(0x2066),
       "line separator, direction marks");
    ok(!utf8_is_control(' ') && !utf8_is_control('~') && !utf8_is_control(0xa0) &&
           !utf8_is_control(0xe9) && !utf8_is_control(0x1f600),
       "signs are not controls");
}

int main(void)
{
    char out[17] = "";

    test_all_code_points();
    test_pieces();
    test_control();
    is_u64(utf8_escape(out, "\x00\xff\n\x7f", 4), 16, "four bytes escaped");
    is_str(out, "\\x00\\xff\\x0a\\x7f", "their form");
    return done_testing();
}
