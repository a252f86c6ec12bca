/*
 * tests/proto/same.h - compares what request_parse() said about the same bytes at two addresses.
 */
#ifndef TESTS_PROTO_SAME_H
#define TESTS_PROTO_SAME_H

#include "proto/request.h"

#include <stdbool.h>

static inline bool same_place(const char *a, const char *abuf, const char *b, const char *bbuf)
{
    return a == NULL || b == NULL ? a == b : a - abuf == b - bbuf;
}

static inline bool same_request(const struct request *a, const char *abuf, const struct request *b,
                                const char *bbuf)
{
    return a->verb == b->verb && a->kind == b->kind && a->key_len == b->key_len &&
           a->token_len == b->token_len && a->cursor_len == b->cursor_len && a->limit == b->limit &&
           a->timeout_s == b->timeout_s && a->lease_s == b->lease_s && a->fence == b->fence &&
           a->command_len == b->command_len && a->error == b->error && a->line == b->line &&
           a->room == b->room && a->consumed == b->consumed &&
           same_place(a->key, abuf, b->key, bbuf) && same_place(a->token, abuf, b->token, bbuf) &&
           same_place(a->cursor, abuf, b->cursor, bbuf) &&
           same_place(a->command, abuf, b->command, bbuf);
}

#endif
