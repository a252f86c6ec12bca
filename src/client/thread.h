/*
 * client/thread.h - threads of the library's own: the only maker of them.
 *
 * They block all signals from their first instruction on: those are the program's business.
 */
#ifndef CLIENT_THREAD_H
#define CLIENT_THREAD_H

#include <pthread.h>

/* `id` NULL: detached. 0 or a positive errno, as pthread_create(). `name` has at most 15 bytes. */
int thread_start(pthread_t *id, const char *name, void *(*work)(void *), void *arg);

#endif
