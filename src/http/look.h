/*
 * http/look.h - what a client can see: health, readiness, stats, resources. Long answers are made in
 * bounded steps, one at a time, between the turns of the process.
 */
#ifndef HTTP_LOOK_H
#define HTTP_LOOK_H

#include <stdbool.h>

struct call;
struct http;

/* Handlers */
void look_health(struct call *c);
void look_ready(struct call *c);
void look_stats(struct call *c);
void look_resources(struct call *c);
void look_resource(struct call *c);

/* One bounded step; true: there is more to do. */
bool look_turn(struct http *h);

#endif
