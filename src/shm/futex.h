/*
 * shm/futex.h - the futex system call on words of the shared region. The only file that makes it.
 */
#ifndef SHM_FUTEX_H
#define SHM_FUTEX_H

#include <stdint.h>

/* Sleeps while *word == seen, until woken, or for at most timeout_ns (0 = for ever). */
void futex_wait(const uint32_t *word, uint32_t seen, uint64_t timeout_ns);

/* Wakes at most n sleepers. */
void futex_wake(uint32_t *word, int n);

#endif
