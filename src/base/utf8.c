/*
 * base/utf8.c - see utf8.h.
 */
#include "base/utf8.h"

/* What may follow a lead byte: Unicode 15, table 3-7 ("well-formed UTF-8 byte sequences"). Only the
 * second byte has special ranges: they shut out overlong forms, surrogates and what is too large.
 */
static const struct lead {
    unsigned char first, last; /* lead bytes */
    unsigned char len;         /* of the whole sequence */
    unsigned char second_min, second_max;
} leads[] = {
    {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf}, {0xe1, 0xec, 3, 0x80, 0xbf},
    {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf}, {0xf0, 0xf0, 4, 0x90, 0xbf},
    {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

static const struct lead *find_lead(unsigned char c)
{
    for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]); i++)
        if (c >= leads[i].first && c <= leads[i].last)
            return &leads[i];
    return NULL;
}

size_t utf8_next(const void *data, size_t n, uint32_t *code)
{
    const unsigned char *p = data;
    const struct lead *lead;
    uint32_t value;

    if (p[0] < 0x80) {
        *code = p[0];
        return 1;
    }
    *code = UTF8_BAD;
    lead = find_lead(p[0]);
    if (lead == NULL)
        return 1;
    value = p[0] & (0x7fu >> lead->len);
    for (size_t i = 1; i < lead->len; i++) {
        unsigned char min = i == 1 ? lead->second_min : 0x80;
        unsigned char max = i == 1 ? lead->second_max : 0xbf;

        if (i == n || p[i] < min || p[i] > max)
            return i;
        value = value << 6 | (p[i] & 0x3fu);
    }
    *code = value;
    return lead->len;
}

bool utf8_is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0x061c || code == 0x200e ||
           code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

size_t utf8_escape(char out[16], const void *data, size_t n)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < n; i++) {
        out[4 * i] = '\\';
        out[4 * i + 1] = 'x';
        out[4 * i + 2] = "0123456789abcdef"[p[i] >> 4];
        out[4 * i + 3] = "0123456789abcdef"[p[i] & 15];
    }
    return 4 * n;
}
