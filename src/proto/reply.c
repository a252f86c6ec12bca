/*
 * proto/reply.c - see reply.h.
 */
#include "proto/reply.h"

#include "base/num.h"

#include <string.h>

struct word {
    char text[31];
    uint8_t len;
};

static const struct word words[] = {
#define REPLY(name, word) {word, sizeof(word) - 1},
#include "proto/reply.def"
#undef REPLY
};

_Static_assert(sizeof("acquired ") - 1 + TOKEN_LEN + 1 + NUM_U64_DIGITS + 1 <= REPLY_MAX,
               "the longest grant");
_Static_assert(sizeof(struct word) <= REPLY_MAX, "any word and its LF");

/* Not assert(): this layer needs nothing of libc but the mem functions. */
static size_t put_word(char *buf, enum reply reply)
{
    if ((unsigned)reply >= REPLY_COUNT)
        __builtin_trap();
    memcpy(buf, words[reply].text, words[reply].len);
    return words[reply].len;
}

const char *reply_text(enum reply reply)
{
    if ((unsigned)reply >= REPLY_COUNT)
        __builtin_trap();
    return words[reply].text;
}

size_t reply_word(char *buf, enum reply reply)
{
    size_t n = put_word(buf, reply);

    buf[n++] = '\n';
    return n;
}

size_t reply_grant(char *buf, enum reply reply, const struct token *token, uint64_t lease_s)
{
    size_t n;

    if (reply != REPLY_OK && reply != REPLY_ACQUIRED)
        __builtin_trap();
    n = put_word(buf, reply);
    buf[n++] = ' ';
    token_format(buf + n, token);
    n += TOKEN_LEN;
    buf[n++] = ' ';
    n += num_format_u64(buf + n, lease_s);
    buf[n++] = '\n';
    return n;
}

size_t reply_seconds(char *buf, uint64_t seconds)
{
    size_t n = put_word(buf, REPLY_OK);

    buf[n++] = ' ';
    n += num_format_u64(buf + n, seconds);
    buf[n++] = '\n';
    return n;
}
