/*
 * client/wire.c - see wire.h
 */
#include "client/wire.h"
#include "base/num.h"

#include <string.h>

enum { TIMEOUT_MAX = 9223372036, SECRET_MAX = 65536 };
#define LEASE_MAX UINT64_C(9223372036)
enum { LIMIT_MAX = 1048576 };

static const struct {
    const char *command;
    enum wire_expect expect;
} commands[] = {
    {"l", EXPECT_GRANT},     {"r", EXPECT_DONE},      {"n", EXPECT_SECONDS},
    {"e", EXPECT_ENQUEUE},   {"w", EXPECT_GRANT},     {"sl", EXPECT_GRANT},
    {"sr", EXPECT_DONE},     {"sn", EXPECT_SECONDS},  {"se", EXPECT_ENQUEUE},
    {"sw", EXPECT_GRANT},    {"ping", EXPECT_DONE},   {"auth", EXPECT_DONE},
    {"evict", EXPECT_DONE},
};

static const struct {
    const char *line;
    int status;
} refusals[] = {
    {"timeout", DFLOCK_ERR_TIMEOUT},
    {"error", DFLOCK_ERR_SERVER},
    {"error_max_locks", DFLOCK_ERR_MAX_LOCKS},
    {"error_max_waiters", DFLOCK_ERR_MAX_WAITERS},
    {"error_limit_mismatch", DFLOCK_ERR_LIMIT_MISMATCH},
    {"error_not_enqueued", DFLOCK_ERR_NOT_QUEUED},
    {"error_already_enqueued", DFLOCK_ERR_ALREADY_QUEUED},
    {"error_lease_expired", DFLOCK_ERR_LEASE_EXPIRED},
    {"error_auth", DFLOCK_ERR_AUTH},
    {"error_draining", DFLOCK_ERR_DRAINING},
};

static const char *const words[] = {
    [-DFLOCK_ERR_TIMEOUT] = "not got in time",
    [-DFLOCK_ERR_MAX_LOCKS] = "the server's lock table is full (its --max-locks)",
    [-DFLOCK_ERR_MAX_WAITERS] = "the queue is full (its --max-waiters)",
    [-DFLOCK_ERR_LIMIT_MISMATCH] = "the semaphore is in use with another limit",
    [-DFLOCK_ERR_NOT_QUEUED] = "this connection has not enqueued for it",
    [-DFLOCK_ERR_ALREADY_QUEUED] = "this connection has enqueued for it already",
    [-DFLOCK_ERR_LEASE_EXPIRED] = "the lease ended before the grant was fetched",
    [-DFLOCK_ERR_AUTH] = "the server wants another secret",
    [-DFLOCK_ERR_DRAINING] = "the server is about to stop and grants nothing new",
};

const char *wire_words(int status)
{
    return status < 0 && -status < (int)(sizeof(words) / sizeof(words[0])) ? words[-status] : NULL;
}

enum wire_expect wire_expect(const char *command)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(command, commands[i].command) == 0)
            return commands[i].expect;
    return EXPECT_TEXT;
}

int wire_check_key(const char *key, struct failure *f)
{
    size_t n = key ? strlen(key) : 0;

    if (n == 0)
        return failure_set(f, DFLOCK_ERR_INVALID, "the key is empty; 1 to 256 bytes");
    if (n > WIRE_LINE_MAX)
        return failure_set(f, DFLOCK_ERR_INVALID, "the key has %zu bytes; 1 to 256", n);
    if (strpbrk(key, " \t\r\n"))
        return failure_set(f, DFLOCK_ERR_INVALID,
                           "the key has a blank or a line end in it; a server refuses those");
    return 0;
}

int wire_check_token(const char *token, struct failure *f)
{
    uint64_t half;

    if (!token || strlen(token) != WIRE_TOKEN_LEN || num_parse_hex(token, &half) != 0 ||
        num_parse_hex(token + NUM_HEX_DIGITS, &half) != 0)
        return failure_set(f, DFLOCK_ERR_INVALID,
                           "not a token: those are 32 lower-case hex digits");
    return 0;
}

int wire_check_secret(const char *secret, struct failure *f)
{
    size_t n = secret ? strlen(secret) : 0;

    if (n == 0 || n > SECRET_MAX)
        return failure_set(f, DFLOCK_ERR_INVALID, "the secret has %zu bytes; 1 to 65536", n);
    if (strpbrk(secret, "\r\n"))
        return failure_set(f, DFLOCK_ERR_INVALID, "the secret has a line end in it");
    return 0;
}

int wire_check_timeout(double seconds, struct failure *f)
{
    if (!(seconds >= 0) || seconds > (double)TIMEOUT_MAX)
        return failure_set(f, DFLOCK_ERR_INVALID,
                           "%g s is no timeout; 0 to 9223372036", seconds);
    return 0;
}

int wire_check_lease(uint64_t seconds, struct failure *f)
{
    if (seconds > LEASE_MAX)
        return failure_set(f, DFLOCK_ERR_INVALID,
                           "%llu s is no lease; 1 to 9223372036, 0 for the server's default",
                           (unsigned long long)seconds);
    return 0;
}

int wire_check_limit(uint32_t limit, struct failure *f)
{
    if (limit < 1 || limit > LIMIT_MAX)
        return failure_set(f, DFLOCK_ERR_INVALID, "%u is no limit; 1 to 1048576", limit);
    return 0;
}

size_t wire_request(char out[WIRE_REQUEST_MAX], const char *command, const char *key,
                    const char *arg)
{
    const char *const line[3] = {command, key, arg};
    size_t at = 0;

    for (int i = 0; i < 3; i++) {
        size_t n = strlen(line[i]);

        if (n > WIRE_LINE_MAX || memchr(line[i], '\n', n) || memchr(line[i], '\r', n))
            return 0;
        memcpy(out + at, line[i], n);
        out[at + n] = '\n';
        at += n + 1;
    }
    return at;
}

/* Digits only, as a server writes them, and never 0. */
static bool parse_seconds(const char *s, size_t n, uint64_t *out)
{
    int64_t value;

    if (n == 0 || s[0] < '1' || s[0] > '9' || num_parse_i64(s, n, &value) != 0)
        return false;
    *out = (uint64_t)value;
    return true;
}

/* "TOKEN SECONDS" */
static bool parse_grant(const char *s, size_t n, struct dflock_reply *reply)
{
    uint64_t half;

    if (n < WIRE_TOKEN_LEN + 2 || s[WIRE_TOKEN_LEN] != ' ' || num_parse_hex(s, &half) != 0 ||
        num_parse_hex(s + WIRE_TOKEN_LEN / 2, &half) != 0 ||
        !parse_seconds(s + WIRE_TOKEN_LEN + 1, n - WIRE_TOKEN_LEN - 1, &reply->seconds))
        return false;
    memcpy(reply->token, s, WIRE_TOKEN_LEN);
    reply->token[WIRE_TOKEN_LEN] = '\0';
    return true;
}

static bool begins(const char *line, size_t n, const char *word, size_t nword)
{
    return n >= nword && memcmp(line, word, nword) == 0;
}

static int status_of(enum wire_expect expect, const char *line, size_t n,
                     struct dflock_reply *reply)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
        if (n == strlen(refusals[i].line) && memcmp(line, refusals[i].line, n) == 0)
            return refusals[i].status;
    if (expect == EXPECT_ENQUEUE) {
        if (n == 6 && memcmp(line, "queued", 6) == 0)
            return DFLOCK_QUEUED;
        return begins(line, n, "acquired ", 9) && parse_grant(line + 9, n - 9, reply)
                   ? DFLOCK_HELD
                   : DFLOCK_ERR_PROTOCOL;
    }
    if (!begins(line, n, "ok", 2))
        return DFLOCK_ERR_PROTOCOL;
    switch (expect) {
    case EXPECT_DONE:
        return n == 2 ? 0 : DFLOCK_ERR_PROTOCOL;
    case EXPECT_GRANT:
        return n > 3 && line[2] == ' ' && parse_grant(line + 3, n - 3, reply)
                   ? 0
                   : DFLOCK_ERR_PROTOCOL;
    case EXPECT_SECONDS:
        return n > 3 && line[2] == ' ' && parse_seconds(line + 3, n - 3, &reply->seconds)
                   ? 0
                   : DFLOCK_ERR_PROTOCOL;
    default:
        return n == 2 || line[2] == ' ' ? 0 : DFLOCK_ERR_PROTOCOL;
    }
}

void wire_reply(enum wire_expect expect, const char *line, size_t n, struct dflock_reply *reply)
{
    reply->token[0] = '\0';
    reply->seconds = 0;
    reply->text = line;
    reply->len = n;
    /* The grant of a lock: the common case first. */
    if (expect == EXPECT_GRANT && n > 3 && memcmp(line, "ok ", 3) == 0 &&
        parse_grant(line + 3, n - 3, reply)) {
        reply->status = 0;
        return;
    }
    if (expect == EXPECT_DONE && n == 2 && memcmp(line, "ok", 2) == 0) {
        reply->status = 0;
        return;
    }
    reply->status = status_of(expect, line, n, reply);
}

uint64_t dflock_token_fence(const char *token)
{
    struct failure unheard = {0};
    uint64_t fence;

    if (wire_check_token(token, &unheard) || num_parse_hex(token, &fence) != 0)
        return 0;
    return fence;
}
