/*
 * client/options.h - what dflock_options_set_…() has set. Plain memory; copied by whoever is made
 * with it. The TLS context is counted and never changes, so threads may share it.
 */
#ifndef CLIENT_OPTIONS_H
#define CLIENT_OPTIONS_H

#include "client/addr.h"
#include "client/dflock.h"
#include "client/transport.h"

#include <stdbool.h>
#include <stdint.h>

struct dflock_options {
    struct addr *servers;
    size_t nservers;
    dflock_shard_fn *shard;
    void *shard_arg;
    double acquire_timeout;
    uint64_t lease; /* 0: the server's default */
    double renew_ratio, renew_jitter;
    dflock_renew_error_fn *on_renew_error;
    void *on_renew_error_arg;
    double connect_timeout;
    char *auth_token; /* NULL: none */
    struct tls_context *tls; /* NULL: plain */
    struct tls_files tls_files;
    char *tls_server_name;   /* NULL: the host of the address */
};

/* `o` NULL: defaults. NULL without memory. Freed by dflock_options_free(). */
struct dflock_options *options_copy(const struct dflock_options *o);

/* The server of a key: its index, or -1 with the reason raised for the call. */
int options_server(const struct dflock_options *o, const char *key, const char *call);

#endif
