/*
 * base/log.c - see log.h. A line is built on the stack (logline.c) and leaves by one write().
 */
#include "base/log.h"

#include "base/clock.h"
#include "base/logline.h"
#include "base/num.h"
#include "base/point.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RATE_BURST = 20 };

enum log_level log_level_now = LVL_INFO;

static enum log_format format = LOG_FORMAT_TEXT;
static char process[32];
static uint32_t generation; /* of this process: rates inherited from another are void */

/*
 * A site owns the time until `due`: each line adds a second, and more than RATE_BURST seconds ahead
 * is too much. Compare-and-swap, because threads may share a site.
 */
static bool admit(struct log_site *site, uint64_t now, uint32_t *suppressed)
{
    uint64_t due;
    uint64_t next;

    if (__atomic_load_n(&site->generation, __ATOMIC_RELAXED) != generation) {
        __atomic_store_n(&site->due, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&site->suppressed, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&site->generation, generation, __ATOMIC_RELAXED);
    }
    due = __atomic_load_n(&site->due, __ATOMIC_RELAXED);
    do {
        /* Only a test's clock steps back. */
        bool valid = due > now && due - now <= RATE_BURST * NS_PER_SEC;

        next = (valid ? due : now) + NS_PER_SEC;
        if (next - now > RATE_BURST * NS_PER_SEC) {
            __atomic_add_fetch(&site->suppressed, 1, __ATOMIC_RELAXED);
            return false;
        }
    } while (!__atomic_compare_exchange_n(&site->due, &due, next, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    *suppressed = __atomic_exchange_n(&site->suppressed, 0, __ATOMIC_RELAXED);
    return true;
}

void log_write(struct log_site *site, enum log_level level, const char *msg,
               const struct log_field *field, size_t n)
{
    int saved = errno;
    uint32_t suppressed = 0;
    struct logline l;

    if (site != NULL && !admit(site, clock_boottime_ns(), &suppressed)) {
        errno = saved;
        return;
    }
    logline_begin(&l, format, level, clock_realtime_ns(), msg);
    if (process[0] != '\0') {
        struct log_field proc = log_str("proc", process);

        logline_field(&l, &proc);
    }
    if (suppressed > 0) {
        struct log_field count = log_uint("suppressed", suppressed);

        logline_field(&l, &count);
    }
    for (size_t i = 0; i < n; i++)
        logline_field(&l, &field[i]);
    logline_end(&l);
    while (SYS(LOG_LINE, write(STDERR_FILENO, l.text, l.used)) < 0 && errno == EINTR)
        ;
    errno = saved;
}

/* systemd names the stream that it gave us; stderr may have been redirected since. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    const char *colon = stream != NULL ? strchr(stream, ':') : NULL;
    int64_t dev;
    int64_t ino;
    struct stat st;

    return colon != NULL && num_parse_i64(stream, (size_t)(colon - stream), &dev) == 0 &&
           num_parse_i64(colon + 1, strlen(colon + 1), &ino) == 0 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == (dev_t)dev && st.st_ino == (ino_t)ino;
}

void log_init(enum log_format wanted, enum log_level level)
{
    format = wanted;
    if (stderr_is_journal())
        format = wanted == LOG_FORMAT_JSON ? LOG_FORMAT_JSON_JOURNAL : LOG_FORMAT_JOURNAL;
    log_set_level(level);
}

void log_set_level(enum log_level level)
{
    __atomic_store_n(&log_level_now, level, __ATOMIC_RELAXED);
}

void log_set_process(const char *name)
{
    snprintf(process, sizeof(process), "%s", name != NULL ? name : "");
    generation++;
}

struct log_field log_str(const char *key, const char *s)
{
    return log_bytes(key, s, s != NULL ? strlen(s) : 0);
}

struct log_field log_bytes(const char *key, const void *p, size_t n)
{
    return (struct log_field){.key = key, .kind = LOG_KIND_BYTES, .len = n, .bytes = p};
}

struct log_field log_int(const char *key, int64_t value)
{
    return (struct log_field){.key = key, .kind = LOG_KIND_INT, .i = value};
}

struct log_field log_uint(const char *key, uint64_t value)
{
    return (struct log_field){.key = key, .kind = LOG_KIND_UINT, .u = value};
}

struct log_field log_err(const char *key, int code)
{
    return (struct log_field){.key = key, .kind = LOG_KIND_ERR, .i = code};
}

struct log_field log_ms(const char *key, uint64_t ns)
{
    return (struct log_field){.key = key, .kind = LOG_KIND_MS, .u = ns};
}
