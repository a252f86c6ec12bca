/*
 * http/auth.h - who may ask: those that know a token.
 */
#ifndef HTTP_AUTH_H
#define HTTP_AUTH_H

#include <stdbool.h>

struct call;

/* False: it will be answered with 401, 100 ms from now. */
bool auth_admits(struct call *c);

#endif
