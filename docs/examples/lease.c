/*
 * lease.c - a lease of one's own choice: if this process dies without its connection being seen to
 * end, the lock is free after 20 s.
 *
 * Prints:
 *     acquired key=my-key token=TOKEN lease=20
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
    dflock_options *o = dflock_options_new();
    dflock_options_set_acquire_timeout(o, 10);
    dflock_options_set_lease(o, 20);
    dflock *l = dflock_lock_new("my-key", o);
    dflock_options_free(o);

    if (dflock_acquire(l) != DFLOCK_HELD)
        errx(1, "not acquired: %s", dflock_error_text());
    printf("acquired key=%s token=%s lease=%d\n", dflock_key(l), dflock_token(l),
           (int)dflock_lease(l));
    /* The lock is renewed in the background; do work... */
    dflock_release(l);
    dflock_free(l);
    return 0;
}
