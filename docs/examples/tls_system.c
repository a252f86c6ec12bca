/*
 * tls_system.c - TLS, with the authorities that the system trusts.
 *
 * Prints:
 *     acquired lock over TLS
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
    dflock_options *o = dflock_options_new();
    dflock_options_set_tls(o, 1);
    dflock *l = dflock_lock_new("my-resource", o);
    dflock_options_free(o);

    if (dflock_acquire(l) != DFLOCK_HELD)
        errx(1, "%s", dflock_error_text());
    puts("acquired lock over TLS");
    dflock_release(l);
    dflock_free(l);
    return 0;
}
