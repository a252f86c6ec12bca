/*
 * base/num.c - see num.h.
 */
#include "base/num.h"

#include <errno.h>
#include <stdbool.h>

int num_parse_i64(const char *s, size_t n, int64_t *out)
{
    bool negative = n > 0 && s[0] == '-';
    bool fits = true;
    int64_t value = 0;
    size_t i = n > 0 && (s[0] == '-' || s[0] == '+');

    if (i == n)
        return -EINVAL;
    for (; i < n; i++) {
        int digit = s[i] - '0';

        if (digit < 0 || digit > 9)
            return -EINVAL;
        /* Subtracting for negative ones, because INT64_MIN has no positive counterpart. Goes on to
         * the end after an overflow: syntax comes before range. */
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            fits = false;
    }
    if (!fits)
        return -ERANGE;
    *out = value;
    return 0;
}

int num_parse_decimal(const char *s, size_t n, double *out)
{
    double value = 0, unit = 1;
    size_t digits = 0, fraction = 0;
    bool point = false;

    for (size_t i = 0; i < n; i++) {
        if (s[i] == '.' && !point && digits > 0) {
            point = true;
        } else if (s[i] >= '0' && s[i] <= '9') {
            digits++;
            fraction += point;
            if (fraction > 15) /* less than a double can tell */
                continue;
            value = value * 10 + (s[i] - '0');
            unit *= point ? 10 : 1;
        } else {
            return -EINVAL;
        }
    }
    if (digits == 0 || (point && fraction == 0))
        return -EINVAL;
    value /= unit;
    if (value > (double)SECONDS_MAX)
        return -ERANGE;
    *out = value;
    return 0;
}

size_t num_format_u64(char *out, uint64_t value)
{
    char reversed[NUM_U64_DIGITS];
    size_t n = 0;

    do {
        reversed[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < n; i++)
        out[i] = reversed[n - 1 - i];
    return n;
}

void num_format_hex(char out[NUM_HEX_DIGITS], uint64_t value)
{
    for (int i = NUM_HEX_DIGITS - 1; i >= 0; i--) {
        out[i] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

/* By a table: the digits of tokens are random, and a branch that nobody can predict costs more than
 * all else here. */
int num_parse_hex(const char in[NUM_HEX_DIGITS], uint64_t *out)
{
    static const unsigned char value_and_one[256] = {
        ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
        ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    };
    uint64_t value = 0;
    unsigned all = 0;

    for (int i = 0; i < NUM_HEX_DIGITS; i++) {
        unsigned digit = value_and_one[(unsigned char)in[i]] - 1U; /* what is none: all ones */

        all |= digit;
        value = value << 4 | (digit & 15);
    }
    if (all > 15)
        return -EINVAL;
    *out = value;
    return 0;
}
