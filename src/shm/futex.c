/*
 * shm/futex.c - see futex.h. No FUTEX_PRIVATE_FLAG: the words are shared between processes.
 */
#include "shm/futex.h"

#include "base/clock.h"
#include "base/point.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void futex_wait(const uint32_t *word, uint32_t seen, uint64_t timeout_ns)
{
    struct timespec ts = {.tv_sec = (time_t)(timeout_ns / NS_PER_SEC),
                          .tv_nsec = (long)(timeout_ns % NS_PER_SEC)};

    SYS(FUTEX_WAIT,
        syscall(SYS_futex, word, FUTEX_WAIT, seen, timeout_ns ? &ts : NULL, NULL, 0));
}

void futex_wake(uint32_t *word, int n)
{
    SYS(FUTEX_WAKE, syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0));
}
