/*
 * tests/bench/loadtls.c - see loadtls.h: with OpenSSL.
 */
#include "loadtls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>

struct ssl_ctx_st *tls_make(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (!context) {
        ERR_print_errors_fp(stderr);
        return NULL;
    }
    /* A record's head and body with one recv(). */
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    return context;
}

bool tls_begin(struct conn *c, struct ssl_ctx_st *context, bool wait)
{
    c->ssl = SSL_new(context);
    if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1) {
        errno = ENOMEM;
        return false;
    }
    SSL_set_connect_state(c->ssl);
    if (wait && SSL_do_handshake(c->ssl) != 1) {
        ERR_print_errors_fp(stderr);
        errno = EPROTO;
        return false;
    }
    return true;
}

void tls_end(struct conn *c)
{
    ERR_clear_error();
    SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    c->ssl = NULL;
}

static ssize_t outcome(const struct conn *c, int n)
{
    int error;

    if (n > 0)
        return n;
    error = SSL_get_error(c->ssl, n);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

ssize_t tls_send(struct conn *c, const char *bytes, size_t n)
{
    ERR_clear_error();
    return outcome(c, SSL_write(c->ssl, bytes, (int)n));
}

ssize_t tls_recv(struct conn *c, char *bytes, size_t n)
{
    ERR_clear_error();
    return outcome(c, SSL_read(c->ssl, bytes, (int)n));
}

bool tls_more(const struct conn *c)
{
    return SSL_has_pending(c->ssl);
}

bool tls_full(const struct conn *c)
{
    return SSL_want_write(c->ssl);
}
