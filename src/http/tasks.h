/*
 * http/tasks.h - answers that take long to make: in bounded steps between the turns of the process,
 * a few tasks at a time and these by turns, so that they hold up neither others nor each other.
 */
#ifndef HTTP_TASKS_H
#define HTTP_TASKS_H

#include <stdbool.h>

struct call;
struct http;

enum task_step {
    TASK_MORE,
    TASK_DONE,
    TASK_LATER, /* it cannot go on now: look again in the next turn */
};

struct task_type {
    enum task_step (*step)(struct http *h, void *work);
    void (*answer)(struct http *h, void *work, struct call *c); /* of a task that is done */
    void (*drop)(void *work); /* nobody needs it any more */
    /* Whether one answer does for both; NULL: never. */
    bool (*same)(const void *work, const void *other);
};

int tasks_init(struct http *h); /* 0 or a negative error; before the sandbox */

/*
 * The call is answered when the task is done, or one that is the same, that others wait for and that
 * has not begun: it will see all that has happened by now. None begins before the same one that is
 * being done: the longer that takes, the more share the next; nor does any while too much is unread of
 * others (owed.h). Takes `work`, also when there is no memory.
 */
void tasks_add(struct call *c, const struct task_type *type, void *work);

/* Bounded; true: there is more to do. */
bool tasks_turn(struct http *h);

#endif
