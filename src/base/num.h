/*
 * base/num.h - strict numbers: what the protocol and the settings call an integer, and back; seconds
 * with a fraction.
 *
 * Pure; any process, any thread. Nothing here needs or writes a final NUL.
 */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include <stddef.h>
#include <stdint.h>

#define NUM_U64_DIGITS 20 /* the longest decimal u64 */
#define NUM_HEX_DIGITS 16 /* of a u64, always all of them */

/* The most seconds that fit a signed 64-bit count of nanoseconds. */
#define SECONDS_MAX INT64_C(9223372036)

/*
 * One optional sign, then ASCII digits: "007", "+5" and "-0" are numbers; "", "0x1", "1_000", "1.0"
 * and " 1" are not. Returns 0; -EINVAL: not a number; -ERANGE: a number that does not fit. *out is
 * written only on success.
 */
int num_parse_i64(const char *s, size_t n, int64_t *out);

/*
 * What people write for seconds: digits, and perhaps a point and digits behind it: "10", "0.25".
 * No sign, no exponent, whatever the locale. Returns 0; -EINVAL: not such a number; -ERANGE: larger
 * than SECONDS_MAX. *out is written only on success.
 */
int num_parse_decimal(const char *s, size_t n, double *out);

/* Writes at most NUM_U64_DIGITS bytes, returns how many. */
size_t num_format_u64(char *out, uint64_t value);

/* Writes exactly NUM_HEX_DIGITS lower-case digits, most significant first. */
void num_format_hex(char out[NUM_HEX_DIGITS], uint64_t value);

/* The reverse: exactly NUM_HEX_DIGITS lower-case digits (a value has one spelling). Returns 0 or
 * -EINVAL; *out is written only on success. */
int num_parse_hex(const char in[NUM_HEX_DIGITS], uint64_t *out);

/* Saturates at UINT64_MAX ("never"); negative seconds are 0. */
static inline uint64_t seconds_to_ns(int64_t seconds)
{
    uint64_t ns;

    if (seconds <= 0)
        return 0;
    return __builtin_mul_overflow((uint64_t)seconds, UINT64_C(1000000000), &ns) ? UINT64_MAX : ns;
}

#endif
