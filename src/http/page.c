/*
 * http/page.c - see page.h.
 */
#include "http/page.h"

#include "http/call.h"

void page_serve(struct call *c)
{
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}
