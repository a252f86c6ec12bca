/*
 * error_handling.c - what can happen, told apart.
 *
 * Prints, if somebody else has it:
 *     not acquired within the acquire timeout
 */
#include <dflock.h>
#include <stdio.h>

static int work(dflock *l, void *arg)
{
    (void)l;
    (void)arg;
    puts("work done");
    return 0;
}

int main(void)
{
    dflock_options *o = dflock_options_new();
    dflock_options_set_acquire_timeout(o, 1);
    dflock *l = dflock_lock_new("my-key", o);
    dflock_options_free(o);

    int r = dflock_with_lock(l, work, NULL, NULL);
    if (r == DFLOCK_TIMED_OUT)
        puts("not acquired within the acquire timeout");
    else if (r == DFLOCK_ERR_AUTH)
        puts("authentication failed (bad or missing token)");
    else if (r < 0)
        printf("%s: %s\n", dflock_error_name(r), dflock_error_text()); /* disconnect, ... */
    dflock_free(l);
    return 0;
}
