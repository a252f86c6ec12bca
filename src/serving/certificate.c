/*
 * serving/certificate.c - see certificate.h.
 */
#include "serving/certificate.h"

#include "base/log.h"
#include "net/tls.h"

#include <errno.h>

static void say(void *arg, enum tls_part part, bool fatal, const char *text)
{
    static const char *const name[TLS_PARTS] = {"tls-cert", "tls-key", "tls-client-ca"};

    (void)arg;
    if (fatal)
        log_error("TLS files cannot be used", log_str("file", name[part]), log_str("why", text));
}

int certificate_use(struct ssl_ctx_st **context, const struct region *r,
                    const struct tls_files *files)
{
    struct ssl_ctx_st *made = NULL;

    _Static_assert(sizeof(struct tickets) <= sizeof(r->tickets), "the region has no room");
    if (files && files->cert_n > 0) {
        struct tls_pem pem[TLS_PARTS] = {[TLS_CERT] = {files->cert, files->cert_n},
                                         [TLS_KEY] = {files->key, files->key_n},
                                         [TLS_CLIENT_CA] = {files->client_ca, files->client_ca_n}};

        made = tls_context(pem, (const struct tickets *)r->tickets, say, NULL);
        if (!made)
            return -EINVAL; /* they were checked: this is memory, or another OpenSSL */
    }
    tls_context_free(*context);
    *context = made;
    return 0;
}
