/*
 * ctl/ls.c - dflockctl ls: the keys of all servers. See ctl.h.
 */
#include "ctl/ctl.h"
#include "ctl/list.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static void print(struct rows *rows, bool servers)
{
    static const char *const heads[] = {"KIND",         ">HOLDERS", ">LIMIT", ">WAITERS",
                                        ">OLDEST WAIT", "KEY",      "SERVER"};
    struct table *t = table_new(heads, servers ? 7 : 6);

    if (rows->n > 0)
        qsort(rows->at, rows->n, sizeof(*rows->at), list_by_key);
    for (size_t i = 0; i < rows->n; i++) {
        const struct row *r = &rows->at[i];
        char *cells[7] = {
            text_format("%s", r->sem ? "sem" : "lock"),
            text_format("%" PRIu64, r->holders),
            text_format("%" PRIu64, r->limit),
            text_format("%" PRIu64, r->waiters),
            r->waiters > 0 ? text_seconds(r->oldest) : text_format("-"),
            text_format("%s", r->key),
            servers ? text_clean(r->server, strlen(r->server)) : NULL,
        };

        table_add(t, cells);
    }
    table_print(t, stdout);
    table_free(t);
}

int ls_run(struct ctl *c)
{
    struct list list = {.prefix = c->nargs > 0 && c->args[0][0] != '\0' ? c->args[0] : "*",
                        .json = c->given[OPT_JSON] != NULL ? stdout : NULL};

    if (strlen(list.prefix) > 256 || list.prefix[strcspn(list.prefix, " \t\r\n")] != '\0')
        ctl_refuse(c, EX_USAGE,
                   "no key begins like that: they have at most 256 bytes, none of them a "
                   "space, tab or line end");
    asks_run(&c->all, list_step, &list);
    if (list.json == NULL && ctl_any_answered(c))
        print(&list.rows, c->all.n > 1);
    data_free_rows(&list.rows);
    return ctl_failures(c);
}
