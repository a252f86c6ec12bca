/*
 * http/look.c - see look.h.
 */
#include "http/look.h"

#include "http/call.h"
#include "http/http.h"

void look_health(struct call *c)
{
    call_answer_json(c, 200, json_pack("{s:s}", "status", "ok"));
}

void look_ready(struct call *c)
{
    call_answer_json(c, 200, json_pack("{s:s}", "status", "ok"));
}

void look_stats(struct call *c)
{
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}

void look_resources(struct call *c)
{
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}

void look_resource(struct call *c)
{
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}

bool look_turn(struct http *h)
{
    (void)h;
    return false;
}
