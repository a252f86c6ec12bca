/*
 * proto/token.h - the token of a grant: 16 hex digits of fence, 16 of salt.
 *
 * The fence comes first and big-endian, so that tokens compare as strings in the order of grants.
 * Pure; any process, any thread.
 */
#ifndef PROTO_TOKEN_H
#define PROTO_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKEN_LEN 32

struct token {
    uint64_t fence;
    uint64_t salt;
};

/* Writes TOKEN_LEN lower-case hex digits, no NUL. */
void token_format(char out[TOKEN_LEN], const struct token *token);

/* True when the `len` bytes are exactly TOKEN_LEN lower-case hex digits; else *out is unchanged. */
bool token_parse(const char *text, size_t len, struct token *out);

/* Takes the same time wherever the two differ: a token is a secret until it is released. */
static inline bool token_equal(const struct token *a, const struct token *b)
{
    return ((a->fence ^ b->fence) | (a->salt ^ b->salt)) == 0;
}

#endif
