/*
 * base/random.h - unpredictable bytes from the kernel.
 *
 * Any process, any thread; takes no lock. Nothing is buffered here, so a fork() cannot make two
 * processes draw the same bytes.
 */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>

/* Fills all n bytes; returns 0 or -errno. Waits for the kernel's pool at early boot. */
int random_bytes(void *out, size_t n);

#endif
