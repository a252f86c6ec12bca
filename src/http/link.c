/*
 * http/link.c - see link.h.
 */
#include "http/link.h"

#include "http/call.h"
#include "http/http.h"

struct link *link_of(struct http *h, struct evhttp_connection *conn)
{
    static struct link only;

    only.h = h;
    only.conn = conn;
    return &only;
}

void link_serves(struct link *l, struct call *c)
{
    l->call = c;
}

void link_served(struct link *l)
{
    l->call = NULL;
}
