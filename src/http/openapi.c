/*
 * http/openapi.c - see openapi.h.
 */
#include "http/openapi.h"

#include "http/call.h"

void openapi_serve(struct call *c)
{
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}
