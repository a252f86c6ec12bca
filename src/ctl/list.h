/*
 * ctl/list.h - the conversation that lists a server's keys, page by page: for ls and top. One
 * thread.
 */
#ifndef CTL_LIST_H
#define CTL_LIST_H

#include "ctl/ask.h"
#include "ctl/data.h"

struct list {
    const char *prefix; /* "*": all keys */
    FILE *json;         /* copied there, if not NULL; else collected: */
    struct rows rows;
};

/* An ask_step_fn; `list` is a struct list. */
enum ask_next list_step(struct ask *a, const struct dflock_reply *reply, void *list);

/* An order of struct row for qsort(): by key, then kind, then server. */
int list_by_key(const void *one, const void *two);

#endif
