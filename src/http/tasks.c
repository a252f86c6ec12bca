/*
 * http/tasks.c - see tasks.h.
 */
#include "http/tasks.h"

#include "base/clock.h"
#include "http/call.h"
#include "http/http.h"
#include "http/owed.h"
#include "serving/report.h"

#include <errno.h>
#include <stdlib.h>

enum {
    ACTIVE = 8,     /* tasks that have begun: each has memory of its own */
    LOOK_BACK = 64, /* the newest tasks, among which the same is looked for */
};

#define TURN_NS UINT64_C(1000000)

struct task {
    struct task *prev, *next;
    const struct task_type *type;
    void *work;
    struct call *askers; /* by call->next */
    bool begun, done;
};

struct tasks {
    struct task *first, *last; /* the oldest first; those that have begun are the first few */
    struct task *turn;         /* whose step is next, NULL: the first one's */
};

int tasks_init(struct http *h)
{
    h->tasks = calloc(1, sizeof(*h->tasks));
    return h->tasks ? report_init() : -ENOMEM;
}

static void drop(struct tasks *tasks, struct task *j)
{
    *(j->prev ? &j->prev->next : &tasks->first) = j->next;
    *(j->next ? &j->next->prev : &tasks->last) = j->prev;
    if (tasks->turn == j)
        tasks->turn = j->next;
    j->type->drop(j->work);
    free(j);
}

/* ---- who asks ---- */

static void left(struct call *c);

static void ask(struct task *j, struct call *c)
{
    c->task = j;
    c->left = left;
    c->prev = NULL;
    c->next = j->askers;
    if (c->next)
        c->next->prev = c;
    j->askers = c;
}

static void forget(struct task *j, struct call *c)
{
    *(c->prev ? &c->prev->next : &j->askers) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->task = NULL;
    c->left = NULL;
}

/* Its client has left: it costs nothing more. */
static void left(struct call *c)
{
    struct tasks *tasks = c->h->tasks;
    struct task *j = c->task;

    forget(j, c);
    if (!j->askers)
        drop(tasks, j);
    call_answer_nobody(c);
}

static bool same(const struct task *a, const struct task_type *type, const void *work)
{
    return a->type == type && type->same && type->same(a->work, work);
}

/* NULL: there is none that may be joined. */
static struct task *find(const struct tasks *tasks, const struct task_type *type, const void *work)
{
    struct task *j = tasks->last;

    for (unsigned i = 0; j && i < LOOK_BACK; i++, j = j->prev)
        if (!j->begun && same(j, type, work))
            return j;
    return NULL;
}

void tasks_add(struct call *c, const struct task_type *type, void *work)
{
    struct tasks *tasks = c->h->tasks;
    struct task *j = find(tasks, type, work);

    if (j) {
        ask(j, c);
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
    j->prev = tasks->last;
    *(j->prev ? &j->prev->next : &tasks->first) = j;
    tasks->last = j;
}

/* ---- turns ---- */

static void answer(struct http *h, struct task *j)
{
    struct call *c = j->askers;

    forget(j, c);
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
static bool is_begun(const struct tasks *tasks, const struct task *j)
{
    const struct task *other = tasks->first;

    for (unsigned i = 0; other && i < ACTIVE; i++, other = other->next)
        if (other->begun && same(other, j->type, j->work))
            return true;
    return false;
}

/* It is begun, or goes on. */
static enum task_step step(struct http *h, struct task *j)
{
    enum task_step went;

    if (j->done)
        return TASK_DONE;
    if (!j->begun && (owed_crowded(h) || is_begun(h->tasks, j)))
        return TASK_LATER;
    went = j->type->step(h, j->work);
    j->begun = went != TASK_LATER; /* or others may still join it */
    j->done = went == TASK_DONE;
    return went;
}

bool tasks_turn(struct http *h)
{
    struct tasks *tasks = h->tasks;
    uint64_t end = clock_boottime_ns() + TURN_NS;
    unsigned idle = 0;

    while (tasks->first && idle < ACTIVE) {
        struct task *j = next_of(tasks);

        tasks->turn = j->next;
        switch (step(h, j)) {
        case TASK_DONE:
            /* One a turn: each may be large, and is written before the next. */
            answer(h, j);
            return tasks->first != NULL;
        case TASK_LATER:
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
