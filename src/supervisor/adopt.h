/*
 * supervisor/adopt.h - calls the workers that a dead master left.
 */
#ifndef SUPERVISOR_ADOPT_H
#define SUPERVISOR_ADOPT_H

#include "supervisor/legacy.h"

/*
 * Calls every worker at its rendezvous in `run_dir` and collects what they have, the region first.
 * `region_fd` is one that was kept, or -1: it counts when no worker shows another. Workers that do not answer
 * within ADOPT_PATIENCE are killed; their connections are lost, their slots kept.
 *
 * 0 with l->region NULL when nobody is there; 0 with it when somebody was; a negative error with
 * l->error filled when the region cannot be used: then whoever serves goes on serving, and this
 * master must not start.
 */
int adopt_find(struct legacy *l, const char *run_dir, int region_fd);

/* Ends whoever is there: two lock tables must not be served at a time. 0, or a negative error with
   l->error filled when somebody is left. */
int adopt_discard(struct legacy *l, const char *run_dir);

#endif
