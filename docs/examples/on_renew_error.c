/*
 * on_renew_error.c - work that may run for hours: the lease is renewed all the time, and who lost
 * the lock all the same is told, and stops.
 *
 * Prints, if the lock is taken away from it:
 *     working under etl-job
 *     lost lock: server
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void lost(dflock *l, int error, const char *text, void *arg)
{
    (void)l;
    (void)text;
    (void)arg;
    printf("lost lock: %s\n", dflock_error_name(error));
    exit(1); /* alert, fail closed */
}

int main(void)
{
    dflock_options *o = dflock_options_new();
    dflock_options_set_lease(o, 30);
    dflock_options_set_renew(o, 0.5, 0.1); /* renew at 15 s */
    dflock_options_set_on_renew_error(o, lost, NULL);
    dflock *l = dflock_lock_new("etl-job", o);
    dflock_options_free(o);

    if (dflock_acquire(l) != DFLOCK_HELD)
        errx(1, "%s", dflock_error_text());
    printf("working under %s\n", dflock_key(l));
    fflush(stdout);
    while (dflock_is_held(l)) /* the critical section can run for hours */
        sleep(1);
    dflock_release(l);
    dflock_free(l);
    return 0;
}
