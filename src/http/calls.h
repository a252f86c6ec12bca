/*
 * http/calls.h - the system calls of the HTTP worker.
 */
#ifndef HTTP_CALLS_H
#define HTTP_CALLS_H

#include "base/confine.h"

extern const struct confine_call http_calls[];
extern const size_t http_ncalls;

#endif
