/*
 * auth.c - a server that wants a secret. dflock_options_set_auth_token_file() reads it from a file.
 *
 * Prints:
 *     authenticated and acquired lock
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
    dflock_options *o = dflock_options_new();
    dflock_options_set_servers(o, "127.0.0.1:6388");
    dflock_options_set_auth_token(o, "my-secret-token");
    dflock *l = dflock_lock_new("my-resource", o);
    dflock_options_free(o);

    int r = dflock_acquire(l);
    if (r < 0)
        errx(1, "%s", dflock_error_text());
    if (r == DFLOCK_TIMED_OUT)
        errx(1, "timed out");
    puts("authenticated and acquired lock");
    dflock_release(l);
    dflock_free(l);
    return 0;
}
