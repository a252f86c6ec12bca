/*
 * ctl/data.h - what servers say of themselves: the JSON of stats, list and show, read into structs.
 * The only user of jansson here. Strings in it are not cleaned, see text.h. One thread; without
 * memory the process ends (text_memory()).
 */
#ifndef CTL_DATA_H
#define CTL_DATA_H

#include "client/dflock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A key, as `list` summarizes it. */
struct row {
    const char *server; /* whoever asked owns it */
    char *key;          /* as NUL-terminated text for people, cleaned */
    bool sem;
    uint64_t limit, holders, waiters;
    double oldest; /* seconds that the head of the queue waits; 0: nobody does */
};

struct rows {
    struct row *at;
    size_t n, room;
};

struct stats {
    uint64_t connections, locks, semaphores, idle, waiters;
};

struct holder {
    char *addr; /* cleaned; "-" if its connection is gone */
    char *fence;
    uint64_t conn_id;
    double held, lease_left;
};

struct waiter {
    char *addr;
    uint64_t conn_id;
    double waiting;
};

struct shown {
    bool sem;
    uint64_t limit, nholders, nwaiters; /* all of them; the lists may have fewer */
    struct holder *holder;              /* the newest first */
    size_t holders;
    struct waiter *waiter; /* the next first */
    size_t waiters;
};

enum { DATA_CURSOR_MAX = 64 };

/* All: 0, or -1 if the reply is not what a dflockd says. */

/* Appends a page; *cursor is where to go on, "" after the last. */
int data_page(struct rows *rows, const char *server, const struct dflock_reply *reply,
              char cursor[DATA_CURSOR_MAX]);
int data_stats(struct stats *s, const struct dflock_reply *reply);
int data_shown(struct shown *s, const struct dflock_reply *reply);

/* The same for programs: one object a line, whose first member is "server". */
int data_copy(FILE *out, const char *server, const struct dflock_reply *reply);
/* Each of a page's keys. */
int data_copy_page(FILE *out, const char *server, const struct dflock_reply *reply,
                   char cursor[DATA_CURSOR_MAX]);

void data_free_rows(struct rows *rows);
void data_free_shown(struct shown *s);

#endif
