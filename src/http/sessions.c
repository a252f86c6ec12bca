/*
 * http/sessions.c - see sessions.h.
 */
#include "http/sessions.h"

#include "http/call.h"
#include "http/http.h"

void sessions_new(struct call *c)
{
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}

void sessions_end(struct call *c)
{
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}

void sessions_ping(struct call *c)
{
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}

int sessions_init(struct http *h)
{
    (void)h;
    return 0;
}

void sessions_take_over(struct http *h, uint64_t gap)
{
    (void)h, (void)gap;
}

void sessions_extend(struct http *h, uint64_t gap)
{
    (void)h, (void)gap;
}

void sessions_tick(struct http *h)
{
    (void)h;
}

int64_t sessions_find(const struct http *h, const char *id, uint64_t len)
{
    (void)h, (void)id, (void)len;
    return 0;
}

void sessions_enter(struct http *h, struct call *c)
{
    (void)h, (void)c;
}

void sessions_leave(struct http *h, struct call *c)
{
    (void)h, (void)c;
}

void sessions_drop(struct http *h, uint32_t slot, const char *why)
{
    (void)h, (void)slot, (void)why;
}
