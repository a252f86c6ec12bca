/*
 * http/secure_none.c - secure.h in a build without TLS: nobody gets here, since the options are
 * refused.
 */
#include "http/secure.h"

#include "net/tls.h"

#include <stddef.h>

struct bufferevent *secure_new(struct event_base *base, struct ssl_ctx_st *context)
{
    (void)base, (void)context;
    return NULL;
}

int secure_handshake(struct bufferevent *b)
{
    (void)b;
    return TLS_NOT_BEGUN;
}

void secure_goodbye(struct bufferevent *b)
{
    (void)b;
}
