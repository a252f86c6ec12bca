/*
 * tests/proto/request_test.c - every command in its good and bad forms, line caps, partial input.
 */
#include "proto/request.h"
#include "tests/proto/same.h"
#include "tests/tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECONDS_MOST "9223372036"
#define SECONDS_OVER "9223372037"
#define I64_MAX "9223372036854775807"
#define I64_OVER "9223372036854775808"
#define I64_MIN "-9223372036854775808"
#define I64_UNDER "-9223372036854775809"
#define TOKEN_A "0123456789abcdef0011223344556677"

/* One request and what must be read out of it. `error` 0: REQUEST_OK, else REQUEST_BAD. */
struct row {
    const char *command;
    const char *key;
    const char *arg;
    int error;
    enum request_verb verb;
    enum request_kind kind;
    int64_t timeout_s;
    int64_t lease_s;
    uint32_t limit;
    const char *token;
    const char *cursor;
    uint64_t fence;
};

/* clang-format off */
#define IS(a_verb, a_kind) .verb = VERB_##a_verb, .kind = REQUEST_##a_kind

#define BAD(command, key, arg, code) {command, key, arg, .error = REQUEST_ERROR_##code}
#define PAIR_BAD(one, other, arg, code) BAD(one, "k", arg, code), BAD(other, "k", arg, code)

#define ACQUIRE(arg, seconds, lease) \
    {"l", "k", arg, IS(ACQUIRE, LOCK), .timeout_s = seconds, .lease_s = lease, .limit = 1}
#define SEM_ACQUIRE(arg, seconds, slots, lease) \
    {"sl", "k", arg, IS(ACQUIRE, SEM), .timeout_s = seconds, .lease_s = lease, .limit = slots}
#define RELEASE(arg, text) \
    {"r", "k", arg, IS(RELEASE, LOCK), .token = text, .limit = 1}, \
    {"sr", "k", arg, IS(RELEASE, SEM), .token = text}
#define RENEW(arg, text, lease) \
    {"n", "k", arg, IS(RENEW, LOCK), .token = text, .lease_s = lease, .limit = 1}, \
    {"sn", "k", arg, IS(RENEW, SEM), .token = text, .lease_s = lease}
#define ENQUEUE(arg, lease) \
    {"e", "k", arg, IS(ENQUEUE, LOCK), .lease_s = lease, .limit = 1}
#define SEM_ENQUEUE(arg, slots, lease) \
    {"se", "k", arg, IS(ENQUEUE, SEM), .lease_s = lease, .limit = slots}
#define WAIT(arg, seconds) \
    {"w", "k", arg, IS(WAIT, LOCK), .timeout_s = seconds, .limit = 1}, \
    {"sw", "k", arg, IS(WAIT, SEM), .timeout_s = seconds}
#define LIST(prefix, arg, from) {"list", prefix, arg, IS(LIST, ANY), .cursor = from}

static const struct row rows[] = {
    /* acquire a lock: timeout [lease] */
    ACQUIRE("10", 10, 0),
    ACQUIRE("10 20", 10, 20),
    ACQUIRE("0", 0, 0),
    ACQUIRE(SECONDS_MOST " " SECONDS_MOST, 9223372036, 9223372036),
    ACQUIRE("10 1", 10, 1),
    BAD("l", "k", "", FIELDS),
    BAD("l", "k", " \t\v\f\r", FIELDS),
    BAD("l", "k", "1 2 3", FIELDS),
    BAD("l", "k", "1 2 3 4", FIELDS),
    BAD("l", "k", "1 2 3 4 5 6", FIELDS),
    BAD("l", "k", "x", SYNTAX),
    BAD("l", "k", "-1", TIMEOUT),
    BAD("l", "k", SECONDS_OVER, TIMEOUT),
    BAD("l", "k", I64_MAX, TIMEOUT),
    BAD("l", "k", I64_MIN, TIMEOUT),
    BAD("l", "k", "10 x", SYNTAX),
    BAD("l", "k", "10 0", LEASE),
    BAD("l", "k", "10 -0", LEASE),
    BAD("l", "k", "10 -5", LEASE),
    BAD("l", "k", "10 " SECONDS_OVER, LEASE),
    BAD("l", "k", "10 " I64_MAX, LEASE),
    BAD("l", "k", "10 " I64_OVER, SYNTAX),

    /* white space between fields, and around them */
    ACQUIRE("  10  ", 10, 0),
    ACQUIRE("\t10\v\f20\r \r", 10, 20),
    ACQUIRE("\r\r10\r20", 10, 20),
    ACQUIRE("10\v20", 10, 20),
    ACQUIRE("10\f20", 10, 20),
    ACQUIRE("10\t20", 10, 20),
    BAD("l", "k", "10\b20", SYNTAX),
    BAD("l", "k", "10\x1c" "20", SYNTAX),
    BAD("l", "k", "10\x85" "20", SYNTAX),
    BAD("l", "k", "10\xc2\xa0" "20", SYNTAX),

    /* integers */
    ACQUIRE("007", 7, 0),
    ACQUIRE("+5", 5, 0),
    ACQUIRE("-0", 0, 0),
    ACQUIRE("+0", 0, 0),
    ACQUIRE("-000", 0, 0),
    ACQUIRE("+007 +008", 7, 8),
    ACQUIRE("0000000000000000000000000000000000000000000000005", 5, 0),
    BAD("l", "k", "+", SYNTAX),
    BAD("l", "k", "-", SYNTAX),
    BAD("l", "k", "+-5", SYNTAX),
    BAD("l", "k", "--5", SYNTAX),
    BAD("l", "k", "++5", SYNTAX),
    BAD("l", "k", "5+", SYNTAX),
    BAD("l", "k", "5-", SYNTAX),
    BAD("l", "k", "0x10", SYNTAX),
    BAD("l", "k", "a", SYNTAX),
    BAD("l", "k", "1_0", SYNTAX),
    BAD("l", "k", "1,0", SYNTAX),
    BAD("l", "k", "1.0", SYNTAX),
    BAD("l", "k", "1.", SYNTAX),
    BAD("l", "k", ".5", SYNTAX),
    BAD("l", "k", "1e3", SYNTAX),
    BAD("l", "k", "10s", SYNTAX),
    BAD("l", "k", "\xd9\xa1", SYNTAX), /* a digit, but not an ASCII one */
    BAD("l", "k", "\xef\xbc\x95", SYNTAX),
    BAD("l", "k", "/", SYNTAX), /* the bytes on either side of the digits */
    BAD("l", "k", ":", SYNTAX),
    BAD("l", "k", "+ 5", SYNTAX), /* two fields: a sign without digits, and 5 */
    BAD("l", "k", I64_OVER, SYNTAX),
    BAD("l", "k", I64_UNDER, SYNTAX),
    BAD("l", "k", "18446744073709551626", SYNTAX), /* 2^64 + 10 */
    BAD("l", "k", "99999999999999999999999999999999999", SYNTAX),

    /* acquire a semaphore: timeout limit [lease] */
    SEM_ACQUIRE("10 3", 10, 3, 0),
    SEM_ACQUIRE("10 3 20", 10, 3, 20),
    SEM_ACQUIRE("0 1 1", 0, 1, 1),
    SEM_ACQUIRE("10 1048576 " SECONDS_MOST, 10, 1048576, 9223372036),
    SEM_ACQUIRE("\v010\f+3\t020\r", 10, 3, 20),
    BAD("sl", "k", "", FIELDS),
    BAD("sl", "k", "10", FIELDS),
    BAD("sl", "k", "1 2 3 4", FIELDS),
    BAD("sl", "k", "1 2 3 4 5 6 7", FIELDS),
    BAD("sl", "k", "x 3", SYNTAX),
    BAD("sl", "k", "10 x", SYNTAX),
    BAD("sl", "k", "10 3 x", SYNTAX),
    BAD("sl", "k", "-1 3", TIMEOUT),
    BAD("sl", "k", SECONDS_OVER " 3", TIMEOUT),
    BAD("sl", "k", "10 0", LIMIT),
    BAD("sl", "k", "10 -1", LIMIT),
    BAD("sl", "k", "10 1048577", LIMIT),
    BAD("sl", "k", "10 4294967297", LIMIT), /* 1 when cut to 32 bits */
    BAD("sl", "k", "10 " I64_OVER, SYNTAX),
    BAD("sl", "k", "10 3 0", LEASE),
    BAD("sl", "k", "10 3 -1", LEASE),
    BAD("sl", "k", "10 3 " SECONDS_OVER, LEASE),

    /* release: the trimmed line */
    RELEASE(TOKEN_A, TOKEN_A),
    RELEASE(" \t\v\f\r" TOKEN_A " \t\v\f\r", TOKEN_A),
    RELEASE("x", "x"),
    RELEASE("two words", "two words"),
    RELEASE("\xc2\xa0x\xc2\xa0", "\xc2\xa0x\xc2\xa0"),
    PAIR_BAD("r", "sr", "", TOKEN),
    PAIR_BAD("r", "sr", " \t\v\f\r ", TOKEN),
    PAIR_BAD("r", "sr", "\r\r", TOKEN),

    /* renew: token [lease] */
    RENEW(TOKEN_A, TOKEN_A, 0),
    RENEW(TOKEN_A " 60", TOKEN_A, 60),
    RENEW("\t" TOKEN_A "\t+060 ", TOKEN_A, 60),
    RENEW("x 1", "x", 1),
    RENEW("x " SECONDS_MOST, "x", 9223372036),
    PAIR_BAD("n", "sn", "", TOKEN),
    PAIR_BAD("n", "sn", " \v ", TOKEN),
    PAIR_BAD("n", "sn", "x 60 1", FIELDS),
    PAIR_BAD("n", "sn", "a b c d e", FIELDS),
    PAIR_BAD("n", "sn", "x x", SYNTAX),
    PAIR_BAD("n", "sn", "x 0", LEASE),
    PAIR_BAD("n", "sn", "x -1", LEASE),
    PAIR_BAD("n", "sn", "x " SECONDS_OVER, LEASE),
    PAIR_BAD("n", "sn", "x " I64_OVER, SYNTAX),

    /* enqueue: [lease], and for a semaphore limit [lease] */
    ENQUEUE("", 0),
    ENQUEUE(" \t ", 0),
    ENQUEUE("20", 20),
    ENQUEUE(" " SECONDS_MOST, 9223372036),
    BAD("e", "k", "20 30", FIELDS),
    BAD("e", "k", "20 x", FIELDS),
    BAD("e", "k", "1 2 3", FIELDS),
    BAD("e", "k", "1 2 3 4 5", FIELDS),
    BAD("e", "k", "x", SYNTAX),
    BAD("e", "k", "0", LEASE),
    BAD("e", "k", "-1", LEASE),
    BAD("e", "k", SECONDS_OVER, LEASE),
    BAD("e", "k", I64_OVER, SYNTAX),
    SEM_ENQUEUE("3", 3, 0),
    SEM_ENQUEUE("3 20", 3, 20),
    SEM_ENQUEUE("1048576 1", 1048576, 1),
    BAD("se", "k", "", FIELDS),
    BAD("se", "k", "1 2 3", FIELDS),
    BAD("se", "k", "1 2 3 4 5", FIELDS),
    BAD("se", "k", "x", SYNTAX),
    BAD("se", "k", "0", LIMIT),
    BAD("se", "k", "-3", LIMIT),
    BAD("se", "k", "1048577", LIMIT),
    BAD("se", "k", I64_OVER, SYNTAX),
    BAD("se", "k", "3 x", SYNTAX),
    BAD("se", "k", "3 0", LEASE),
    BAD("se", "k", "3 " SECONDS_OVER, LEASE),

    /* wait: exactly one field */
    WAIT("0", 0),
    WAIT("30", 30),
    WAIT("\v" SECONDS_MOST " ", 9223372036),
    PAIR_BAD("w", "sw", "", FIELDS),
    PAIR_BAD("w", "sw", "30 20", FIELDS),
    PAIR_BAD("w", "sw", "30 x", FIELDS),
    PAIR_BAD("w", "sw", "1 2 3 4 5", FIELDS),
    PAIR_BAD("w", "sw", "x", SYNTAX),
    PAIR_BAD("w", "sw", "-1", TIMEOUT),
    PAIR_BAD("w", "sw", SECONDS_OVER, TIMEOUT),
    PAIR_BAD("w", "sw", I64_OVER, SYNTAX),

    /* commands that look at neither key nor, except auth, arg */
    {"ping", "", "", IS(PING, ANY)},
    {"ping", " a key no lock could have\t", "any thing, 1 2 3 4 5", IS(PING, ANY)},
    {"stats", "", "", IS(STATS, ANY)},
    {"stats", "\r \r", "x\vy", IS(STATS, ANY)},
    {"auth", "", "secret", IS(AUTH, ANY), .token = "secret"},
    {"auth", "not a key", " \t\v\f\rsecret \t\v\f\r", IS(AUTH, ANY),
     .token = "secret"},
    {"auth", "", "a secret", IS(AUTH, ANY), .token = "a secret"},
    BAD("auth", "", "", TOKEN),
    BAD("auth", "k", " \t\v\f ", TOKEN),

    /* list: prefix, [cursor] */
    LIST("*", "", NULL),
    LIST("user:", "", NULL),
    LIST("user:", " \t", NULL),
    LIST("user:", "c", "c"),
    LIST("*", "\tabc-DEF_09==\r ", "abc-DEF_09=="),
    LIST("**", "", NULL),
    LIST("*x", "", NULL),
    LIST("x*", "", NULL),
    BAD("list", "", "", KEY),
    BAD("list", "a b", "", KEY),
    BAD("list", "*", "a b", FIELDS),
    BAD("list", "*", "a b c d e", FIELDS),

    /* show: the kind */
    {"show", "k", "lock", IS(SHOW, LOCK)},
    {"show", "k", "sem", IS(SHOW, SEM)},
    {"show", "k", "\tsem ", IS(SHOW, SEM)},
    {"show", "*", "lock", IS(SHOW, LOCK)},
    BAD("show", "k", "", FIELDS),
    BAD("show", "k", "lock 1", FIELDS),
    BAD("show", "k", "lock sem", FIELDS),
    BAD("show", "k", "1 2 3 4 5", FIELDS),
    BAD("show", "k", "Lock", SYNTAX),
    BAD("show", "k", "SEM", SYNTAX),
    BAD("show", "k", "semaphore", SYNTAX),
    BAD("show", "k", "loc", SYNTAX),
    BAD("show", "k", "locks", SYNTAX),
    BAD("show", "k", "se", SYNTAX),
    BAD("show", "k", "sema", SYNTAX),
    BAD("show", "k", "0", SYNTAX),
    BAD("show", "", "lock", KEY),

    /* evict: the kind, [fence] */
    {"evict", "k", "lock", IS(EVICT, LOCK)},
    {"evict", "k", "sem", IS(EVICT, SEM)},
    {"evict", "k", " lock\t7 ", IS(EVICT, LOCK), .fence = 7},
    {"evict", "k", "sem 007", IS(EVICT, SEM), .fence = 7},
    {"evict", "k", "sem 9223372036854775808", IS(EVICT, SEM), .fence = UINT64_C(1) << 63},
    {"evict", "k", "sem 18446744073709551615", IS(EVICT, SEM), .fence = UINT64_MAX},
    BAD("evict", "k", "", FIELDS),
    BAD("evict", "k", "lock 1 2", FIELDS),
    BAD("evict", "k", "lock 1 2 3 4", FIELDS),
    BAD("evict", "k", "7", SYNTAX),
    BAD("evict", "k", "7 lock", SYNTAX),
    BAD("evict", "k", "lock 0", SYNTAX),
    BAD("evict", "k", "lock 000", SYNTAX),
    BAD("evict", "k", "lock -1", SYNTAX),
    BAD("evict", "k", "lock +1", SYNTAX),
    BAD("evict", "k", "lock x", SYNTAX),
    BAD("evict", "k", "lock 1/", SYNTAX),
    BAD("evict", "k", "lock 1:", SYNTAX),
    BAD("evict", "k", "lock 000000000000000f", SYNTAX),
    BAD("evict", "k", "lock 18446744073709551616", SYNTAX),
    BAD("evict", "k", "lock 18446744073709551617", SYNTAX),
    BAD("evict", "k", "lock 18446744073709551620", SYNTAX),
    BAD("evict", "k", "lock 184467440737095516150", SYNTAX),
    BAD("evict", "k", "lock 99999999999999999999999", SYNTAX),
    BAD("evict", "a b", "lock", KEY),

    /* unknown commands: case-sensitive, not trimmed, a blank line is not skipped */
    BAD("", "k", "10", COMMAND),
    BAD("\r", "k", "10", COMMAND),
    BAD("L", "k", "10", COMMAND),
    BAD("SL", "k", "10 3", COMMAND),
    BAD(" l", "k", "10", COMMAND),
    BAD("l ", "k", "10", COMMAND),
    BAD("l\t", "k", "10", COMMAND),
    BAD("\rl", "k", "10", COMMAND),
    BAD("l\rl", "k", "10", COMMAND),
    BAD("ll", "k", "10", COMMAND),
    BAD("s", "k", "10", COMMAND),
    BAD("ls", "k", "10", COMMAND),
    BAD("lock", "k", "10", COMMAND),
    BAD("pin", "", "", COMMAND),
    BAD("pings", "", "", COMMAND),
    BAD("PING", "", "", COMMAND),
    BAD("stat", "", "", COMMAND),
    BAD("AUTH", "", "x", COMMAND),
    BAD("auth ", "", "x", COMMAND),
    BAD("sevenxx", "k", "10", COMMAND),
    BAD("eightxxx", "k", "10", COMMAND),
    BAD("l\x01\x01\x01\x01\x01\x01\x01\x01", "k", "10", COMMAND),
    BAD("\xff\xfe", "k", "10", COMMAND),

    /* keys */
    BAD("l", "", "10", KEY),
    BAD("l", "\r\r", "10", KEY),
    BAD("l", " ", "10", KEY),
    BAD("l", " k", "10", KEY),
    BAD("l", "k ", "10", KEY),
    BAD("l", "k\t", "10", KEY),
    BAD("l", "k\rk", "10", KEY),
    BAD("l", "\rk", "10", KEY),
    BAD("sl", "", "10 3", KEY),
    BAD("r", "", TOKEN_A, KEY),
    BAD("sr", "", TOKEN_A, KEY),
    BAD("n", "", TOKEN_A, KEY),
    BAD("sn", "", TOKEN_A, KEY),
    BAD("e", "", "", KEY),
    BAD("se", "", "3", KEY),
    BAD("w", "", "3", KEY),
    BAD("sw", "", "3", KEY),

    /* the order of checks: command, key, field count, fields from left to right, syntax first */
    BAD("nope", "", "x", COMMAND),
    BAD("l", "", "x", KEY),
    BAD("l", "", "", KEY),
    BAD("n", "", "", KEY),
    BAD("l", "k", "x y z", FIELDS),
    BAD("sl", "k", "-1 x y z", FIELDS),
    BAD("l", "k", "-1 x", TIMEOUT),
    BAD("l", "k", "x 0", SYNTAX),
    BAD("l", "k", "-1 0", TIMEOUT),
    BAD("sl", "k", "-1 0 0", TIMEOUT),
    BAD("sl", "k", "1 0 0", LIMIT),
    BAD("sl", "k", "1 1 0", LEASE),
    BAD("sl", "k", "1 x 0", SYNTAX),
    BAD("sl", "k", "1 0 x", LIMIT),
    BAD("se", "k", "0 x", LIMIT),
    BAD("evict", "k", "x 0", SYNTAX),
};
/* clang-format on */

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static size_t compose(char *buf, const struct row *row, const char *eol)
{
    char *p = buf;

    p = stpcpy(stpcpy(p, row->command), eol);
    p = stpcpy(stpcpy(p, row->key), eol);
    p = stpcpy(stpcpy(p, row->arg), eol);
    return (size_t)(p - buf);
}

static bool is_bytes(const char *got, uint32_t len, const char *want)
{
    if (want == NULL)
        return got == NULL && len == 0;
    return got != NULL && len == strlen(want) && memcmp(got, want, len) == 0;
}

/* A printable form of a request: TAP lines must hold neither LF nor '#'. */
static const char *show(const char *buf, size_t len)
{
    static char text[400];
    size_t n = 0;

    for (size_t i = 0; i < len && n < sizeof(text) - 8; i++) {
        unsigned char c = (unsigned char)buf[i];
        if (c > ' ' && c < 127 && c != '#' && c != '\\')
            text[n++] = (char)c;
        else if (c == ' ')
            text[n++] = '_';
        else
            n += (size_t)snprintf(text + n, 8, "\\%02x", c);
    }
    text[n] = '\0';
    return text;
}

/* Whole, once: every field of the result. Returns a text that says what is wrong, or NULL. */
static const char *check_row(const struct row *row, const char *buf, size_t len,
                             const char *command)
{
    struct request r;
    enum request_result result;
    const char *key = row->key;
    int line = 3;

    if (row->error == REQUEST_ERROR_COMMAND)
        line = 1;
    else if (row->error == REQUEST_ERROR_KEY)
        line = 2;
    memset(&r, 0xa5, sizeof(r)); /* nothing may be left as it was */
    result = request_parse(buf, len, &r);
    if (r.consumed != len)
        return "consumed";
    if (!is_bytes(r.command, r.command_len, command))
        return "command";
    if (r.room != 0)
        return "room";
    if (row->error != 0) {
        if (result != REQUEST_BAD)
            return "not BAD";
        if (r.error != row->error)
            return "error";
        if (r.line != line)
            return "line";
        if ((r.verb == VERB_NONE) != (row->error == REQUEST_ERROR_COMMAND))
            return "verb";
        if (r.kind != REQUEST_ANY || r.key != NULL || r.token != NULL || r.cursor != NULL ||
            r.key_len != 0 || r.token_len != 0 || r.cursor_len != 0 || r.limit != 0 ||
            r.timeout_s != 0 || r.lease_s != 0 || r.fence != 0)
            return "half a request";
        return NULL;
    }
    if (result != REQUEST_OK)
        return "not OK";
    if (r.error != 0 || r.line != 0)
        return "error of a good request";
    if (r.verb != row->verb || r.kind != row->kind)
        return "verb or kind";
    if (row->verb == VERB_PING || row->verb == VERB_STATS || row->verb == VERB_AUTH)
        key = NULL;
    if (row->verb == VERB_LIST && strcmp(key, "*") == 0)
        key = "";
    if (!is_bytes(r.key, r.key_len, key))
        return "key";
    if (!is_bytes(r.token, r.token_len, row->token))
        return "token";
    if (!is_bytes(r.cursor, r.cursor_len, row->cursor))
        return "cursor";
    if (r.timeout_s != row->timeout_s || r.lease_s != row->lease_s || r.limit != row->limit ||
        r.fence != row->fence)
        return "number";
    return NULL;
}

/* Each strict prefix says MORE and which line it waits for; more bytes behind change nothing. */
static const char *check_cuts(const char *buf, size_t len)
{
    static const char behind[] = "r\nk\nx\nl\nk\n10";
    char big[2048];
    struct request whole, part;
    enum request_result result = request_parse(buf, len, &whole);
    enum request_verb verb;
    int line = 1;

    for (size_t n = 0; n < len; n++) {
        if (request_parse(buf, n, &part) != REQUEST_MORE)
            return "a prefix is not MORE";
        if (part.line != line || part.consumed != 0 || part.error != 0)
            return "line";
        verb = line == 1 ? VERB_NONE : whole.verb;
        if (part.verb != verb || (part.command == NULL) != (line == 1))
            return "verb";
        if (part.room != (verb == VERB_AUTH ? REQUEST_AUTH_BYTES_MAX : REQUEST_BYTES_MAX))
            return "room";
        line += buf[n] == '\n';
    }
    for (size_t n = 0; n <= sizeof(behind); n++) {
        memcpy(big, buf, len);
        memcpy(big + len, behind, n);
        if (request_parse(big, len + n, &part) != result || !same_request(&part, big, &whole, buf))
            return "changed by what follows";
    }
    return NULL;
}

static void test_rows(void)
{
    char buf[1024];
    size_t len;

    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        const char *command = strcmp(row->command, "\r") == 0 ? "" : row->command;
        const char *wrong, *cuts;

        len = compose(buf, row, "\n");
        wrong = check_row(row, buf, len, command);
        cuts = check_cuts(buf, len);
        if (wrong == NULL)
            wrong = cuts;
        ok(wrong == NULL, "%s: %d", show(buf, len), row->error);
        if (wrong != NULL)
            diag("%s", wrong);
    }
}

/* A client that ends lines with CRLF, or with any number of CRs, is read as one that does not. */
static void test_crlf(void)
{
    static const char *const ends[] = {"\r\n", "\r\r\n", "\r\r\r\r\r\r\r\r\n"};
    char buf[1024];
    size_t len;

    for (size_t e = 0; e < sizeof(ends) / sizeof(ends[0]); e++) {
        const char *wrong = NULL;
        for (size_t i = 0; i < ROWS && wrong == NULL; i++) {
            const struct row *row = &rows[i];
            len = compose(buf, row, ends[e]);
            wrong = check_row(row, buf, len, strcmp(row->command, "\r") == 0 ? "" : row->command);
            if (wrong == NULL)
                wrong = check_cuts(buf, len);
            if (wrong != NULL)
                diag("%s: %s", show(buf, len), wrong);
        }
        ok(wrong == NULL, "all rows with %zu CRs before each LF", strlen(ends[e]) - 1);
    }
}

/* Every byte but LF, in the middle of a key and at its ends. */
static void test_key_bytes(void)
{
    struct request r;
    int wrong = 0;

    for (int c = 0; c < 256; c++) {
        char mid[] = "l\na?b\n10\n", first[] = "l\n?b\n10\n", last[] = "l\nb?\n10\n";
        bool white = c == ' ' || c == '\t' || c == '\r';

        if (c == '\n')
            continue;
        mid[3] = first[2] = last[3] = (char)c;
        request_parse(mid, sizeof(mid) - 1, &r);
        wrong += r.error != (white ? REQUEST_ERROR_KEY : 0);
        wrong += !white && (r.key != mid + 2 || r.key_len != 3);
        request_parse(first, sizeof(first) - 1, &r);
        wrong += r.error != (white ? REQUEST_ERROR_KEY : 0);
        request_parse(last, sizeof(last) - 1, &r);
        wrong += r.error != (white && c != '\r' ? REQUEST_ERROR_KEY : 0);
        wrong += c == '\r' && r.key_len != 1;
        mid[0] = (char)c;
        request_parse(mid, sizeof(mid) - 1, &r);
        wrong += r.command_len != (c != '\r') || (c != '\r' && r.command[0] != (char)c);
    }
    is_int(wrong, 0,
           "NUL, VT, FF and all other control bytes are data in a key; SP, TAB, CR are not");

    ok(request_key_ok("k", 1) && request_key_ok("\0", 1) && request_key_ok("\v\f\xff", 3),
       "request_key_ok: good keys");
    ok(!request_key_ok("", 0) && !request_key_ok("a b", 3) && !request_key_ok("a\t", 2) &&
           !request_key_ok("\n", 1) && !request_key_ok("\r", 1),
       "request_key_ok: bad keys");
}

/* NUL is data everywhere: it neither ends a line nor a field, and is no white space. */
static void test_nul(void)
{
    struct request r;

#define PARSE(text) request_parse(text, sizeof(text) - 1, &r)
    ok(PARSE("l\0\nk\n10\n") == REQUEST_BAD && r.error == REQUEST_ERROR_COMMAND &&
           r.command_len == 2,
       "a command with a NUL behind it is unknown");
    ok(PARSE("\0\nk\n10\n") == REQUEST_BAD && r.error == REQUEST_ERROR_COMMAND,
       "a NUL alone is an unknown command");
    ok(PARSE("l\0\0\0\0\0\0\nk\n10\n") == REQUEST_BAD && r.error == REQUEST_ERROR_COMMAND,
       "so is one filled with NULs to seven bytes");
    ok(PARSE("l\0\0\0\0\0\0\1\nk\n10\n") == REQUEST_BAD && r.error == REQUEST_ERROR_COMMAND,
       "and one of eight bytes whose last could pass for a length");
    ok(PARSE("l\nk\n10\0\n") == REQUEST_BAD && r.error == REQUEST_ERROR_SYNTAX,
       "an integer with a NUL behind it is none");
    ok(PARSE("l\nk\n10\0 20\n") == REQUEST_BAD && r.error == REQUEST_ERROR_SYNTAX,
       "a NUL separates no fields");
    ok(PARSE("r\nk\n\0a\0\n") == REQUEST_OK && r.token_len == 3 && memcmp(r.token, "\0a", 3) == 0,
       "a NUL is part of a token, at its ends too");
    ok(PARSE("evict\nk\nlock\0\n") == REQUEST_BAD && r.error == REQUEST_ERROR_SYNTAX,
       "a kind with a NUL behind it is none");
    ok(PARSE("evict\nk\nlock 1\0\n") == REQUEST_BAD && r.error == REQUEST_ERROR_SYNTAX,
       "a fence with a NUL behind it is none");
#undef PARSE
}

/* Puts `n` bytes of `c`, then `crs` CRs, on line `line` of a request that is otherwise good. */
static size_t long_line(char *buf, const char *command, int line, char c, size_t n, size_t crs,
                        bool lf, size_t *start)
{
    const char *const text[3] = {command, "k", "10"};
    char *p = buf;

    for (int i = 1; i <= 3; i++) {
        if (i != line) {
            p = stpcpy(stpcpy(p, text[i - 1]), "\n");
            continue;
        }
        *start = (size_t)(p - buf);
        memset(p, c, n);
        p += n;
        memset(p, '\r', crs);
        p += crs;
        if (!lf)
            break;
        *p++ = '\n';
    }
    return (size_t)(p - buf);
}

static void test_caps_of(const char *command, int line, size_t cap)
{
    char *buf = malloc(REQUEST_AUTH_BYTES_MAX + 64);
    struct request r;
    enum request_result result;
    size_t len, start;
    const char *name = *command == '\0' ? "(empty)" : command;

    len = long_line(buf, command, line, '7', cap, 0, true, &start);
    result = request_parse(buf, len, &r);
    ok((result == REQUEST_OK || result == REQUEST_BAD) && r.consumed == len &&
           r.error != REQUEST_ERROR_LONG,
       "%s, line %d: %zu bytes pass", name, line, cap);

    len = long_line(buf, command, line, '7', cap + 1, 0, true, &start);
    result = request_parse(buf, len, &r);
    ok(result == REQUEST_LONG && r.error == REQUEST_ERROR_LONG && r.line == line &&
           r.consumed == start + cap + 1 && r.key == NULL && r.token == NULL,
       "%s, line %d: %zu bytes fail", name, line, cap + 1);
    ok((r.verb == VERB_NONE) == (line == 1 || *command == '\0') &&
           (r.command == NULL) == (line == 1),
       "%s, line %d: the verb is told when its line was read", name, line);

    len = long_line(buf, command, line, '7', cap - 3, 3, true, &start);
    result = request_parse(buf, len, &r);
    ok((result == REQUEST_OK || result == REQUEST_BAD) && r.consumed == len,
       "%s, line %d: %zu bytes and 3 CRs pass", name, line, cap - 3);

    len = long_line(buf, command, line, '7', cap, 1, true, &start);
    ok(request_parse(buf, len, &r) == REQUEST_LONG && r.line == line,
       "%s, line %d: %zu bytes and a CR fail", name, line, cap);

    len = long_line(buf, command, line, '\r', cap + 1, 0, true, &start);
    ok(request_parse(buf, len, &r) == REQUEST_LONG && r.line == line,
       "%s, line %d: %zu CRs alone fail", name, line, cap + 1);

    len = long_line(buf, command, line, '7', cap, 0, false, &start);
    ok(request_parse(buf, len, &r) == REQUEST_MORE && r.line == line && len < r.room,
       "%s, line %d: %zu bytes without an LF are waited on", name, line, cap);

    len = long_line(buf, command, line, '7', cap + 1, 0, false, &start);
    ok(request_parse(buf, len, &r) == REQUEST_LONG && r.consumed == len,
       "%s, line %d: %zu bytes without an LF fail at once", name, line, cap + 1);
    free(buf);
}

static void test_caps(void)
{
    for (int line = 1; line <= 3; line++)
        test_caps_of("l", line, 256);
    test_caps_of("ping", 2, 256);
    test_caps_of("ping", 3, 256);
    test_caps_of("stats", 2, 256);
    test_caps_of("stats", 3, 256);
    test_caps_of("", 2, 256); /* an unknown command is unknown only when three lines are read */
    test_caps_of("", 3, 256);
    test_caps_of("auth", 1, 256);
    test_caps_of("auth", 2, 256);
    test_caps_of("auth", 3, 65536);
    test_caps_of("auth\r\r", 3, 65536);
}

/* Only `auth` itself raises the cap of the third line. */
static void test_caps_like_auth(void)
{
    static const char *const like[] = {"AUTH",   "auth ",  " auth", "aut",  "auths", "auth\r ",
                                       "\rauth", "auth\v", "Auth",  "list", "show",  "evict"};
    char buf[2048];
    struct request r;
    size_t len, start;

    for (size_t i = 0; i < sizeof(like) / sizeof(like[0]); i++) {
        len = long_line(buf, like[i], 3, 'x', 257, 0, true, &start);
        ok(request_parse(buf, len, &r) == REQUEST_LONG && r.line == 3, "cap of '%s' is 256",
           show(like[i], strlen(like[i])));
    }
    len = long_line(buf, "auth\0", 3, 'x', 257, 0, true, &start);
    memmove(buf + 5, buf + 4, len - 4);
    buf[4] = '\0';
    ok(request_parse(buf, len + 1, &r) == REQUEST_LONG && r.line == 3, "cap of 'auth\\0' is 256");
}

static void test_auth_long(void)
{
    char *buf = malloc(REQUEST_AUTH_BYTES_MAX);
    struct request r;
    size_t len, start, n;
    int wrong = 0;

    len = long_line(buf, "auth", 3, 's', 65536, 0, true, &start);
    ok(request_parse(buf, len, &r) == REQUEST_OK && r.token == buf + start &&
           r.token_len == 65536 && r.consumed == len,
       "auth: a secret of 65,536 bytes is read");
    for (n = 0; n < len; n++)
        if (n < 8 || n % 97 == 0 || n + 8 > len)
            wrong += request_parse(buf, n, &r) != REQUEST_MORE;
    is_int(wrong, 0, "auth: each part of it is waited on");
    memset(buf + start + 100, ' ', 65536 - 100);
    ok(request_parse(buf, len, &r) == REQUEST_OK && r.token_len == 100, "auth: it is trimmed");
    memset(buf + start, ' ', 65536);
    ok(request_parse(buf, len, &r) == REQUEST_BAD && r.error == REQUEST_ERROR_TOKEN &&
           r.verb == VERB_AUTH,
       "auth: 65,536 spaces are an empty token");

    /* The greatest requests: a buffer of *_BYTES_MAX is enough, one byte less is not. */
    memset(buf, 'x', REQUEST_AUTH_BYTES_MAX);
    memset(buf, '\r', 256);
    memcpy(buf, "auth", 4);
    buf[256] = buf[513] = buf[REQUEST_AUTH_BYTES_MAX - 1] = '\n';
    ok(request_parse(buf, REQUEST_AUTH_BYTES_MAX, &r) == REQUEST_OK &&
           r.consumed == REQUEST_AUTH_BYTES_MAX && r.token_len == 65536,
       "REQUEST_AUTH_BYTES_MAX is the longest auth");
    ok(request_parse(buf, REQUEST_AUTH_BYTES_MAX - 1, &r) == REQUEST_MORE &&
           r.room == REQUEST_AUTH_BYTES_MAX,
       "and announced while it is incomplete");
    buf[REQUEST_AUTH_BYTES_MAX - 1] = 'x';
    is_int(request_parse(buf, REQUEST_AUTH_BYTES_MAX, &r), REQUEST_LONG,
           "never MORE for that many");
    free(buf);
}

static void test_bytes_max(void)
{
    char buf[REQUEST_BYTES_MAX];
    struct request r;

    memset(buf, 'k', sizeof(buf));
    memset(buf, '\r', 256);
    memset(buf + 514, ' ', 256);
    buf[0] = 'r';
    buf[600] = 't';
    buf[256] = buf[513] = buf[770] = '\n';
    ok(request_parse(buf, sizeof(buf), &r) == REQUEST_OK && r.consumed == sizeof(buf) &&
           r.key_len == 256 && r.token_len == 1,
       "REQUEST_BYTES_MAX is the longest request; a key may have 256 bytes");
    ok(request_parse(buf, sizeof(buf) - 1, &r) == REQUEST_MORE && r.room == REQUEST_BYTES_MAX,
       "and announced while it is incomplete");
    buf[770] = 'x';
    is_int(request_parse(buf, sizeof(buf), &r), REQUEST_LONG, "never MORE for that many");
}

static void test_skip(void)
{
    char buf[4096];
    struct request r;
    size_t len, start, n;
    bool found;
    int wrong = 0;

    n = request_skip_line("", 0, &found);
    ok(n == 0 && !found, "skip: nothing");
    n = request_skip_line("abc", 3, &found);
    ok(n == 3 && !found, "skip: all of a part");
    n = request_skip_line("\nabc", 4, &found);
    ok(n == 1 && found, "skip: an LF");
    n = request_skip_line("a\0b\nc\n", 6, &found);
    ok(n == 4 && found, "skip: through the first LF");

    /* consumed and the skip together end behind the long line's LF, however it arrived. */
    for (size_t over = 257; over < 1200; over++) {
        for (int line = 1; line <= 3; line++) {
            len = long_line(buf, "l", line, 'x', over, 0, true, &start);
            for (size_t cut = start + 257; cut <= len; cut += 61) {
                if (request_parse(buf, cut, &r) != REQUEST_LONG) {
                    wrong++;
                    continue;
                }
                n = r.consumed + request_skip_line(buf + r.consumed, cut - r.consumed, &found);
                if (!found && n == cut)
                    n += request_skip_line(buf + n, len - n, &found);
                wrong += !found || n != start + over + 1;
            }
        }
    }
    is_int(wrong, 0, "an over-long line is discarded through its LF, however it was split");
}

static void test_pipelined(void)
{
    static const char text[] =
        "l\nfoo\n10\nr\r\nfoo\r\n" TOKEN_A "\r\nbad\n\n\nping\n\n\n\n\n\nauth\n\ns\n"
        "sl\nk\n10 3\nn";
    static const struct {
        enum request_result result;
        enum request_verb verb;
    } want[] = {
        {REQUEST_OK, VERB_ACQUIRE}, {REQUEST_OK, VERB_RELEASE}, {REQUEST_BAD, VERB_NONE},
        {REQUEST_OK, VERB_PING},    {REQUEST_BAD, VERB_NONE},   {REQUEST_OK, VERB_AUTH},
        {REQUEST_OK, VERB_ACQUIRE}, {REQUEST_MORE, VERB_NONE},
    };
    struct request r;
    size_t at = 0;

    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        enum request_result result = request_parse(text + at, sizeof(text) - 1 - at, &r);
        ok(result == want[i].result && r.verb == want[i].verb, "pipelined request %zu", i + 1);
        at += r.consumed;
    }
    is_int((long long)at, (long long)sizeof(text) - 2, "all but the last byte is consumed");
}

static void test_error_text(void)
{
    static const int codes[] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
    enum { N = sizeof(codes) / sizeof(codes[0]) };
    int wrong = 0;

    for (int i = 0; i < N; i++) {
        const char *text = request_error_text(codes[i]);
        wrong += text[0] == '\0' || strcmp(text, request_error_text(0)) == 0;
        for (int j = 0; j < i; j++)
            wrong += strcmp(text, request_error_text(codes[j])) == 0;
    }
    is_int(wrong, 0, "each code has a text of its own");
    is_str(request_error_text(0), "unknown error", "0 has none");
    is_str(request_error_text(2), "unknown error", "2 has none");
    is_str(request_error_text(14), "unknown error", "14 has none");
    is_str(request_error_text(-1), "unknown error", "-1 has none");
    ok(REQUEST_ERROR_COMMAND == 3 && REQUEST_ERROR_SYNTAX == 4 && REQUEST_ERROR_KEY == 5 &&
           REQUEST_ERROR_TIMEOUT == 6 && REQUEST_ERROR_TOKEN == 7 && REQUEST_ERROR_FIELDS == 8 &&
           REQUEST_ERROR_LEASE == 9 && REQUEST_ERROR_DEADLINE == 10 && REQUEST_ERROR_GONE == 11 &&
           REQUEST_ERROR_LONG == 12 && REQUEST_ERROR_LIMIT == 13,
       "the codes are those of the protocol");
}

int main(void)
{
    test_rows();
    test_crlf();
    test_key_bytes();
    test_nul();
    test_caps();
    test_caps_like_auth();
    test_auth_long();
    test_bytes_max();
    test_skip();
    test_pipelined();
    test_error_text();
    return done_testing();
}
