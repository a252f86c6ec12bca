/*
 * http/auth.c - see auth.h. Runs in the HTTP worker.
 */
#include "http/auth.h"

#include "base/clock.h"
#include "base/log.h"
#include "config/secret.h"
#include "http/call.h"
#include "http/http.h"
#include "http/link.h"

#include <string.h>
#include <strings.h>

enum { PENALTY_MS = 100, CREDENTIALS_MAX = 16384 };

static int sextet(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Base64 as RFC 4648 has it, padded or not. The length; 0: it is none, or longer than n. */
static size_t decode(const char *text, char *out, size_t n)
{
    size_t len = 0;
    unsigned bits = 0, have = 0;
    int digit;

    for (; (digit = sextet(*text)) >= 0; text++) {
        bits = bits << 6 | (unsigned)digit;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        if (len == n)
            return 0;
        out[len++] = (char)(bits >> have);
    }
    return text[strspn(text, "= ")] ? 0 : len;
}

/* Both sets are always compared, so that the time says nothing about which one matched. */
static bool is_right(const struct settings *s, const char *token, size_t n)
{
    bool user, admin;

    n = secret_trim(&token, n);
    user = secret_match(&s->auth_token, token, n);
    admin = secret_match(&s->admin_token, token, n);
    return user || admin;
}

/* What stands behind the name of the scheme. NULL: it is another one. */
static const char *of_scheme(const char *value, const char *scheme)
{
    size_t n = strlen(scheme);

    if (strncasecmp(value, scheme, n) != 0 || value[n] != ' ')
        return NULL;
    return value + n + strspn(value + n, " ");
}

/* Any user; the password is the token. */
static bool is_right_basic(const struct settings *s, const char *credentials)
{
    char plain[CREDENTIALS_MAX];
    size_t n = decode(credentials, plain, sizeof(plain));
    const char *colon = memchr(plain, ':', n);
    bool right = colon ? is_right(s, colon + 1, n - (size_t)(colon + 1 - plain))
                       : is_right(s, "", 0);

    explicit_bzero(plain, sizeof(plain));
    return right;
}

/* NULL: the request may be served; else why not. */
static const char *refusal(const struct call *c, bool basic)
{
    const struct settings *s = c->h->settings;
    const char *value = evhttp_find_header(evhttp_request_get_input_headers(c->req),
                                           "Authorization");
    const char *credentials;

    if (!value)
        return is_right(s, "", 0) ? NULL : "no Authorization";
    credentials = of_scheme(value, "Bearer");
    if (credentials)
        return is_right(s, credentials, strlen(credentials)) ? NULL : "wrong token";
    credentials = basic ? of_scheme(value, "Basic") : NULL;
    if (credentials)
        return is_right_basic(s, credentials) ? NULL : "wrong password";
    return "another scheme than is taken here";
}

/* The status page's own request: its browser would ask people for a password every two seconds, and the
   page would not hear why there is no answer. */
static bool by_script(const struct call *c)
{
    char part[8];

    return path_query(c->path, "part", part, sizeof(part)) > 0;
}

static void refuse(evutil_socket_t fd, short what, void *call)
{
    struct call *c = call;
    uint64_t now = clock_boottime_ns(), due = c->refused_at + PENALTY_MS * NS_PER_MS;
    struct timeval rest;

    (void)fd, (void)what;
    /* libevent counts from when it woke up, by a coarse clock. */
    if (now < due && c->timer) {
        rest = (struct timeval){.tv_usec = (suseconds_t)((due - now) / NS_PER_US + 1)};
        if (evtimer_add(c->timer, &rest) == 0)
            return;
    }
    call_answer_error(c, HTTP_ERR_UNAUTHORIZED,
                      "Authorization: Bearer TOKEN is needed, with a token of this server");
}

bool auth_admits(struct call *c)
{
    bool basic = c->route && c->route->flags & ROUTE_BASIC;
    const char *why;
    char peer[64];

    if (c->h->settings->auth_token.count == 0)
        return true;
    why = refusal(c, basic);
    if (!why)
        return true;
    tally_add(&c->h->sh.slot->counters.auth_failures, 1);
    /* The connection stays and may try again: rate-limited. */
    log_warn("authentication failed", log_str("proto", "http"),
             log_str("peer", link_peer_text(c->link, peer, sizeof(peer))), log_str("why", why));
    call_header(c, "WWW-Authenticate",
                basic && !by_script(c) ? "Basic realm=\"dflockd\"" : "Bearer");
    c->refused_at = clock_boottime_ns();
    c->left = call_answer_nobody; /* there are never more that wait than there are connections */
    c->timer = evtimer_new(c->h->base, refuse, c);
    refuse(-1, 0, c);
    return false;
}
