/*
 * sharding.c - three servers; each key belongs to one of them, the same for all clients.
 *
 * Prints:
 *     my-key is held on 10.0.0.3:6388
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
    dflock_options *o = dflock_options_new();
    dflock_options_set_servers(o, "10.0.0.1:6388,10.0.0.2:6388,10.0.0.3:6388");
    /* dflock_shard_crc32 is the default */
    dflock *l = dflock_lock_new("my-key", o);
    dflock_options_free(o);

    if (dflock_acquire(l) != DFLOCK_HELD)
        errx(1, "not acquired: %s", dflock_error_text());
    printf("%s is held on %s\n", dflock_key(l), dflock_server(l));
    dflock_release(l);
    dflock_free(l);
    return 0;
}
