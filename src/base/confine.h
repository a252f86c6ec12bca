/*
 * base/confine.h - a process locks itself in: no paths (Landlock), few system calls (seccomp).
 * There is no way back. What a process may still call is listed beside its code, not here; what
 * every C program needs is in confine.c.
 *
 * Capabilities and user are not given up here, but by the master at its start
 * (src/dflockd/user.c): all its children inherit that.
 */
#ifndef BASE_CONFINE_H
#define BASE_CONFINE_H

#include <stddef.h>
#include <stdint.h>

/* Of an argument, 1 to 6, only these bits must have this value. 0: any argument will do. */
struct confine_arg {
    unsigned n;
    uint64_t mask, value;
};

#define CONFINE_IS(n_, value_) {.n = (n_), .mask = UINT64_MAX, .value = (value_)}

struct confine_call {
    const char *name; /* of the system call; one that this machine does not have is passed over */
    struct confine_arg arg[2];
};

/*
 * No file can be opened, made, removed or executed any more, whatever its rights; with a newer
 * kernel no TCP port bound or connected to, and no process outside signalled. What is open stays
 * open. For the calling thread and those that it starts from then on: call it before the first.
 * Returns the version of Landlock, 1 or more; or a negative error: there is none.
 */
int confine_paths(void);

/*
 * Every system call but these, and but those that any C program needs, fails with ENOSYS. For all
 * threads. 0 or a negative error: nothing has changed.
 */
int confine_calls(const struct confine_call *calls, size_t n);

#endif
