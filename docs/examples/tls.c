/*
 * tls.c - a server with TLS, whose certificate is of an authority of one's own.
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
    dflock_options_set_servers(o, "127.0.0.1:6388");
    if (dflock_options_set_tls_ca_file(o, "ca.pem") < 0)
        errx(1, "%s", dflock_error_text());
    dflock *l = dflock_lock_new("my-resource", o);
    dflock_options_free(o);

    int r = dflock_acquire(l);
    if (r < 0)
        errx(1, "%s", dflock_error_text());
    if (r == DFLOCK_TIMED_OUT)
        errx(1, "timed out");
    puts("acquired lock over TLS");
    dflock_release(l);
    dflock_free(l);
    return 0;
}
