/*
 * basic_lock.c - take a lock, wait for it 10 s at most, work, give it back.
 *
 * Prints:
 *     acquired lock, token: TOKEN
 *     released
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
    dflock_options *o = dflock_options_new();
    dflock_options_set_servers(o, "127.0.0.1:6388");
    dflock_options_set_acquire_timeout(o, 10);
    dflock *l = dflock_lock_new("my-key", o);
    dflock_options_free(o);

    int r = dflock_acquire(l);
    if (r < 0)
        errx(1, "%s", dflock_error_text());
    if (r == DFLOCK_TIMED_OUT)
        errx(1, "timed out");
    printf("acquired lock, token: %s\n", dflock_token(l));

    /* The lock is renewed in the background. Do work here... */

    if (dflock_release(l) < 0)
        errx(1, "%s", dflock_error_text());
    puts("released");
    dflock_free(l);
    return 0;
}
