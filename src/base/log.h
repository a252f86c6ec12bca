/*
 * base/log.h - one event, one line on stderr, by one write(2).
 *
 *     log_warn("connection refused", log_str("addr", addr), log_uint("limit", limit));
 *
 *     2026-11-20T11:09:35.123Z warn connection refused proc=master addr=192.0.2.7 limit=100
 *
 * A line has at most LOG_LINE_MAX bytes, so that lines of several processes do not mix in a pipe;
 * what does not fit is cut, and the line says so (truncated=true). Never pass a token or a secret.
 *
 * Rate limit: each call site (place in the source) may write 20 lines at once and one a second in
 * the long run; the next line that gets through says suppressed=N. Audit lines have no limit.
 *
 * Any process, any thread, also in a child after fork(); takes no lock, allocates nothing, keeps
 * errno. Errors of write() are ignored: there is nobody to tell. SIGPIPE is the program's business.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_MAX 4096 /* PIPE_BUF; the line's newline included */

enum log_level { LVL_ERROR, LVL_WARN, LVL_INFO, LVL_DEBUG };

enum log_format {
    LOG_FORMAT_TEXT, /* these two become those below if log_init() finds that stderr is the journal */
    LOG_FORMAT_JSON,
    LOG_FORMAT_JOURNAL, /* text after a priority, "<4>", which the journal takes off */
    LOG_FORMAT_JSON_JOURNAL,
};

/* Without it: text, info. May be called again (reload). */
void log_init(enum log_format format, enum log_level level);
void log_set_level(enum log_level level);

/* Adds proc=name to each line from here on; NULL or "" takes it away. At most 31 bytes of it are
 * kept. A child calls this first: it also forgets the rate limits inherited from the parent. */
void log_set_process(const char *name);

/* "error", "warn", "info", "debug" */
const char *log_level_name(enum log_level level);

/* Use the constructors below. */
enum log_kind {
    LOG_KIND_NONE,
    LOG_KIND_BYTES,
    LOG_KIND_INT,
    LOG_KIND_UINT,
    LOG_KIND_MS,
    LOG_KIND_ERR,
};

struct log_field {
    const char *key; /* a constant that needs no escaping */
    enum log_kind kind;
    size_t len; /* of bytes */
    union {
        const void *bytes;
        int64_t i;
        uint64_t u;
    };
};

/* A call site's rate: zero at the start. */
struct log_site {
    uint64_t due;        /* when the site will have earned back all its lines, BOOTTIME ns */
    uint32_t suppressed; /* since the last line */
    uint32_t generation; /* of the process that `due` and `suppressed` belong to */
};

/* Text; NULL is written as null. */
struct log_field log_str(const char *key, const char *s);
/* Any bytes: controls and what is not UTF-8 are escaped (JSON: replaced by U+FFFD). */
struct log_field log_bytes(const char *key, const void *p, size_t n);
struct log_field log_int(const char *key, int64_t value);
struct log_field log_uint(const char *key, uint64_t value);
/* The text of a negative error code, see base/err.h. */
struct log_field log_err(const char *key, int code);
/* Nanoseconds, written as milliseconds: log_ms("took", ns) is took_ms=12.345. */
struct log_field log_ms(const char *key, uint64_t ns);

extern enum log_level log_level_now; /* only for log_on() */

static inline bool log_on(enum log_level level)
{
    return level <= __atomic_load_n(&log_level_now, __ATOMIC_RELAXED);
}

/* The message is a literal: what varies goes into fields. Arguments are evaluated only if the level
 * is on. */
#define log_error(msg, ...) LOG_AT_SITE(LVL_ERROR, msg, ##__VA_ARGS__)
#define log_warn(msg, ...) LOG_AT_SITE(LVL_WARN, msg, ##__VA_ARGS__)
#define log_info(msg, ...) LOG_AT_SITE(LVL_INFO, msg, ##__VA_ARGS__)
#define log_debug(msg, ...) LOG_AT_SITE(LVL_DEBUG, msg, ##__VA_ARGS__)
/* What must not be lost: written whatever level is set, and never suppressed. What bodes ill is a
 * warning. */
#define log_audit(msg, ...) LOG_WRITE(NULL, LVL_INFO, msg, ##__VA_ARGS__)
#define log_audit_warn(msg, ...) LOG_WRITE(NULL, LVL_WARN, msg, ##__VA_ARGS__)

#define LOG_AT_SITE(level, msg, ...)                                                               \
    do {                                                                                           \
        static struct log_site log_site_;                                                          \
        if (log_on(level))                                                                         \
            LOG_WRITE(&log_site_, level, msg, ##__VA_ARGS__);                                      \
    } while (0)

/* The first field is a dummy, so that the array is never empty. */
#define LOG_WRITE(site, level, msg, ...)                                                           \
    do {                                                                                           \
        const struct log_field log_fields_[] = {{.kind = LOG_KIND_NONE}, ##__VA_ARGS__};           \
        log_write(site, level, "" msg "", log_fields_,                                             \
                  sizeof(log_fields_) / sizeof(log_fields_[0]));                                   \
    } while (0)

/* Use the macros. */
__attribute__((cold)) void log_write(struct log_site *site, enum log_level level, const char *msg,
                                     const struct log_field *field, size_t n);

#endif
