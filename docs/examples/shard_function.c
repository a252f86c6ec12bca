/*
 * shard_function.c - the function that chooses the server, here the default; put in your own if you
 * know more about your keys.
 *
 * Prints:
 *     user:42:profile is on lock-a.internal:6388
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
    dflock_options *o = dflock_options_new();
    dflock_options_set_servers(o, "lock-a.internal:6388,lock-b.internal:6388,lock-c.internal:6388");
    dflock_options_set_shard(o, dflock_shard_crc32, NULL);
    dflock *l = dflock_lock_new("user:42:profile", o);
    dflock_options_free(o);

    if (!l)
        errx(1, "%s", dflock_error_text());
    printf("%s is on %s\n", dflock_key(l), dflock_server(l));
    dflock_free(l);
    return 0;
}
