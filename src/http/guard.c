/*
 * http/guard.c - see guard.h.
 */
#include "http/guard.h"

#include "http/call.h"
#include "http/http.h"

int guard_init(struct http *h)
{
    (void)h;
    return 0;
}

void guard_adjust(struct http *h)
{
    (void)h;
}

void guard_tick(struct http *h)
{
    (void)h;
}

bool guard_cors(struct call *c)
{
    (void)c;
    return false;
}

bool guard_rate(struct call *c)
{
    (void)c;
    return true;
}

bool guard_auth(struct call *c)
{
    (void)c;
    return true;
}

bool guard_connect(struct http *h, const struct address *from)
{
    (void)h, (void)from;
    return true;
}

void guard_disconnect(struct http *h, const struct address *from)
{
    (void)h, (void)from;
}

bool guard_session(struct http *h, const struct address *from)
{
    (void)h, (void)from;
    return true;
}

void guard_session_over(struct http *h, const struct address *from)
{
    (void)h, (void)from;
}
