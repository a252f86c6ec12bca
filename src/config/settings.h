/*
 * config/settings.h - every setting as a plain value, ready to use.
 *
 * Filled by config_load() in the master (and in a child that checks a reload); everyone else reads.
 * Plain memory without pointers: it can be copied, compared and inherited. Seconds are whole
 * seconds in 0…SECONDS_MAX, so that seconds_to_ns() is exact. Limits of 0 mean "none" unless the
 * field says otherwise.
 */
#ifndef CONFIG_SETTINGS_H
#define CONFIG_SETTINGS_H

#include "base/log.h"
#include "config/options.h"
#include "config/secret.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SETTINGS_HOSTS = 16,
    SETTINGS_HOST_LEN = 256, /* bytes with the NUL, as of all lengths here */
    SETTINGS_NAME_LEN = 256,
    SETTINGS_PATH_LEN = 4096,
    SETTINGS_UNIX_LEN = 108, /* of sun_path */
    SETTINGS_LIST_LEN = 4096,
    SETTINGS_PLACES_LEN = 32768,
    SETTINGS_SESSIONS = 16384, /* HTTP sessions that there is room for unless more are asked for, */
    SETTINGS_SESSIONS_MAX = 1048576, /* and at most */
    SETTINGS_WORKERS_HTTP = 63, /* lock workers beside an HTTP worker */
    SETTINGS_PORT_AUTO = -1, /* of http_port only: the kernel chooses */
    SETTINGS_COUNT_MAX = 2147483647,
    SETTINGS_LOCKS_MAX = 67108864, /* what a lock table can be laid out for */
};

/* Names or addresses to bind, unresolved; IPv6 literals without brackets. At least one. */
struct host_list {
    unsigned count;
    char name[SETTINGS_HOSTS][SETTINGS_HOST_LEN];
};

/* Ascending precedence: a value replaces one from a source that is not higher. */
enum setting_source {
    SOURCE_DEFAULT,
    SOURCE_FILE,
    SOURCE_FLAG,
    SOURCE_ENV_OLDER, /* by the variable's older name */
    SOURCE_ENV,
};

struct setting_origin {
    uint8_t source; /* enum setting_source of the value in use */
    uint8_t given;  /* bit 1 << source for each source that gave one: what is shadowed */
    uint16_t place; /* of the last one in a file: "PATH:LINE" at settings->places + this */
    uint64_t in_file; /* a hash of that value, which tells a change also where it is shadowed */
};

struct settings {
    struct host_list host;
    int64_t port;                        /* 0: the kernel chooses */
    char unix_socket[SETTINGS_UNIX_LEN]; /* "": none */
    int64_t unix_socket_mode;
    char user[SETTINGS_NAME_LEN];  /* "": stay who we are */
    char group[SETTINGS_NAME_LEN]; /* "": the user's */
    char run_dir[SETTINGS_PATH_LEN];
    bool discard_region;

    int64_t workers;

    int64_t default_lease_ttl;
    int64_t max_lease_ttl; /* 0: none; else at least default_lease_ttl */
    int64_t lease_sweep_interval;
    int64_t gc_interval;
    int64_t gc_max_idle;
    bool auto_release_on_disconnect;

    int64_t max_locks;
    int64_t max_connections; /* 0: what the descriptor limit allows; the master decides */
    int64_t max_connections_per_ip;
    int64_t max_waiters;

    int64_t read_timeout;
    int64_t write_timeout; /* 0: none */
    int64_t shutdown_timeout;

    char tls_cert[SETTINGS_PATH_LEN];
    char tls_key[SETTINGS_PATH_LEN];
    char tls_client_ca[SETTINGS_PATH_LEN];

    struct secret_set auth_token;            /* the tokens accepted, from whichever source won */
    char auth_token_file[SETTINGS_PATH_LEN]; /* the highest one given, even if a token beat it */
    struct secret_set admin_token;
    char admin_token_file[SETTINGS_PATH_LEN];

    char fence_state_file[SETTINGS_PATH_LEN];
    int64_t cold_start_delay;

    int64_t http_port;          /* 0: off */
    struct host_list http_host; /* a copy of `host` unless given */
    int64_t http_session_idle_timeout;
    int64_t http_max_sessions;
    int64_t http_max_sessions_per_ip;
    int64_t http_max_connections_per_ip;
    int64_t http_rate_limit_per_ip;
    int64_t http_rate_limit_burst; /* 0 was replaced by the rate */
    char http_cors_allowed_origins[SETTINGS_LIST_LEN];

    /* --debug is the less specific name of --log-level debug: a log level from any source wins
     * over it. config_load() has settled that; read log_level only. */
    enum log_level log_level;
    bool debug;
    enum log_format log_format;

    char config[SETTINGS_PATH_LEN];

    /* What the command line asks for instead of serving; the later of these wins. config_act() does
     * it. */
    bool check_config;
    bool dump_config;
    char fsck[SETTINGS_PATH_LEN]; /* main() does it */
    char check_region[SETTINGS_PATH_LEN]; /* and this */
    bool version;
    bool help;

    struct setting_origin origin[OPTION_COUNT];
    char places[SETTINGS_PLACES_LEN];
};

#endif
