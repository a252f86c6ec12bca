/*
 * worker/sandbox.h - what a worker may still do once it serves: use the descriptors that it has and
 * those that the master sends, and its memory. docs/internals/sandbox.md says what and why.
 */
#ifndef WORKER_SANDBOX_H
#define WORKER_SANDBOX_H

/* Before the worker's first thread, with all that it opens by name open. For sandbox_seal(). */
int sandbox_start(void);

/*
 * When everything is open, and before a byte of a client is looked at. A kernel that lacks a part
 * is no error: the log says which, and the worker serves without it. A negative error: no memory.
 */
int sandbox_seal(int landlock);

#endif
