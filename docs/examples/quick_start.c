/*
 * quick_start.c - the shortest program that holds a lock.
 *
 * Prints:
 *     lock acquired, doing work...
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
    dflock *l = dflock_lock_new("my-resource", NULL);
    int r = dflock_acquire(l);

    if (r < 0)
        errx(1, "%s", dflock_error_text());
    if (r == DFLOCK_TIMED_OUT)
        errx(1, "timed out waiting for lock");
    puts("lock acquired, doing work...");
    dflock_release(l);
    dflock_free(l);
    return 0;
}
