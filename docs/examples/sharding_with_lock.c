/*
 * sharding_with_lock.c - a function under a lock on one of three servers.
 *
 * Prints:
 *     my-resource is on 10.0.0.1:6388
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>

static int work(dflock *l, void *arg)
{
    (void)arg;
    printf("%s is on %s\n", dflock_key(l), dflock_server(l));
    return 0;
}

int main(void)
{
    dflock_options *o = dflock_options_new();
    dflock_options_set_servers(o, "10.0.0.1:6388,10.0.0.2:6388,10.0.0.3:6388");
    dflock *l = dflock_lock_new("my-resource", o);
    dflock_options_free(o);

    if (dflock_with_lock(l, work, NULL, NULL) != DFLOCK_HELD)
        errx(1, "not acquired: %s", dflock_error_text());
    dflock_free(l);
    return 0;
}
