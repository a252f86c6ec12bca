/*
 * serving/certificate.h - what handshakes use: the files that the master has read.
 */
#ifndef SERVING_CERTIFICATE_H
#define SERVING_CERTIFICATE_H

#include "config/tlsfiles.h"
#include "shm/region.h"

struct ssl_ctx_st;

/* Handshakes to come use these files, in place of those that *context has (NULL: none). NULL, or
   empty: none, *context becomes NULL. 0, or a negative error: *context is as before. */
int certificate_use(struct ssl_ctx_st **context, const struct region *r,
                    const struct tls_files *files);

#endif
