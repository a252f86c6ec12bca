/*
 * proto/token.c - see token.h.
 */
#include "proto/token.h"

#include "base/num.h"

_Static_assert(TOKEN_LEN == 2 * NUM_HEX_DIGITS, "a token is two numbers");

void token_format(char out[TOKEN_LEN], const struct token *token)
{
    num_format_hex(out, token->fence);
    num_format_hex(out + NUM_HEX_DIGITS, token->salt);
}

bool token_parse(const char *text, size_t len, struct token *out)
{
    struct token token;

    if (len != TOKEN_LEN || num_parse_hex(text, &token.fence) != 0 ||
        num_parse_hex(text + NUM_HEX_DIGITS, &token.salt) != 0)
        return false;
    *out = token;
    return true;
}
