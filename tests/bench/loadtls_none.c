/*
 * tests/bench/loadtls_none.c - see loadtls.h: a build without TLS.
 */
#include "loadtls.h"

#include <stdio.h>

struct ssl_ctx_st *tls_make(void)
{
    fputs("load: --tls: this build has no TLS: configure it without --disable-tls\n", stderr);
    return NULL;
}

bool tls_begin(struct conn *c, struct ssl_ctx_st *context, bool wait)
{
    (void)c, (void)context, (void)wait;
    return false;
}

void tls_end(struct conn *c)
{
    (void)c;
}

ssize_t tls_send(struct conn *c, const char *bytes, size_t n)
{
    (void)c, (void)bytes, (void)n;
    return -1;
}

ssize_t tls_recv(struct conn *c, char *bytes, size_t n)
{
    (void)c, (void)bytes, (void)n;
    return -1;
}

bool tls_more(const struct conn *c)
{
    (void)c;
    return false;
}

bool tls_full(const struct conn *c)
{
    (void)c;
    return false;
}
