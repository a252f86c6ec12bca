/*
 * http/tasks.c - see tasks.h.
 */
#include "http/tasks.h"

#include "base/clock.h"
#include "http/call.h"
#include "http/http.h"
#include "serving/report.h"

#include <errno.h>
#include <stdlib.h>

enum { ACTIVE = 8 }; /* tasks that have begun: each has memory of its own */

#define TURN_NS UINT64_C(1000000)

struct task {
    struct task *next;
    const struct task_type *type;
    void *work;
    struct call *askers; /* by call->next */
    bool begun, done;
};

struct tasks {
    struct task *first; /* the oldest; those that have begun are the first few */
    struct task *turn;  /* whose step is next, NULL: the first one's */
};

int tasks_init(struct http *h)
{
    h->tasks = calloc(1, sizeof(*h->tasks));
    return h->tasks ? report_init() : -ENOMEM;
}

static void drop(struct tasks *tasks, struct task *j)
{
    struct task **at = &tasks->first;

    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    if (tasks->turn == j)
        tasks->turn = j->next;
    j->type->drop(j->work);
    free(j);
}

static bool forget(struct task *j, const struct call *c)
{
    for (struct call **at = &j->askers; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            return true;
        }
    return false;
}

/* Its client has left: it costs nothing more. */
static void left(struct call *c)
{
    struct tasks *tasks = c->h->tasks;
    struct task *j = tasks->first;

    while (j && !forget(j, c))
        j = j->next;
    if (j && !j->askers)
        drop(tasks, j);
    call_answer_nobody(c);
}

static void ask(struct task *j, struct call *c)
{
    c->left = left;
    c->next = j->askers;
    j->askers = c;
}

static bool same(const struct task *a, const struct task_type *type, const void *work)
{
    return a->type == type && type->same && type->same(a->work, work);
}

void tasks_add(struct call *c, const struct task_type *type, void *work)
{
    struct task **at = &c->h->tasks->first, *j;

    for (; *at; at = &(*at)->next)
        if (!(*at)->begun && same(*at, type, work)) {
            ask(*at, c);
            type->drop(work);
            return;
        }
    j = calloc(1, sizeof(*j));
    if (!j) {
        type->drop(work);
        call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
        return;
    }
    j->type = type;
    j->work = work;
    ask(j, c);
    *at = j;
}

static void answer(struct http *h, struct task *j)
{
    struct call *c = j->askers;

    j->askers = c->next;
    c->left = NULL;
    j->type->answer(h, j->work, c);
    if (!j->askers)
        drop(h->tasks, j);
}

/* The next one in turn of those that may have begun. */
static struct task *next_of(struct tasks *tasks)
{
    struct task *j = tasks->first;

    for (unsigned i = 0; j && i < ACTIVE; i++, j = j->next)
        if (j == tasks->turn)
            return j;
    return tasks->first;
}

/* Whether the same is being done already. */
static bool must_wait(const struct tasks *tasks, const struct task *j)
{
    if (j->begun)
        return false;
    for (const struct task *other = tasks->first; other; other = other->next)
        if (other->begun && same(other, j->type, j->work))
            return true;
    return false;
}

bool tasks_turn(struct http *h)
{
    struct tasks *tasks = h->tasks;
    uint64_t end = clock_boottime_ns() + TURN_NS;
    unsigned idle = 0;

    while (tasks->first && idle < ACTIVE) {
        struct task *j = next_of(tasks);

        tasks->turn = j->next;
        if (must_wait(tasks, j)) {
            idle++;
            continue;
        }
        j->begun = true;
        switch (j->done ? TASK_DONE : j->type->step(h, j->work)) {
        case TASK_DONE:
            /* One a turn: each may be large, and is written before the next. */
            j->done = true;
            answer(h, j);
            return tasks->first != NULL;
        case TASK_LATER:
            j->begun = false; /* others may still join it */
            idle++;
            break;
        case TASK_MORE:
            idle = 0;
            break;
        }
        h->now = clock_boottime_ns();
        if (h->now >= end)
            break;
    }
    return tasks->first && idle < ACTIVE;
}
