/*
 * base/err.c - see err.h.
 */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const own_text[] = {
    [ERR_CONFIG - ERR_CONFIG] = "configuration refused",
    [ERR_CONFIG - ERR_CORRUPT] = "stored data is corrupt",
    [ERR_CONFIG - ERR_VERSION] = "stored data has an unknown version",
    [ERR_CONFIG - ERR_FULL] = "no room left in a table",
    [ERR_CONFIG - ERR_PROTOCOL] = "unexpected message",
    [ERR_CONFIG - ERR_RESOLVE] = "name has no address",
    [ERR_CONFIG - ERR_CLOSED] = "closed by the other side",
    [ERR_CONFIG - ERR_CRYPTO] = "cryptographic library failed",
    [ERR_CONFIG - ERR_STALE] = "stored data is of an earlier boot",
};

_Static_assert(sizeof(own_text) / sizeof(own_text[0]) == ERR_CONFIG - ERR_LAST + 1,
               "each code has its text");

const char *err_text(int code)
{
    static _Thread_local char unknown[32];
    int saved = errno;
    const char *text;

    if (code <= ERR_CONFIG && code >= ERR_LAST)
        return own_text[ERR_CONFIG - code];
    if (code > 0 || code < ERR_CONFIG) {
        snprintf(unknown, sizeof(unknown), "unknown error %d", code);
        text = unknown;
    } else {
        /* GNU's, which fills the buffer only for numbers that it does not know. */
        text = strerror_r(-code, unknown, sizeof(unknown));
    }
    errno = saved;
    return text;
}

bool err_is_momentary(int code)
{
    return code == -ENOMEM || code == -ENOBUFS || code == -EMFILE || code == -ENFILE;
}
