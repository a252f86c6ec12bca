/*
 * client/thread.c - see thread.h.
 */
#include "client/thread.h"

#include <signal.h>
#include <stddef.h>

int thread_start(pthread_t *id, const char *name, void *(*work)(void *), void *arg)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all;
    int error = pthread_attr_init(&attr);

    if (error != 0)
        return error;
    sigfillset(&all);
    error = pthread_attr_setsigmask_np(&attr, &all);
    if (error == 0 && id == NULL)
        error = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (error == 0)
        error = pthread_create(&thread, &attr, work, arg);
    /* A detached thread may be gone already, and its id another's: only one that is joined is
     * named. */
    if (error == 0 && id != NULL) {
        *id = thread;
        pthread_setname_np(thread, name);
    }
    pthread_attr_destroy(&attr);
    return error;
}
