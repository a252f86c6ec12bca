/*
 * http/look.h - what a client can see: health, readiness, stats, resources.
 */
#ifndef HTTP_LOOK_H
#define HTTP_LOOK_H

#include <stddef.h>

struct call;

/* Handlers */
void look_health(struct call *c);
void look_ready(struct call *c);
void look_stats(struct call *c);
void look_resources(struct call *c);
void look_resource(struct call *c);

/* "lock" and "sem"; -1: another word. */
int look_kind(const char *name, size_t n);

#endif
