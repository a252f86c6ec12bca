/*
 * http/cors.h - scripts of which pages a browser may let ask.
 */
#ifndef HTTP_CORS_H
#define HTTP_CORS_H

#include <stdbool.h>

struct call;

/* Adds headers to the answer; true: it was a preflight, and has been answered. */
bool cors_answer(struct call *c);

#endif
