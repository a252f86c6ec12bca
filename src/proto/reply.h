/*
 * proto/reply.h - the line protocol's replies: outcome → the bytes of one line.
 *
 * Each function writes one whole line, ended by one LF (never CRLF, no NUL), into a buffer of at
 * least REPLY_MAX bytes and returns its length. Pure; any process, any thread. An enum reply that
 * is none, or a grant that is neither `ok` nor `acquired`, is a bug and traps.
 */
#ifndef PROTO_REPLY_H
#define PROTO_REPLY_H

#include "proto/token.h"

#include <stddef.h>
#include <stdint.h>

/* clang-format off */
enum reply { /* REPLY_OK, REPLY_ACQUIRED, … */
#define REPLY(name, word) REPLY_##name,
#include "proto/reply.def"
#undef REPLY
    REPLY_COUNT
};
/* clang-format on */

#define REPLY_MAX 64 /* "acquired " TOKEN " " u64 LF is 63 */

/* `ok JSON` (stats, list, show) is written by whoever makes the JSON: this, the object, one LF. */
#define REPLY_JSON_HEAD "ok "

/* The bare word, a static string: for logs and counters. */
const char *reply_text(enum reply reply);

/* `WORD` */
size_t reply_word(char *buf, enum reply reply);

/* `ok TOKEN LEASE` or `acquired TOKEN LEASE`; the lease in whole seconds. */
size_t reply_grant(char *buf, enum reply reply, const struct token *token, uint64_t lease_s);

/* `ok SECONDS`, a renew's answer. */
size_t reply_seconds(char *buf, uint64_t seconds);

#endif
