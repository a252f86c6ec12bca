/*
 * ctl/show.c - dflockctl show: who holds a lock or a semaphore, and who waits. See ctl.h.
 */
#include "ctl/lookup.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void print_holders(const struct shown *s)
{
    static const char *const heads[] = {">HELD", ">LEASE LEFT", "FENCE", ">CONNECTION", "ADDRESS"};
    struct table *t = table_new(heads, 5);

    for (size_t i = 0; i < s->holders; i++) {
        const struct holder *h = &s->holder[i];
        char *cells[] = {
            text_seconds(h->held),       text_seconds(h->lease_left),
            text_format("%s", h->fence), text_format("%" PRIu64, h->conn_id),
            text_format("%s", h->addr),
        };

        table_add(t, cells);
    }
    putchar('\n');
    table_print(t, stdout);
    table_free(t);
    if (s->nholders > s->holders)
        printf("(%" PRIu64 " more have held it for longer)\n", s->nholders - s->holders);
}

static void print_queue(const struct shown *s)
{
    static const char *const heads[] = {">PLACE", ">WAITING", ">CONNECTION", "ADDRESS"};
    struct table *t = table_new(heads, 4);

    for (size_t i = 0; i < s->waiters; i++) {
        const struct waiter *w = &s->waiter[i];
        char *cells[] = {
            text_format("%zu", i + 1),
            text_seconds(w->waiting),
            text_format("%" PRIu64, w->conn_id),
            text_format("%s", w->addr),
        };

        table_add(t, cells);
    }
    putchar('\n');
    table_print(t, stdout);
    table_free(t);
    if (s->nwaiters > s->waiters)
        printf("(%" PRIu64 " more behind them)\n", s->nwaiters - s->waiters);
}

static void print(const char *key, const char *server, const struct shown *s)
{
    char *clean = text_clean(key, strlen(key));

    printf("%s %s at %s: %" PRIu64 " of %" PRIu64 " held, %" PRIu64 " waiting\n",
           s->sem ? "semaphore" : "lock", clean, server, s->nholders, s->limit, s->nwaiters);
    free(clean);
    if (s->holders > 0)
        print_holders(s);
    if (s->waiters > 0)
        print_queue(s);
}

int show_run(struct ctl *c)
{
    const char *key = ctl_key(c);
    const char *server = c->all.at[ctl_key_server(c, key)].server;
    bool lock = c->given[OPT_LOCK] != NULL, sem = c->given[OPT_SEM] != NULL;
    struct lookup l = {.key = key,
                       .lock = lock || !sem,
                       .sem = sem || !lock,
                       .json = c->given[OPT_JSON] != NULL ? stdout : NULL};
    int status = lookup_run(c, &l);

    if (status == 0 && !l.found_lock && !l.found_sem) {
        char *clean = text_clean(key, strlen(key));

        fprintf(stderr, "dflockctl: %s: no %s has the key %s\n", server,
                !l.sem    ? "lock"
                : !l.lock ? "semaphore"
                          : "lock or semaphore",
                clean);
        free(clean);
        status = 1;
    } else if (status == 0 && l.json == NULL) {
        if (l.found_lock)
            print(key, server, &l.of_lock);
        if (l.found_lock && l.found_sem)
            putchar('\n');
        if (l.found_sem)
            print(key, server, &l.of_sem);
    }
    lookup_free(&l);
    return status;
}
