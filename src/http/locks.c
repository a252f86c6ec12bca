/*
 * http/locks.c - see locks.h.
 */
#include "http/locks.h"

#include "http/call.h"

void locks_acquire(struct call *c)
{
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}

void locks_release(struct call *c)
{
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}

void locks_renew(struct call *c)
{
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}

void locks_enqueue(struct call *c)
{
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}

void locks_wait(struct call *c)
{
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}

void locks_deliver(struct http *h, uint64_t mask)
{
    (void)h, (void)mask;
}

void locks_drain(struct http *h)
{
    (void)h;
}

void locks_fences(struct http *h)
{
    (void)h;
}
