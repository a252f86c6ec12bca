/*
 * ctl/ls.c - dflockctl ls: the keys of all servers. See ctl.h.
 */
#include "ctl/ctl.h"
#include "ctl/data.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

struct ls {
    const char *prefix;
    bool json;
    struct rows rows;
};

static enum ask_next step(struct ask *a, const struct dflock_reply *reply, void *arg)
{
    struct ls *ls = arg;
    char cursor[DATA_CURSOR_MAX] = "";
    int bad;

    if (reply == NULL)
        return ask_submit(a, "list", ls->prefix, cursor);
    if (reply->status != 0)
        return ask_fail(a, DFLOCK_ERR_SERVER, "%s: the server refuses to list its keys",
                        a->server);
    if (ls->json)
        bad = data_copy_page(stdout, a->server, reply, cursor);
    else
        bad = data_page(&ls->rows, a->server, reply, cursor);
    if (bad)
        return ask_fail(a, DFLOCK_ERR_PROTOCOL, "%s: its list is not understood", a->server);
    return cursor[0] != '\0' ? ask_submit(a, "list", ls->prefix, cursor) : ASK_DONE;
}

static int by_key(const void *one, const void *two)
{
    const struct row *a = one, *b = two;
    int order = strcmp(a->key, b->key);

    if (order == 0)
        order = a->sem - b->sem;
    return order != 0 ? order : strcmp(a->server, b->server);
}

static void print(struct rows *rows, bool servers)
{
    static const char *const heads[] = {"KIND", ">HOLDERS", ">LIMIT", ">WAITERS", ">OLDEST WAIT",
                                        "KEY", "SERVER"};
    struct table *t = table_new(heads, servers ? 7 : 6);

    if (rows->n > 0)
        qsort(rows->at, rows->n, sizeof(*rows->at), by_key);
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
    struct ls ls = {.prefix = c->nargs > 0 && c->args[0][0] != '\0' ? c->args[0] : "*",
                    .json = c->given[OPT_JSON] != NULL};

    if (strlen(ls.prefix) > 256 || ls.prefix[strcspn(ls.prefix, " \t\r\n")] != '\0')
        ctl_refuse(c, EX_USAGE, "no key begins like that: they have at most 256 bytes, none of them a "
                   "space, tab or line end");
    asks_run(&c->all, step, &ls);
    if (!ls.json && ctl_any_answered(c))
        print(&ls.rows, c->all.n > 1);
    data_free_rows(&ls.rows);
    return ctl_failures(c);
}
