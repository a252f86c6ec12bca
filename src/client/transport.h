/*
 * client/transport.h - bytes over a connected socket, plain or through TLS: one table of operations
 * for each, so that nobody above asks which it is.
 *
 * Never blocks, never raises SIGPIPE. Owned by one channel; one thread at a time.
 */
#ifndef CLIENT_TRANSPORT_H
#define CLIENT_TRANSPORT_H

#include "client/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ssl_st;
struct tls_context;

struct transport {
    const struct transport_ops *ops;
    int fd; /* its owner's */
    short wants; /* POLLIN or POLLOUT: what the operation that would block waits for */
    struct ssl_st *ssl;
};

/* It would block. No error of dflock.h, some of which have the numbers of an errno. */
enum { TRANSPORT_AGAIN = -1000 };

/* Bytes, 0 for the end (read) or none, TRANSPORT_AGAIN (see `wants`), or a negative dflock error with its
   reason in *f. */
struct transport_ops {
    ssize_t (*read)(struct transport *t, void *buf, size_t n, struct failure *f);
    ssize_t (*write)(struct transport *t, const void *buf, size_t n, struct failure *f);
    /* 0, TRANSPORT_AGAIN or an error. */
    int (*handshake)(struct transport *t, struct failure *f);
    /* Bytes that were received and that poll() does not know of. */
    bool (*pending)(const struct transport *t);
    /* Says good-bye if that does not block; the socket stays open. */
    void (*close)(struct transport *t);
};

extern const struct transport_ops transport_plain;

/* ---- client/tls.c, the only user of OpenSSL's TLS here; client/tls_none.c instead of it ------ */

/* The files are named as in dflock.h, and read now; NULL: none. */
struct tls_files {
    char *ca, *cert, *key;
    bool insecure;
};

/* A context that never changes. NULL with the reason in *f. Counted. */
struct tls_context *tls_context_new(const struct tls_files *files, struct failure *f);
struct tls_context *tls_context_ref(struct tls_context *c); /* NULL stays NULL */
void tls_context_unref(struct tls_context *c);              /* NULL is ignored */

/* Puts TLS between; `name` is what the certificate must have. */
int tls_start(struct transport *t, struct tls_context *c, const char *name, struct failure *f);

#endif
