/*
 * semaphore.c - one of three slots.
 *
 * Prints:
 *     semaphore slot acquired, doing work...
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
    dflock *s = dflock_semaphore_new("worker-pool", 3, NULL);
    int r = dflock_acquire(s);

    if (r < 0)
        errx(1, "%s", dflock_error_text());
    if (r == DFLOCK_TIMED_OUT)
        errx(1, "timed out waiting for semaphore slot");
    puts("semaphore slot acquired, doing work...");
    dflock_release(s);
    dflock_free(s);
    return 0;
}
