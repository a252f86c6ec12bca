/*
 * net/tls_none.c - tls.h in a build without TLS: nobody gets here, since the options are refused.
 */
#include "net/tls.h"

#include <errno.h>

struct ssl_ctx_st *tls_context(const struct tls_pem pem[TLS_PARTS], const struct tickets *tickets,
                               tls_say *say, void *arg)
{
    (void)pem, (void)tickets;
    say(arg, TLS_CERT, true, "cannot be used: this build has no TLS");
    return NULL;
}

void tls_context_free(struct ssl_ctx_st *context)
{
    (void)context;
}

int tls_open(struct stream *s, int fd, struct ssl_ctx_st *context)
{
    (void)s, (void)fd, (void)context;
    return -EPROTONOSUPPORT;
}

struct ssl_st *tls_server(struct ssl_ctx_st *context)
{
    (void)context;
    return NULL;
}

enum tls_handshake tls_handshake(const struct ssl_st *ssl)
{
    (void)ssl;
    return TLS_NOT_BEGUN;
}

void tls_goodbye(struct ssl_st *ssl)
{
    (void)ssl;
}
