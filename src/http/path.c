/*
 * http/path.c - see path.h.
 */
#include "http/path.h"

#include <string.h>
#include <strings.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes n bytes into out, which has room for as many. Their number; -1: a % without its digits. */
static long decode(const char *from, size_t n, bool plus, char *out)
{
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        if (from[i] == '%') {
            int high, low;

            if (n - i < 3 || (high = hex_digit(from[i + 1])) < 0 ||
                (low = hex_digit(from[i + 2])) < 0)
                return -1;
            out[len++] = (char)(high << 4 | low);
            i += 2;
        } else {
            out[len++] = plus && from[i] == '+' ? ' ' : from[i];
        }
    }
    return (long)len;
}

/* Behind the host of "http://host/path", the form that proxies are sent and servers have to take. */
static const char *behind_host(const char *target)
{
    size_t scheme = strncasecmp(target, "http://", 7) == 0    ? 7
                    : strncasecmp(target, "https://", 8) == 0 ? 8
                                                              : 0;
    const char *path = target + scheme + strcspn(target + scheme, "/?#");

    if (scheme == 0 || path == target + scheme)
        return target;
    return *path == '/' ? path : "/";
}

bool path_parse(struct path *p, const char *target)
{
    const char *end;
    char *out = p->bytes;

    target = behind_host(target);
    end = target + strcspn(target, "?#");
    p->n = 0;
    p->query = *end == '?' ? end + 1 : "";
    if (target[0] != '/' || strlen(target) > sizeof(p->bytes))
        return false;
    if (end == target + 1)
        return true;
    for (const char *at = target + 1;;) {
        size_t n = (size_t)(end - at);
        const char *slash = memchr(at, '/', n);
        long len;

        if (slash)
            n = (size_t)(slash - at);
        if (p->n++ == PATH_SEGMENTS)
            return true;
        len = decode(at, n, false, out);
        p->seg[p->n - 1].at = out;
        p->seg[p->n - 1].bad = len < 0;
        p->seg[p->n - 1].len = len < 0 ? 0 : (size_t)len;
        out += p->seg[p->n - 1].len;
        if (!slash)
            return true;
        at = slash + 1;
    }
}

int path_query(const struct path *p, const char *name, char *buf, size_t n)
{
    size_t name_len = strlen(name);

    for (const char *at = p->query; *at;) {
        size_t len = strcspn(at, "&#");

        if (len > name_len && memcmp(at, name, name_len) == 0 && at[name_len] == '=') {
            char value[PATH_BYTES];
            size_t raw = len - name_len - 1;
            long got = raw < sizeof(value) ? decode(at + name_len + 1, raw, true, value) : -1;

            if (got < 0 || (size_t)got > n)
                return -2;
            memcpy(buf, value, (size_t)got);
            return (int)got;
        }
        at += len;
        if (*at == '#')
            break;
        at += *at == '&';
    }
    return -1;
}
