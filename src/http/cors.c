/*
 * http/cors.c - see cors.h. Runs in the HTTP worker.
 */
#include "http/cors.h"

#include "http/call.h"
#include "http/http.h"

#include <string.h>

/* `list`: separated by commas; blanks around an origin do not count. */
static bool is_listed(const char *list, const char *origin)
{
    size_t len = strlen(origin);

    for (const char *at = list; *at;) {
        size_t n;

        at += strspn(at, ", ");
        n = strcspn(at, ", ");
        if (n == len && memcmp(at, origin, n) == 0)
            return true;
        at += n;
    }
    return false;
}

bool cors_answer(struct call *c)
{
    const struct evkeyvalq *asked = evhttp_request_get_input_headers(c->req);
    const char *list = c->h->settings->http_cors_allowed_origins;
    const char *origin = evhttp_find_header(asked, "Origin");
    bool any = is_listed(list, "*");

    if (!list[0])
        return false;
    if (!any) /* or a cache would give one origin's answer, or nobody's, to another */
        call_header(c, "Vary", "Origin");
    if (!origin || !(any || is_listed(list, origin)))
        return false;
    call_header(c, "Access-Control-Allow-Origin", any ? "*" : origin);
    if (c->method != METHOD_OPTIONS ||
        !evhttp_find_header(asked, "Access-Control-Request-Method"))
        return false;
    call_header(c, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    call_header(c, "Access-Control-Allow-Headers",
                "Authorization, Content-Type, X-Dflockd-Session");
    call_header(c, "Access-Control-Max-Age", "300");
    call_answer_nothing(c);
    return true;
}
