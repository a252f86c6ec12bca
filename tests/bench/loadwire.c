/*
 * tests/bench/loadwire.c - the protocols of the load client: dflockd's, and what people do with
 * Redis instead.
 */
#include "load.h"

#include <stdio.h>
#include <string.h>

static bool is(const char *line, size_t n, const char *text)
{
    return n == strlen(text) && memcmp(line, text, n) == 0;
}

/* --- dflockd: command, key and argument, a line each */

static size_t lines_lock(char *out, const char *key)
{
    return (size_t)snprintf(out, LOAD_REQUEST_MAX, "l\n%s\n60\n", key);
}

static size_t lines_unlock(char *out, const char *key)
{
    return (size_t)snprintf(out, LOAD_REQUEST_MAX, "r\n%s\n%0*d\n", key, LOAD_TOKEN, 0);
}

static size_t lines_token_at(const char *key)
{
    return 2 + strlen(key) + 1;
}

/* ok TOKEN LEASE */
static bool lines_granted(const char *line, size_t n, char token[LOAD_TOKEN])
{
    if (n < 3 + LOAD_TOKEN + 2 || memcmp(line, "ok ", 3) != 0 || line[3 + LOAD_TOKEN] != ' ')
        return false;
    memcpy(token, line + 3, LOAD_TOKEN);
    return true;
}

static bool lines_released(const char *line, size_t n)
{
    return is(line, n, "ok");
}

const struct wire wire_dflockd = {.name = "dflockd",
                                  .queues = true,
                                  .lock = lines_lock,
                                  .unlock = lines_unlock,
                                  .token_at = lines_token_at,
                                  .granted = lines_granted,
                                  .released = lines_released};

/* --- Redis: SET key token NX PX 60000, and DEL key */

static size_t redis_lock(char *out, const char *key)
{
    return (size_t)snprintf(out, LOAD_REQUEST_MAX,
                            "*6\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$32\r\n"
                            "0123456789abcdef0123456789abcdef\r\n"
                            "$2\r\nNX\r\n$2\r\nPX\r\n$5\r\n60000\r\n",
                            strlen(key), key);
}

static size_t redis_unlock(char *out, const char *key)
{
    return (size_t)snprintf(out, LOAD_REQUEST_MAX, "*2\r\n$3\r\nDEL\r\n$%zu\r\n%s\r\n", strlen(key),
                            key);
}

static size_t redis_token_at(const char *key)
{
    (void)key;
    return 0;
}

static bool redis_granted(const char *line, size_t n, char token[LOAD_TOKEN])
{
    (void)token;
    return is(line, n, "+OK\r");
}

static bool redis_released(const char *line, size_t n)
{
    return is(line, n, ":1\r");
}

const struct wire wire_redis = {.name = "redis",
                                .lock = redis_lock,
                                .unlock = redis_unlock,
                                .token_at = redis_token_at,
                                .granted = redis_granted,
                                .released = redis_released};
