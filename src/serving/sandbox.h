/*
 * serving/sandbox.h - what a process that serves clients may still do once it serves: use the descriptors that it has and
 * those that the master sends, and its memory. docs/internals/sandbox.md says what and why.
 */
#ifndef SERVING_SANDBOX_H
#define SERVING_SANDBOX_H

#include "base/confine.h"

/* Before its first thread, with all that it opens by name open. For sandbox_seal(). */
int sandbox_start(void);

/*
 * When everything is open, and before a byte of a client is looked at. A kernel that lacks a part
 * is no error: the log says which, and the process serves without it. A negative error: no memory.
 * `calls`: what it may call, beside what every C program needs.
 */
int sandbox_seal(int landlock, const struct confine_call *calls, size_t n);

#endif
