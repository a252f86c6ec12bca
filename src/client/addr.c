/*
 * client/addr.c - see addr.h
 */
#include "client/addr.h"
#include "base/num.h"
#include "client/dflock.h"

#include <ctype.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static const char unix_prefix[] = "unix:";

static int bad(const struct addr *a, struct failure *f, const char *why)
{
    return failure_set(f, DFLOCK_ERR_INVALID,
                       "\"%.200s\" is no address: %s (host:port, [ipv6]:port or unix:/path)",
                       a->text, why);
}

static int parse_unix(struct addr *a, const char *path, struct failure *f)
{
    struct sockaddr_un un;

    if (path[0] != '/')
        return bad(a, f, "the path of a Unix socket must begin with /");
    if (strlen(path) >= sizeof(un.sun_path))
        return bad(a, f, "the path of a Unix socket may have 107 bytes");
    a->local = true;
    (void)snprintf(a->host, sizeof(a->host), "%s", path);
    return 0;
}

/* `port` NULL: the default. */
static int parse_inet(struct addr *a, const char *host, size_t nhost, const char *port,
                      struct failure *f)
{
    int64_t n = ADDR_PORT_DEFAULT;

    if (nhost == 0)
        return bad(a, f, "it has no host");
    if (nhost >= sizeof(a->host))
        return bad(a, f, "its host is too long");
    if (port && (!isdigit((unsigned char)*port) || num_parse_i64(port, strlen(port), &n) != 0 || n < 1 || n > 65535))
        return bad(a, f, "its port is not a number from 1 to 65535");
    memcpy(a->host, host, nhost);
    a->host[nhost] = '\0';
    (void)snprintf(a->port, sizeof(a->port), "%d", (int)n);
    return 0;
}

static int parse(struct addr *a, struct failure *f)
{
    const char *text = a->text, *colon;

    if (strchr(text, ','))
        return bad(a, f, "it is a list; one address is wanted here");
    for (const char *p = text; *p; p++)
        if (isspace((unsigned char)*p) || iscntrl((unsigned char)*p))
            return bad(a, f, "it has a blank in it");
    if (strncmp(text, unix_prefix, strlen(unix_prefix)) == 0)
        return parse_unix(a, text + strlen(unix_prefix), f);
    if (text[0] == '/')
        return parse_unix(a, text, f);
    if (text[0] == '[') {
        const char *end = strchr(text, ']');

        if (!end || (end[1] != '\0' && end[1] != ':'))
            return bad(a, f, "its brackets are not those of an IPv6 address");
        return parse_inet(a, text + 1, (size_t)(end - text - 1), end[1] ? end + 2 : NULL, f);
    }
    colon = strchr(text, ':');
    if (colon && strchr(colon + 1, ':'))
        return bad(a, f, "an IPv6 address needs brackets");
    return parse_inet(a, text, colon ? (size_t)(colon - text) : strlen(text),
                      colon ? colon + 1 : NULL, f);
}

int addr_parse(struct addr *a, const char *text, size_t n, struct failure *f)
{
    int err;

    memset(a, 0, sizeof(*a));
    while (n && isspace((unsigned char)text[0])) {
        text++;
        n--;
    }
    while (n && isspace((unsigned char)text[n - 1]))
        n--;
    a->text = strndup(text, n);
    if (!a->text)
        return failure_set(f, DFLOCK_ERR_SYSTEM, "no memory");
    err = parse(a, f);
    if (err)
        addr_free(a);
    return err;
}

int addr_copy(struct addr *to, const struct addr *from)
{
    *to = *from;
    to->text = strdup(from->text);
    return to->text ? 0 : DFLOCK_ERR_SYSTEM;
}

void addr_free(struct addr *a)
{
    free(a->text);
    a->text = NULL;
}

int addr_resolve(const struct addr *a, struct addr_list *out, struct failure *f)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found;
    int err;

    memset(out, 0, sizeof(*out));
    if (a->local) {
        struct sockaddr_un *un = (struct sockaddr_un *)&out->at[0].addr;

        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, a->host, strlen(a->host) + 1);
        out->at[0].len = sizeof(*un);
        out->n = 1;
        return 0;
    }
    err = getaddrinfo(a->host, a->port, &hints, &found);
    if (err)
        return failure_set(f, DFLOCK_ERR_CONNECT, "%s: %s", a->text,
                           err == EAI_SYSTEM ? "the name cannot be looked up" : gai_strerror(err));
    for (const struct addrinfo *i = found; i; i = i->ai_next) {
        if (out->n == sizeof(out->at) / sizeof(out->at[0]))
            break;
        if (i->ai_addrlen > sizeof(out->at[0].addr))
            continue;
        memcpy(&out->at[out->n].addr, i->ai_addr, i->ai_addrlen);
        out->at[out->n].len = i->ai_addrlen;
        out->n++;
    }
    freeaddrinfo(found);
    return 0;
}
