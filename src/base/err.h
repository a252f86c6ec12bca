/*
 * base/err.h - error codes: 0 is success, -errno what the kernel or libc said, and from -4000 down
 * the project's own (the kernel's end at -4095, but no errno is near 4000).
 *
 * An outcome that is a legal answer (timeout, not held) is not an error and has no code here.
 *
 * Any process, any thread; takes no lock.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

enum err {
    ERR_CONFIG = -4000,   /* the configuration is refused; the report says why */
    ERR_CORRUPT = -4001,  /* stored data contradicts itself */
    ERR_VERSION = -4002,  /* stored data is of a version or layout this program does not know */
    ERR_FULL = -4003,     /* a fixed table has no room left */
    ERR_PROTOCOL = -4004, /* the other side said what it may not say */
    ERR_RESOLVE = -4005,  /* a name has no address */
    ERR_CLOSED = -4006,   /* the other side closed in an orderly way */
    ERR_CRYPTO = -4007,   /* the cryptographic library failed */
    ERR_STALE = -4008,    /* stored data was true once, of another life of the machine */
    ERR_LAST = ERR_STALE,
};

/* Text without a final newline; for an unknown code it holds the number. Valid until the same
 * thread calls again. Keeps errno. */
const char *err_text(int code);

/* Whether it may be over in a moment: no memory, no descriptors. */
bool err_is_momentary(int code);

#endif
