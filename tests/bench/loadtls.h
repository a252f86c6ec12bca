/*
 * tests/bench/loadtls.h - TLS for the load client: loadtls.c, and loadtls_none.c in a build
 * without. No certificate is checked: who the server is, is known.
 */
#ifndef BENCH_LOADTLS_H
#define BENCH_LOADTLS_H

#include "load.h"

/* NULL: said why. */
struct ssl_ctx_st *tls_make(void);

/* A session on c->fd; with `wait` its handshake is done. False: errno says why. */
bool tls_begin(struct conn *c, struct ssl_ctx_st *context, bool wait);
void tls_end(struct conn *c);

/* As link_send(), link_recv(), link_more(), link_full(). */
ssize_t tls_send(struct conn *c, const char *bytes, size_t n);
ssize_t tls_recv(struct conn *c, char *bytes, size_t n);
bool tls_more(const struct conn *c);
bool tls_full(const struct conn *c);

#endif
