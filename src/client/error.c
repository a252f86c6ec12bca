/*
 * client/error.c - error codes and their names, and the text of a thread's last failure.
 */
#include "client/error.h"
#include "client/dflock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char last_text[FAILURE_TEXT_MAX + 64];
static _Thread_local char errno_text[128];

int failure_set(struct failure *f, int code, const char *format, ...)
{
    va_list args;

    if (f->code)
        return f->code;
    f->code = code;
    va_start(args, format);
    (void)vsnprintf(f->text, sizeof(f->text), format, args);
    va_end(args);
    return code;
}

void failure_clear(struct failure *f)
{
    f->code = 0;
    f->text[0] = '\0';
}

int failure_raise(const struct failure *f, const char *call)
{
    return error_raise(f->code, call, "%s", f->text);
}

int error_raise(int code, const char *call, const char *format, ...)
{
    size_t n = (size_t)snprintf(last_text, sizeof(last_text), "%s: ", call);
    va_list args;

    if (n < sizeof(last_text)) {
        va_start(args, format);
        (void)vsnprintf(last_text + n, sizeof(last_text) - n, format, args);
        va_end(args);
    }
    return code;
}

const char *error_errno(int errnum)
{
    return strerror_r(errnum, errno_text, sizeof(errno_text));
}

const char *dflock_error_text(void)
{
    return last_text;
}

const char *dflock_error_name(int error)
{
    static const char *const names[] = {
        [-DFLOCK_ERR_TIMEOUT] = "timeout",
        [-DFLOCK_ERR_MAX_LOCKS] = "max_locks",
        [-DFLOCK_ERR_MAX_WAITERS] = "max_waiters",
        [-DFLOCK_ERR_LIMIT_MISMATCH] = "limit_mismatch",
        [-DFLOCK_ERR_NOT_QUEUED] = "not_queued",
        [-DFLOCK_ERR_ALREADY_QUEUED] = "already_queued",
        [-DFLOCK_ERR_LEASE_EXPIRED] = "lease_expired",
        [-DFLOCK_ERR_AUTH] = "auth",
        [-DFLOCK_ERR_DRAINING] = "draining",
        [-DFLOCK_ERR_SERVER] = "server",
        [-DFLOCK_ERR_PROTOCOL] = "protocol",
        [-DFLOCK_ERR_CONNECT] = "connect",
        [-DFLOCK_ERR_TLS] = "tls",
        [-DFLOCK_ERR_CANCELLED] = "cancelled",
        [-DFLOCK_ERR_INVALID] = "invalid",
        [-DFLOCK_ERR_STATE] = "state",
        [-DFLOCK_ERR_CLOSED] = "closed",
        [-DFLOCK_ERR_SYSTEM] = "system",
    };

    if (error >= 0 || error < DFLOCK_ERR_SYSTEM)
        return "unknown";
    return names[-error];
}

const char *dflock_version(void)
{
    return PACKAGE_VERSION;
}
