/*
 * with_lock.c - a function that runs under the lock.
 *
 * Prints:
 *     acquired key=my-key token=TOKEN
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>

static int work(dflock *l, void *arg)
{
    (void)arg;
    printf("acquired key=%s token=%s\n", dflock_key(l), dflock_token(l));
    return 0;
}

int main(void)
{
    dflock_options *o = dflock_options_new();
    dflock_options_set_acquire_timeout(o, 10);
    dflock_options_set_lease(o, 20);
    dflock *l = dflock_lock_new("my-key", o);
    dflock_options_free(o);

    if (dflock_with_lock(l, work, NULL, NULL) != DFLOCK_HELD)
        errx(1, "not acquired: %s", dflock_error_text());
    /* The lock is released. */
    dflock_free(l);
    return 0;
}
