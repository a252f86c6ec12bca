/*
 * semaphore_with_lock.c - a function that up to five run at a time.
 *
 * Prints:
 *     doing work...
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>

static int work(dflock *s, void *arg)
{
    (void)s;
    (void)arg;
    puts("doing work...");
    return 0;
}

int main(void)
{
    dflock *s = dflock_semaphore_new("worker-pool", 5, NULL);

    if (dflock_with_lock(s, work, NULL, NULL) != DFLOCK_HELD)
        errx(1, "no slot: %s", dflock_error_text());
    dflock_free(s);
    return 0;
}
