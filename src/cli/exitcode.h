/*
 * cli/exitcode.h - how dflock ends when it is not by the command's own exit code.
 */
#ifndef CLI_EXITCODE_H
#define CLI_EXITCODE_H

enum exitcode {
    EXITCODE_OK = 0,
    EXITCODE_NOT_GOT = 1,      /* the default of -E, as of flock(1) */
    EXITCODE_USAGE = 64,       /* EX_USAGE, as flock(1) */
    EXITCODE_UNAVAILABLE = 69, /* EX_UNAVAILABLE */
    EXITCODE_AUTH = 77,        /* EX_NOPERM */
    EXITCODE_INTERNAL = 125,   /* the lock was lost, or dflock itself failed; as env(1) */
    EXITCODE_CANNOT_RUN = 126,
    EXITCODE_NOT_FOUND = 127,
    EXITCODE_SIGNAL = 128 /* and the signal's number */
};

/* For what the library says when it did not get the lock: an enum dflock_error. */
enum exitcode exitcode_of(int error);

#endif
