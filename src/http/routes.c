/*
 * http/routes.c - see routes.h.
 */
#include "http/routes.h"

#include "http/locks.h"
#include "http/look.h"
#include "http/metrics.h"
#include "http/openapi.h"
#include "http/page.h"
#include "http/path.h"
#include "http/sessions.h"

#include <stdio.h>
#include <string.h>

const struct route route_table[ROUTE_COUNT] = {
#define ROUTE(id, method_, template_, flags_, fields_, handler, summary_)                          \
    [ROUTE_ID_##id] = {.method = METHOD_##method_,                                                 \
                       .template = (template_),                                                    \
                       .flags = (flags_),                                                          \
                       .fields = (fields_),                                                        \
                       .serve = (handler),                                                         \
                       .summary = (summary_)},
#include "http/routes.def"
#undef ROUTE
};

static const struct {
    enum http_method method;
    const char *name;
} methods[METHODS] = {
    {METHOD_GET, "GET"},   {METHOD_HEAD, "HEAD"},       {METHOD_POST, "POST"},
    {METHOD_DELETE, "DELETE"}, {METHOD_OPTIONS, "OPTIONS"}, {METHOD_OTHER, "OTHER"},
};

const char *routes_method_name(enum http_method method)
{
    for (unsigned i = 0; i < METHODS; i++)
        if (methods[i].method == method)
            return methods[i].name;
    return "OTHER";
}

const char *routes_methods_text(unsigned set, char *buf, size_t n)
{
    size_t len = 0;

    buf[0] = '\0';
    for (unsigned i = 0; i < METHODS; i++)
        if (set & methods[i].method && len < n)
            len += (size_t)snprintf(buf + len, n - len, "%s%s", len ? ", " : "", methods[i].name);
    return buf;
}

/* The template's segment at *at, which is moved behind it. */
static size_t next_segment(const char **at, const char **segment)
{
    size_t n;

    *segment = *at + 1;
    n = strcspn(*segment, "/");
    *at = *segment + n;
    return n;
}

static bool matches(const char *template, const struct path *path)
{
    const char *segment;
    unsigned i = 0;

    if (strcmp(template, "/") == 0)
        return path->n == 0;
    for (const char *at = template; *at; i++) {
        size_t n = next_segment(&at, &segment);

        if (i == path->n)
            return false;
        if (segment[0] == '{')
            continue;
        if (path->seg[i].bad || path->seg[i].len != n || memcmp(path->seg[i].at, segment, n) != 0)
            return false;
    }
    return i == path->n;
}

const struct route *routes_find(const struct path *path, enum http_method method, unsigned *allow,
                                const struct route **any)
{
    enum http_method wanted = method == METHOD_HEAD ? METHOD_GET : method;

    *allow = 0;
    *any = NULL;
    for (unsigned i = 0; i < ROUTE_COUNT; i++) {
        const struct route *r = &route_table[i];

        if (!matches(r->template, path))
            continue;
        *any = r;
        if (r->method == wanted)
            return r;
        *allow |= METHOD_OPTIONS | r->method | (r->method == METHOD_GET ? METHOD_HEAD : 0);
    }
    return NULL;
}

int routes_param(const struct route *route, const char *name)
{
    const char *segment;
    int i = 0;

    for (const char *at = route->template; *at; i++) {
        size_t n = next_segment(&at, &segment);

        if (n == strlen(name) + 2 && segment[0] == '{' &&
            memcmp(segment + 1, name, n - 2) == 0)
            return i;
    }
    return -1;
}
