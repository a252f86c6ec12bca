/*
 * two_phase_notify.c - somebody is told between joining the queue and blocking: here a program that
 * is given as the argument, and run with "acquired" or "queued".
 *
 * Prints, with the argument "echo notified:", if nobody has it:
 *     enqueue status: acquired
 *     notified: acquired
 *     critical section
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>

static void notify_external_system(const char *program, const char *status)
{
    char command[1024];

    snprintf(command, sizeof(command), "%s %s", program, status);
    fflush(stdout);
    if (system(command) != 0)
        warnx("%s failed", command);
}

int main(int argc, char **argv)
{
    dflock_options *o = dflock_options_new();
    dflock_options_set_lease(o, 20);
    dflock *l = dflock_lock_new("two-phase-key", o);
    dflock_options_free(o);

    /* Step 1: join the queue (returns immediately) */
    int r = dflock_enqueue(l);
    if (r < 0)
        errx(1, "%s", dflock_error_text());
    const char *status = r == DFLOCK_HELD ? "acquired" : "queued";

    /* Step 2: notify external system */
    printf("enqueue status: %s\n", status);
    notify_external_system(argc > 1 ? argv[1] : "echo", status);

    /* Step 3: block until the lock is granted */
    if (dflock_wait(l, 10) != DFLOCK_HELD)
        errx(1, "timed out waiting for lock");
    puts("critical section");
    dflock_release(l);
    dflock_free(l);
    return 0;
}
