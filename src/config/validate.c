/*
 * config/validate.c - see validate.h.
 */
#include "config/validate.h"

#include "config/webpages.h"

#include <inttypes.h>
#include <string.h>

/* Flags with their dashes, so that origins are constants. */
static const char *const flag_names[OPTION_COUNT] = {
#define OPTION_GROUP(title)
#define OPTION(name, env, older, type, def, min, max, unit, reload, secret, feature, help, field)  \
    [OPTION_##field] = "--" name,
#include "config/options.def"
};

const char *config_spelled(enum option_id id, enum setting_source source)
{
    switch (source) {
    case SOURCE_DEFAULT:
        break;
    case SOURCE_FILE:
        return option_table[id].key;
    case SOURCE_FLAG:
        return flag_names[id];
    case SOURCE_ENV_OLDER:
        return option_table[id].older;
    case SOURCE_ENV:
        return option_table[id].env;
    }
    return "default";
}

const char *config_given_by(const struct settings *settings, enum option_id id,
                            enum setting_source source)
{
    return source == SOURCE_FILE ? settings->places + settings->origin[id].place
                                 : config_spelled(id, source);
}

const char *config_origin(const struct settings *settings, enum option_id id)
{
    if (id == OPTION_log_level && settings->origin[id].source == SOURCE_DEFAULT && settings->debug)
        id = OPTION_debug;
    return config_given_by(settings, id, settings->origin[id].source);
}

enum option_id config_auth_option(const struct settings *settings)
{
    unsigned token = settings->origin[OPTION_auth_token].source;
    unsigned file = settings->origin[OPTION_auth_token_file].source;

    if (token == SOURCE_DEFAULT && file == SOURCE_DEFAULT)
        return OPTION_COUNT;
    return token >= file ? OPTION_auth_token : OPTION_auth_token_file;
}

/* "--tls-cert needs --tls-key", "DFLOCKD_TLS_CERT needs DFLOCKD_TLS_KEY" or "FILE:LINE: tls_cert
   needs tls_key": in the words of who gave the first half. */
static void check_needs(const struct settings *s, enum option_id id, bool given,
                        enum option_id other, bool other_given, struct config_report *report)
{
    enum setting_source source = s->origin[id].source;

    if (given && !other_given)
        report_error(report, "%s%s%s needs %s", source == SOURCE_FILE ? config_origin(s, id) : "",
                     source == SOURCE_FILE ? ": " : "", config_spelled(id, source),
                     config_spelled(other, source));
}

static void check_tls(const struct settings *s, struct config_report *report)
{
    bool cert = s->tls_cert[0] != '\0';
    bool key = s->tls_key[0] != '\0';

    check_needs(s, OPTION_tls_cert, cert, OPTION_tls_key, key, report);
    check_needs(s, OPTION_tls_key, key, OPTION_tls_cert, cert, report);
    check_needs(s, OPTION_tls_client_ca, s->tls_client_ca[0] != '\0', OPTION_tls_cert, cert,
                report);
}

static void check_leases(struct settings *s, struct config_report *report)
{
    if (s->max_lease_ttl == 0 || s->default_lease_ttl <= s->max_lease_ttl)
        return;
    /* Nobody chose the default, so a lower limit is not a contradiction. */
    if (s->origin[OPTION_default_lease_ttl].source == SOURCE_DEFAULT)
        s->default_lease_ttl = s->max_lease_ttl;
    else
        report_error(report, "%s: %" PRId64 " is more than %s (%" PRId64 ")",
                     config_origin(s, OPTION_default_lease_ttl), s->default_lease_ttl,
                     config_origin(s, OPTION_max_lease_ttl), s->max_lease_ttl);
}

static void check_admin(const struct settings *s, struct config_report *report)
{
    for (unsigned i = 0; i < s->admin_token.count; i++) {
        for (unsigned j = 0; j < s->auth_token.count; j++) {
            if (memcmp(s->admin_token.digest[i], s->auth_token.digest[j], SECRET_DIGEST) == 0) {
                report_warn(report,
                            "%s: token %u is also an ordinary one: every client is an admin",
                            config_origin(s, OPTION_admin_token_file), i + 1);
                return;
            }
        }
    }
}

static void check_http(struct settings *s, struct config_report *report)
{
    if (s->http_port > 0 && s->http_port == s->port)
        report_error(report, "%s: %" PRId64 " is also the port of the line protocol (%s)",
                     config_origin(s, OPTION_http_port), s->http_port,
                     config_origin(s, OPTION_port));
    webpages_check(s, report);
    if (s->http_port == 0 || s->workers <= SETTINGS_WORKERS_HTTP)
        return;
    if (s->origin[OPTION_workers].source == SOURCE_DEFAULT)
        s->workers = SETTINGS_WORKERS_HTTP;
    else
        report_error(report, "%s: at most %d workers beside HTTP (%s)",
                     config_origin(s, OPTION_workers), SETTINGS_WORKERS_HTTP,
                     config_origin(s, OPTION_http_port));
}

uint32_t config_sessions(const struct settings *s)
{
    if (s->http_max_sessions <= SETTINGS_SESSIONS)
        return SETTINGS_SESSIONS;
    return s->http_max_sessions > SETTINGS_SESSIONS_MAX ? SETTINGS_SESSIONS_MAX
                                                        : (uint32_t)s->http_max_sessions;
}

void config_validate(struct settings *s, struct config_report *report)
{
    if (s->debug && s->origin[OPTION_log_level].source == SOURCE_DEFAULT)
        s->log_level = LVL_DEBUG;
    if (s->http_host.count == 0)
        s->http_host = s->host;
    if (s->http_rate_limit_burst == 0)
        s->http_rate_limit_burst = s->http_rate_limit_per_ip;

    check_leases(s, report);
    check_tls(s, report);
    check_http(s, report);
    check_admin(s, report);
    if (s->origin[OPTION_auth_token].given & 1u << SOURCE_FLAG)
        report_warn(report, "--auth-token: the process list shows it until the server has read it; "
                            "use --auth-token-file");
}
