/*
 * tls_auth.c - TLS and a shared secret, which TLS protects on its way.
 *
 * Prints:
 *     k is held on lockd.internal:6388
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
    dflock_options *o = dflock_options_new();
    dflock_options_set_servers(o, "lockd.internal:6388");
    dflock_options_set_tls_server_name(o, "lockd.internal");
    dflock_options_set_tls_ca_file(o, "ca.pem");
    dflock_options_set_auth_token(o, "shared-secret");
    dflock *l = dflock_lock_new("k", o);
    dflock_options_free(o);

    if (dflock_acquire(l) != DFLOCK_HELD)
        errx(1, "%s", dflock_error_text());
    printf("%s is held on %s\n", dflock_key(l), dflock_server(l));
    dflock_release(l);
    dflock_free(l);
    return 0;
}
