/*
 * two_phase.c - take a place in the queue, do something else, wait for the lock.
 *
 * Prints, if somebody else has it:
 *     enqueue status: queued
 *     notifying external system...
 *     lock held, doing work...
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
    dflock *l = dflock_lock_new("my-key", NULL);
    int status = dflock_enqueue(l);

    if (status < 0)
        errx(1, "%s", dflock_error_text());
    printf("enqueue status: %s\n", status == DFLOCK_HELD ? "acquired" : "queued");

    if (status == DFLOCK_QUEUED) {
        /* Application logic between enqueue and wait */
        puts("notifying external system...");

        int r = dflock_wait(l, 30);
        if (r < 0)
            errx(1, "%s", dflock_error_text());
        if (r == DFLOCK_TIMED_OUT)
            errx(1, "timed out waiting");
    }
    puts("lock held, doing work...");
    dflock_release(l);
    dflock_free(l);
    return 0;
}
