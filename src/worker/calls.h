/*
 * worker/calls.h - the system calls of a lock worker.
 */
#ifndef WORKER_CALLS_H
#define WORKER_CALLS_H

#include "base/confine.h"

extern const struct confine_call worker_calls[];
extern const size_t worker_ncalls;

#endif
