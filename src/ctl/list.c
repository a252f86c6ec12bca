/*
 * ctl/list.c - see list.h.
 */
#include "ctl/list.h"

#include <string.h>

enum ask_next list_step(struct ask *a, const struct dflock_reply *reply, void *list)
{
    struct list *l = list;
    char cursor[DATA_CURSOR_MAX] = "";
    int bad;

    if (reply == NULL)
        return ask_submit(a, "list", l->prefix, cursor);
    if (reply->status != 0)
        return ask_fail(a, DFLOCK_ERR_SERVER, "%s: the server refuses to list its keys", a->server);
    if (l->json != NULL)
        bad = data_copy_page(l->json, a->server, reply, cursor);
    else
        bad = data_page(&l->rows, a->server, reply, cursor);
    if (bad)
        return ask_fail(a, DFLOCK_ERR_PROTOCOL, "%s: its list is not understood", a->server);
    return cursor[0] != '\0' ? ask_submit(a, "list", l->prefix, cursor) : ASK_DONE;
}

int list_by_key(const void *one, const void *two)
{
    const struct row *a = one, *b = two;
    int order = strcmp(a->key, b->key);

    if (order == 0)
        order = a->sem - b->sem;
    return order != 0 ? order : strcmp(a->server, b->server);
}
