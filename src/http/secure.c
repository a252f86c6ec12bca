/*
 * http/secure.c - see secure.h.
 */
#include "http/secure.h"

#include "net/tls.h"

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>

struct bufferevent *secure_new(struct event_base *base, struct ssl_ctx_st *context)
{
    struct ssl_st *ssl = tls_server(context);
    struct bufferevent *b;

    if (!ssl)
        return NULL;
    /* It owns ssl from here on, also when it fails. */
    b = bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                       BEV_OPT_CLOSE_ON_FREE);
    if (b)
        bufferevent_openssl_set_allow_dirty_shutdown(b, 1); /* requests have ends of their own */
    return b;
}

int secure_handshake(struct bufferevent *b)
{
    return tls_handshake(bufferevent_openssl_get_ssl(b));
}

void secure_goodbye(struct bufferevent *b)
{
    tls_goodbye(bufferevent_openssl_get_ssl(b));
}
