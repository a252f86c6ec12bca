/*
 * serving/sandbox.c - see sandbox.h. Runs in lock workers and in the HTTP worker.
 */
#include "serving/sandbox.h"

#include "base/err.h"
#include "base/log.h"

#include <errno.h>

/* What passes, as opposed to what this kernel does not have: the next worker will try again. */
static bool will_pass(int err)
{
    return err_is_momentary(err) || err == -EAGAIN;
}

int sandbox_start(void)
{
    return confine_paths();
}

int sandbox_seal(int landlock, const struct confine_call *calls, size_t n)
{
    int seccomp = confine_calls(calls, n);

    if (will_pass(landlock) || will_pass(seccomp))
        return will_pass(landlock) ? landlock : seccomp;
    if (landlock > 0 && seccomp == 0)
        log_debug("sandboxed", log_int("landlock", landlock), log_str("seccomp", "on"));
    else
        log_info("the sandbox is not complete here",
                 log_str("landlock", landlock > 0 ? "on" : err_text(landlock)),
                 log_str("seccomp", seccomp == 0 ? "on" : err_text(seccomp)));
    return 0;
}
