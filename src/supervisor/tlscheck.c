/*
 * supervisor/tlscheck.c - see tlscheck.h.
 */
#include "supervisor/tlscheck.h"

#include "config/validate.h"
#include "net/tls.h"

struct hearing {
    const struct settings *settings;
    struct config_report *report;
};

static void hear(void *arg, enum tls_part part, bool fatal, const char *text)
{
    const struct hearing *h = arg;
    const struct settings *s = h->settings;
    const struct {
        enum option_id id;
        const char *path;
    } where[TLS_PARTS] = {
        [TLS_CERT] = {OPTION_tls_cert, s->tls_cert},
        [TLS_KEY] = {OPTION_tls_key, s->tls_key},
        [TLS_CLIENT_CA] = {OPTION_tls_client_ca, s->tls_client_ca},
    };
    const char *origin = config_origin(s, where[part].id);

    if (fatal)
        report_error(h->report, "%s: %s: %s", origin, where[part].path, text);
    else
        report_warn(h->report, "%s: %s: %s", origin, where[part].path, text);
}

void tlscheck(const struct settings *settings, const struct tls_files *files,
              struct config_report *report)
{
    struct hearing h = {.settings = settings, .report = report};
    struct tls_pem pem[TLS_PARTS] = {[TLS_CERT] = {files->cert, files->cert_n},
                                     [TLS_KEY] = {files->key, files->key_n},
                                     [TLS_CLIENT_CA] = {files->client_ca, files->client_ca_n}};
    unsigned before = report->errors.count;
    struct ssl_ctx_st *context;

    if (files->cert_n == 0)
        return;
    context = tls_context(pem, NULL, hear, &h);
    if (!context && report->errors.count == before)
        report_error(report, "%s: %s: cannot be checked: out of memory",
                     config_origin(settings, OPTION_tls_cert), settings->tls_cert);
    tls_context_free(context);
}
