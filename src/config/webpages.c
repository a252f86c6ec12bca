/*
 * config/webpages.c - see webpages.h.
 */
#include "config/webpages.h"

#include "config/validate.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ENTRY_MAX = 300, /* a host has at most 253 bytes */
    SHOWN = 100,
};

#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

static const char form[] =
    "an origin is scheme://host or scheme://host:port, such as https://a.example";

static void lower(char *text)
{
    for (; *text; text++)
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text - 'A' + 'a');
}

static bool is_host(const char *host, size_t n)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr addr;

    if (n == 0 || host[0] != '[')
        return n > 0 && strspn(host, LOWER DIGITS "-._") == n;
    if (n < 3 || n - 2 >= sizeof(text) || host[n - 1] != ']')
        return false;
    memcpy(text, host + 1, n - 2);
    text[n - 2] = '\0';
    return inet_pton(AF_INET6, text, &addr) == 1;
}

static bool is_port(const char *text)
{
    const char *port = text + 1;
    size_t n = strspn(port, DIGITS);

    return text[0] == ':' && n >= 1 && n <= 5 && port[n] == '\0' && port[0] != '0' &&
           atoi(port) <= 65535;
}

/* The port that browsers leave out; "": none. */
static const char *usual_port(const char *origin)
{
    return strncmp(origin, "http://", 7) == 0 || strncmp(origin, "ws://", 5) == 0     ? "80"
           : strncmp(origin, "https://", 8) == 0 || strncmp(origin, "wss://", 6) == 0 ? "443"
                                                                                      : "";
}

/* What has no form that could be proposed. */
static const char *hopeless(char *o)
{
    const char *why = form;

    for (const char *at = o; *at; at++)
        if ((unsigned char)*at >= 0x80)
            why = "browsers send a host in ASCII: say its name that begins with xn--";
    o[0] = '\0';
    return why;
}

/* NULL: a browser may send it. Else why not, and `o` becomes what it would send; "": there is no
   telling. */
static const char *correct(char *o)
{
    char *host = strstr(o, "://");
    const char *why = NULL;
    char *port;
    size_t n;

    if (!host || host == o)
        return hopeless(o);
    n = (size_t)(host - o);
    host += 3;
    if (host[strcspn(host, "/?#")])
        why = "an origin has no path";
    host[strcspn(host, "/?#")] = '\0';
    if (!why && strpbrk(o, UPPER))
        why = "browsers send it in lower case";
    lower(o);
    port = host + strcspn(host, *host == '[' ? "]" : ":");
    port += *port == ']';
    if (strspn(o, LOWER DIGITS "+-.") != n || !is_host(host, (size_t)(port - host)) ||
        (*port && !is_port(port)))
        return hopeless(o);
    if (*port && strcmp(port + 1, usual_port(o)) == 0) {
        *port = '\0';
        why = why ? why : "browsers leave out the usual port";
    }
    return why;
}

static void check_entry(const char *where, const char *entry, size_t n,
                        struct config_report *report)
{
    char o[ENTRY_MAX + 1];
    const char *why;

    if (n == 1 && entry[0] == '*')
        return;
    if (n == 4 && memcmp(entry, "null", 4) == 0) {
        report_error(report,
                     "%s: 'null' is what any page can send, from a frame: list the pages' own "
                     "origins, or say * for all",
                     where);
        return;
    }
    snprintf(o, sizeof(o), "%.*s", (int)(n < ENTRY_MAX ? n : ENTRY_MAX), entry);
    why = n <= ENTRY_MAX ? correct(o) : hopeless(o);
    if (why)
        report_error(report, "%s: '%.*s': %s%s%s", where, (int)(n < SHOWN ? n : SHOWN), entry, why,
                     o[0] ? "; say " : "", o);
}

void webpages_check(const struct settings *s, struct config_report *report)
{
    const char *where = config_origin(s, OPTION_http_cors_allowed_origins);

    for (const char *at = s->http_cors_allowed_origins; *at;) {
        size_t n;

        at += strspn(at, ", ");
        n = strcspn(at, ", ");
        if (n)
            check_entry(where, at, n, report);
        at += n;
    }
}
