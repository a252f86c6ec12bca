/*
 * client/wire.h - the line protocol as a client sees it: requests into bytes, lines into replies,
 * and the checks that keep a key or a token from being more than one line. Pure.
 */
#ifndef CLIENT_WIRE_H
#define CLIENT_WIRE_H

#include "client/dflock.h"
#include "client/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WIRE_LINE_MAX = 256, WIRE_TOKEN_LEN = 32, WIRE_REQUEST_MAX = 3 * (WIRE_LINE_MAX + 1) };

/* What a reply may be depends on the request. */
enum wire_expect {
    EXPECT_DONE,    /* r sr ping auth evict: "ok" */
    EXPECT_GRANT,   /* l sl w sw: "ok TOKEN LEASE" */
    EXPECT_ENQUEUE, /* e se: "acquired TOKEN LEASE", "queued" */
    EXPECT_SECONDS, /* n sn: "ok SECONDS" */
    EXPECT_TEXT     /* stats list show: "ok JSON"; and commands that are not known here */
};

enum wire_expect wire_expect(const char *command);

/* 0, or DFLOCK_ERR_INVALID with the reason in *f. */
int wire_check_key(const char *key, struct failure *f);
int wire_check_token(const char *token, struct failure *f);
int wire_check_secret(const char *secret, struct failure *f);
int wire_check_timeout(double seconds, struct failure *f);
int wire_check_lease(uint64_t seconds, struct failure *f);
int wire_check_limit(uint32_t limit, struct failure *f);

/* Writes the three lines with their LFs; returns how many bytes, 0 if a line is too long or has CR, LF
   or NUL in it. */
size_t wire_request(char out[WIRE_REQUEST_MAX], const char *command, const char *key,
                    const char *arg);

/* What a refusal means, in words; NULL where the server's own say as much. */
const char *wire_words(int status);

/* A line without its LF. Anything that no dflockd says in answer to such a request is
   DFLOCK_ERR_PROTOCOL. reply->text points at `line`. */
void wire_reply(enum wire_expect expect, const char *line, size_t n, struct dflock_reply *reply);

#endif
