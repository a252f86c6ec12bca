/*
 * supervisor/apply.c - see apply.h.
 */
#include "supervisor/apply.h"

#include "base/log.h"
#include "config/validate.h"
#include "shm/caps.h"
#include "supervisor/master_state.h"

#include <stdio.h>
#include <string.h>

static bool differs(const struct settings *a, const struct settings *b, enum option_id id)
{
    const struct option *o = &option_table[id];

    return memcmp((const char *)a + o->offset, (const char *)b + o->offset, o->size) != 0;
}

static bool is_setting(enum option_id id)
{
    return option_built(id) && option_in_file(id);
}

static void say_restart(enum option_id id)
{
    log_warn("reload: this setting has changed, but takes effect only at a restart",
             log_str("setting", option_table[id].key));
}

/* Tokens of a file may change, one that is given itself may not: neither it, nor whether there is
   one. */
static void keep_token(const struct settings *old, struct settings *s)
{
    bool given = config_auth_option(s) == OPTION_auth_token;
    bool was_given = config_auth_option(old) == OPTION_auth_token;

    if ((given || (was_given && config_auth_option(s) == OPTION_COUNT)) &&
        differs(old, s, OPTION_auth_token)) {
        say_restart(OPTION_auth_token);
        s->auth_token = old->auth_token;
        s->origin[OPTION_auth_token] = old->origin[OPTION_auth_token];
    }
}

void apply_keep(struct master *m, struct settings *s)
{
    const struct settings *old = m->settings;

    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &option_table[i];
        const struct setting_origin *was = &old->origin[i], *is = &s->origin[i];

        if (!is_setting(i))
            continue;
        if (is->source > SOURCE_FILE && is->in_file != was->in_file)
            log_warn("reload: this setting has changed in the file, but something else wins",
                     log_str("setting", o->key), log_str("wins", config_origin(s, i)));
        if (i == OPTION_auth_token || o->reload || !differs(old, s, i))
            continue;
        say_restart(i);
        memcpy((char *)s + o->offset, (const char *)old + o->offset, o->size);
    }
    keep_token(old, s);
    if (m->args->http->n > 0 && s->workers > SETTINGS_WORKERS_HTTP) {
        log_warn("reload: more workers than there may be beside HTTP", log_int("asked", s->workers),
                 log_uint("allowed", SETTINGS_WORKERS_HTTP));
        s->workers = SETTINGS_WORKERS_HTTP;
    }
}

static void list_changes(const struct settings *old, const struct settings *s, char *what, size_t n)
{
    size_t used = 0;

    what[0] = '\0';
    for (unsigned i = 0; i < OPTION_COUNT && used < n; i++)
        if (is_setting(i) && differs(old, s, i))
            used += (size_t)snprintf(what + used, n - used, "%s%s", used ? "," : "",
                                     i == OPTION_auth_token ? "tokens" : option_table[i].key);
    if (memcmp(&old->admin_token, &s->admin_token, sizeof(s->admin_token)) != 0 && used < n)
        used += (size_t)snprintf(what + used, n - used, "%sadmin tokens", used ? "," : "");
    if (used == 0)
        snprintf(what, n, "nothing changed");
}

static uint32_t connections(const struct master *m, const struct settings *s)
{
    uint64_t own = master_descriptors((uint32_t)s->workers);
    uint64_t most = m->args->descriptors > own ? m->args->descriptors - own : 1;
    uint64_t asked = s->max_connections ? (uint64_t)s->max_connections : most;

    most = most < m->r->max_conns ? most : m->r->max_conns;
    if (asked > most && differs(m->settings, s, OPTION_max_connections))
        log_warn("reload: more connections than there is room for before a restart",
                 log_uint("asked", asked), log_uint("allowed", most));
    return (uint32_t)(asked < most ? asked : most);
}

static uint32_t max_locks(const struct master *m, const struct settings *s)
{
    uint32_t room = m->r->geo.max_locks;

    return s->max_locks < room ? (uint32_t)s->max_locks : room;
}

uint32_t apply_max_locks(const struct master *m)
{
    return max_locks(m, m->settings);
}

static void warn_of_room(const struct master *m, const struct settings *s)
{
    if (s->max_locks > m->r->geo.max_locks && differs(m->settings, s, OPTION_max_locks))
        log_warn("reload: more keys than there is room for before a restart",
                 log_int("asked", s->max_locks), log_uint("allowed", m->r->geo.max_locks));
    if (m->args->http->n > 0 && s->http_max_sessions > m->r->max_sessions &&
        differs(m->settings, s, OPTION_http_max_sessions))
        log_warn("reload: more sessions than there is room for before a restart",
                 log_int("asked", s->http_max_sessions), log_uint("allowed", m->r->max_sessions));
}

void apply(struct master *m, const struct settings *s, char *what, size_t n)
{
    list_changes(m->settings, s, what, n);
    m->keeper.max = connections(m, s);
    m->keeper.max_per_ip = (uint32_t)s->max_connections_per_ip;
    warn_of_room(m, s);
    caps_limit(m->r, max_locks(m, s));
    log_init(s->log_format, s->log_level);
}

void apply_workers(struct master *m)
{
    if (m->nworkers != (uint32_t)m->settings->workers)
        resize(m, (uint32_t)m->settings->workers);
}
