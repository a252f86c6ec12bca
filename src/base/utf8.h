/*
 * base/utf8.h - decoding UTF-8 that may be anything: keys are opaque bytes.
 *
 * Pure; any process, any thread.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UTF8_BAD UINT32_MAX             /* not a code point */
#define UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD, what stands for each bad piece */

/*
 * Decodes the piece at the start of the n > 0 bytes and returns its length, 1 to 4: one code point,
 * or (with *code = UTF8_BAD) the longest start of one that goes wrong, as Unicode recommends for
 * replacement. Overlong forms, surrogates and what lies beyond U+10FFFF are bad.
 */
size_t utf8_next(const void *data, size_t n, uint32_t *code);

/* Whether printing the code point could do more than put a sign on a terminal: C0 and C1 controls,
 * DEL, the line separators and the marks that reverse the direction of what follows. */
bool utf8_is_control(uint32_t code);

/* Writes each of the n <= 4 bytes of a piece as \xNN; returns 4 * n. */
size_t utf8_escape(char out[16], const void *data, size_t n);

#endif
