/*
 * cli/exitcode.c - see exitcode.h.
 */
#include "cli/exitcode.h"

#include "client/dflock.h"

enum exitcode exitcode_of(int error)
{
    switch (error) {
    case DFLOCK_ERR_AUTH:
        return EXITCODE_AUTH;
    case DFLOCK_ERR_INVALID:
    case DFLOCK_ERR_LIMIT_MISMATCH:
        return EXITCODE_USAGE;
    case DFLOCK_ERR_CONNECT:
    case DFLOCK_ERR_TLS:
    case DFLOCK_ERR_DRAINING:
    case DFLOCK_ERR_SERVER: /* a wait when it begins to drain, or too long a lease */
    case DFLOCK_ERR_MAX_LOCKS:
    case DFLOCK_ERR_MAX_WAITERS:
        return EXITCODE_UNAVAILABLE;
    default:
        return EXITCODE_INTERNAL;
    }
}
