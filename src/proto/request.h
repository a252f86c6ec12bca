/*
 * proto/request.h - the line protocol's requests: bytes received so far → struct request.
 *
 * Pure: no system call, clock, log, malloc or global. Any process, any thread. Nothing is copied:
 * the pointers in a struct request point into the caller's bytes and live as long as those do.
 */
#ifndef PROTO_REQUEST_H
#define PROTO_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REQUEST_LINE_MAX 256   /* bytes of a line before its LF, CRs counted */
#define REQUEST_AUTH_MAX 65536 /* of the third line when the first is exactly `auth` */
#define REQUEST_KEY_MAX 256

/*
 * The longest whole request. A view of this many bytes never yields REQUEST_MORE, so it is also
 * the least that a buffer must hold.
 */
#define REQUEST_BYTES_MAX (3 * (REQUEST_LINE_MAX + 1))
#define REQUEST_AUTH_BYTES_MAX (2 * (REQUEST_LINE_MAX + 1) + REQUEST_AUTH_MAX + 1)

#define REQUEST_LIMIT_MAX 1048576

enum request_result {
    REQUEST_MORE, /* not whole yet; nothing to discard */
    REQUEST_OK,
    REQUEST_BAD,  /* whole but malformed: answer `error`, discard `consumed`, go on */
    REQUEST_LONG, /* a line is over its cap: discard `consumed`, then what request_skip_line() says
                     up to that line's LF; answer `error`, close */
};

enum request_verb {
    VERB_NONE, /* the command is unknown, or not read yet */
    VERB_ACQUIRE,
    VERB_RELEASE,
    VERB_RENEW,
    VERB_ENQUEUE,
    VERB_WAIT,
    VERB_PING,
    VERB_STATS,
    VERB_AUTH,
    VERB_LIST,
    VERB_SHOW,
    VERB_EVICT,
    VERB_COUNT
};

/* The row of command.def, for statistics: ROW_ACQUIRE_LOCK, … */
/* clang-format off */
enum request_row {
    ROW_NONE, /* no command, or not known yet */
#define COMMAND(word, verb, kind, ...) ROW_##verb##_##kind,
#include "proto/command.def"
#undef COMMAND
    ROW_COUNT
};
/* clang-format on */

/* The key space. LOCK and SEM have the values of core's enum kind. */
enum request_kind {
    REQUEST_LOCK = 0,
    REQUEST_SEM = 1,
    REQUEST_ANY = 2, /* ping, stats, auth, list; and whatever is not REQUEST_OK */
};

/* The numbers that the log shows; the wire says `error` for all of them. */
enum request_error {
    REQUEST_ERROR_COMMAND = 3,
    REQUEST_ERROR_SYNTAX = 4, /* not an integer (or beyond 64 bits); a kind that is neither `lock`
                                 nor `sem`; a fence that is not a positive decimal u64 */
    REQUEST_ERROR_KEY = 5,
    REQUEST_ERROR_TIMEOUT = 6,
    REQUEST_ERROR_TOKEN = 7,
    REQUEST_ERROR_FIELDS = 8,
    REQUEST_ERROR_LEASE = 9,
    REQUEST_ERROR_DEADLINE = 10, /* the caller's to find */
    REQUEST_ERROR_GONE = 11,     /* the caller's to find */
    REQUEST_ERROR_LONG = 12,
    REQUEST_ERROR_LIMIT = 13,
};

/*
 * What request_parse() says. Only the fields named under a result mean something; all others are
 * zero (kind: REQUEST_ANY).
 *   MORE  line (the one that lacks its LF), room; from line 2 on: verb, command
 *   OK    verb, kind, command, consumed, and by verb: key, token, cursor, numbers
 *   BAD   error, line (1 command, 2 key, 3 arg), verb, command, consumed
 *   LONG  error, line (the one over its cap), consumed; from line 2 on: verb, command
 */
struct request {
    enum request_verb verb;
    enum request_kind kind;
    enum request_row row; /* where verb is */
    const char *key;    /* list: the prefix, key_len 0 = all keys */
    const char *token;  /* release, renew, and auth's secret: opaque, 1 byte or more, not one that
                           token_parse() must accept */
    const char *cursor; /* list: opaque, NULL = from the start */
    uint32_t key_len;
    uint32_t token_len;
    uint32_t cursor_len;
    uint32_t limit;      /* acquire, enqueue: 1 to REQUEST_LIMIT_MAX; 1 for every lock command */
    int64_t timeout_s;   /* acquire, wait: 0 to SECONDS_MAX (base/num.h) */
    int64_t lease_s;     /* acquire, enqueue, renew: 1 to SECONDS_MAX; 0 = none given, use
                            the server's default. --max-lease-ttl is not the parser's business */
    uint64_t fence;      /* evict: that holder; 0 = none given, whoever holds it */
    const char *command; /* first line without trailing CRs, as received: escape it in a log */
    uint32_t command_len;
    int error;       /* enum request_error, 0 = none */
    int line;        /* 1 to 3, 0 = no line at fault */
    size_t room;     /* how many bytes the request may grow to: REQUEST_BYTES_MAX or, known once
                        the first line is whole, REQUEST_AUTH_BYTES_MAX */
    size_t consumed; /* BAD and OK: the three lines with their LFs. LONG: through the first byte
                        over the cap, so that the rest of that line is request_skip_line()'s */
};

/*
 * Reads one request from the first `len` bytes received and not yet consumed. Stateless: depends
 * on the bytes only, never on how they were split; bytes behind the request change nothing.
 */
enum request_result request_parse(const char *buf, size_t len, struct request *out);

/*
 * Goes on discarding a line after REQUEST_LONG: returns how many of `len` bytes to discard, the LF
 * included when it is among them; *found says whether it is.
 */
size_t request_skip_line(const char *buf, size_t len, bool *found);

/* 1 to 256 bytes, none of them SP, TAB, LF or CR. Other control bytes, NUL, VT and FF are data. */
bool request_key_ok(const char *key, size_t len);

/* The command's word, "unknown" for ROW_NONE; static. */
const char *request_row_text(enum request_row row);

/* For the log: a static text for an enum request_error, "unknown error" for other numbers. */
const char *request_error_text(int code);

#endif
