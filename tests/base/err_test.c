/*
 * tests/base/err_test.c - each code has a text of its own.
 */
#include "base/err.h"

#include "tests/tap.h"

#include <errno.h>
#include <string.h>

static void test_err(void)
{
    unsigned same = 0;

    for (int a = ERR_CONFIG; a >= ERR_LAST; a--)
        for (int b = ERR_CONFIG; b > a; b--)
            same += strcmp(err_text(a), err_text(b)) == 0;
    is_u64(same, 0, "own codes differ in their texts");
    is_str(err_text(-ENOENT), strerror(ENOENT), "an errno");
    is_str(err_text(0), "Success", "success");
    is_str(err_text(ERR_CORRUPT), "stored data is corrupt", "an own code");
    is_str(err_text(ERR_LAST - 1), "unknown error -4009", "an unknown own code has its number");
    is_str(err_text(7), "unknown error 7", "a positive number is not a code");
    ok(strstr(err_text(-3999), "3999") != NULL, "an unknown errno has its number");
    is_str(err_text(-2147483647 - 1), "unknown error -2147483648", "the most negative");
    errno = EXDEV;
    err_text(-3999);
    is_int(errno, EXDEV, "errno is kept");
}

static void test_momentary(void)
{
    ok(err_is_momentary(-ENOMEM) && err_is_momentary(-ENOBUFS), "no memory");
    ok(err_is_momentary(-EMFILE) && err_is_momentary(-ENFILE), "no descriptors");
    ok(!err_is_momentary(-ENOENT) && !err_is_momentary(-EAGAIN) && !err_is_momentary(ENOMEM) &&
           !err_is_momentary(0) && !err_is_momentary(ERR_FULL),
       "nothing else");
}

int main(void)
{
    test_err();
    test_momentary();
    return done_testing();
}
