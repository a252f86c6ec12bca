/*
 * ctl/stats.c - dflockctl stats: each server's numbers. See ctl.h.
 */
#include "ctl/ctl.h"
#include "ctl/data.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <string.h>

struct numbers {
    struct table *table; /* NULL: JSON */
};

static enum ask_next step(struct ask *a, const struct dflock_reply *reply, void *arg)
{
    struct numbers *numbers = arg;
    struct stats s;
    int bad;

    if (reply == NULL)
        return ask_submit(a, "stats", "", "");
    if (reply->status != 0)
        return ask_fail(a, DFLOCK_ERR_SERVER, "%s: the server refuses to say", a->server);
    bad = numbers->table != NULL ? data_stats(&s, reply) : data_copy(stdout, a->server, reply);
    if (bad)
        return ask_fail(a, DFLOCK_ERR_PROTOCOL, "%s: its stats are not understood", a->server);
    if (numbers->table != NULL) {
        char *cells[] = {
            text_format("%" PRIu64, s.connections), text_format("%" PRIu64, s.locks),
            text_format("%" PRIu64, s.semaphores),  text_format("%" PRIu64, s.waiters),
            text_format("%" PRIu64, s.idle),        text_clean(a->server, strlen(a->server)),
        };

        table_add(numbers->table, cells);
    }
    return ASK_DONE;
}

int stats_run(struct ctl *c)
{
    static const char *const heads[] = {">CONNECTIONS", ">LOCKS",     ">SEMAPHORES",
                                        ">WAITERS",     ">IDLE KEYS", "SERVER"};
    struct numbers numbers = {
        .table = c->given[OPT_JSON] == NULL ? table_new(heads, 6) : NULL,
    };

    asks_run(&c->all, step, &numbers);
    if (numbers.table != NULL) {
        if (ctl_any_answered(c))
            table_print(numbers.table, stdout);
        table_free(numbers.table);
    }
    return ctl_failures(c);
}
