/*
 * two_phase_status.c - the same, with a lease, by what enqueue says.
 *
 * Prints, if somebody else has it:
 *     waiting in queue for deploy
 *     deploying
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
    dflock_options *o = dflock_options_new();
    dflock_options_set_lease(o, 60);
    dflock *l = dflock_lock_new("deploy", o);
    dflock_options_free(o);

    switch (dflock_enqueue(l)) {
    case DFLOCK_HELD: /* grabbed it immediately */
        break;
    case DFLOCK_QUEUED:
        printf("waiting in queue for %s\n", dflock_key(l));
        if (dflock_wait(l, 5 * 60) != DFLOCK_HELD)
            errx(1, "not in time");
        break;
    default:
        errx(1, "%s", dflock_error_text());
    }
    puts("deploying");
    dflock_release(l);
    dflock_free(l);
    return 0;
}
