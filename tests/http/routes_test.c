/*
 * tests/http/routes_test.c - each route is found by its template, none shadows another.
 */
#include "http/path.h"
#include "http/routes.h"
#include "tests/tap.h"

#include <string.h>

static struct path path;

static const struct route *find(const char *target, enum http_method method, unsigned *allow)
{
    const struct route *any;

    if (!path_parse(&path, target))
        bail_out("%s is no path", target);
    return routes_find(&path, method, allow, &any);
}

static void each(void)
{
    for (unsigned i = 0; i < ROUTE_COUNT; i++) {
        const struct route *r = &route_table[i];
        unsigned allow;

        ok(find(r->template, r->method, &allow) == r, "%s %s", routes_method_name(r->method),
           r->template);
        ok(!find(r->template, METHOD_OTHER, &allow) && allow & r->method && allow & METHOD_OPTIONS,
           "it is allowed there");
        if (r->method == METHOD_GET)
            ok(find(r->template, METHOD_HEAD, &allow) == r, "and by HEAD");
        ok(!r->fields || r->method == METHOD_POST, "only POST has a body");
        ok(!(r->flags & (ROUTE_LOCK | ROUTE_SEM)) || routes_param(r, "key") >= 0, "it has its key");
        ok(!(r->flags & ROUTE_UNLIMITED) || r->flags & ROUTE_OPEN, "who is not limited is open");
    }
}

static void params(void)
{
    unsigned allow;
    const struct route *r = find("/v1/locks/a%2Fb/wait", METHOD_POST, &allow);
    char text[64];
    int key;

    if (!r)
        bail_out("there is no wait");
    key = routes_param(r, "key");
    is_int(key, 2, "the key's place");
    ok(path.seg[key].len == 3 && memcmp(path.seg[key].at, "a/b", 3) == 0, "the key");
    is_int(routes_param(r, "id"), -1, "what a template does not have");
    is_int(routes_param(r, "ke"), -1, "nor by half its name");
    ok(!find("/nothing", METHOD_GET, &allow) && allow == 0, "no such path");
    ok(!find("/v1/locks/x/wait/more", METHOD_POST, &allow) && allow == 0, "nor a longer one");
    ok(!find("/1/2/3/4/5/6/7/8", METHOD_GET, &allow) && allow == 0, "nor a very long one");
    is_str(routes_methods_text(METHOD_GET | METHOD_HEAD | METHOD_OPTIONS, text, sizeof(text)),
           "GET, HEAD, OPTIONS", "methods in words");
    is_str(routes_methods_text(0, text, sizeof(text)), "", "none");
}

int main(void)
{
    each();
    params();
    return done_testing();
}
