/*
 * tests/config/load_test.c - settings from flags, environment and defaults: what wins, what is
 * refused, and in which words.
 */
#include "config/load.h"

#include "base/err.h"
#include "base/num.h"
#include "config/exitcode.h"
#include "config/validate.h"
#include "config/value.h"
#include "tests/config/sources.h"
#include "tests/tap.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

/* One word or variable, one error, that text. */
static void refused(const char *const *words, const char *const *env, const char *text)
{
    is_int(load(words, env), ERR_CONFIG, "refused: %s", text);
    is_str(error_text(0), text, "in these words");
    is_u64(report.errors.count, 1, "once");
}

/* The table of the specification, written down a second time. */
static const struct {
    const char *name, *env, *def;
    bool reload;
} expected[] = {
    {"host", "DFLOCKD_HOST", "127.0.0.1", false},
    {"port", "DFLOCKD_PORT", "6388", false},
    {"unix-socket", "DFLOCKD_UNIX_SOCKET", "", false},
    {"unix-socket-mode", "DFLOCKD_UNIX_SOCKET_MODE", "0660", false},
    {"user", "DFLOCKD_USER", "", false},
    {"group", "DFLOCKD_GROUP", "", false},
    {"run-dir", "DFLOCKD_RUN_DIR", "", false},
    {"discard-region", NULL, "false", false},
    {"workers", "DFLOCKD_WORKERS", "", true},
    {"default-lease-ttl", "DFLOCKD_DEFAULT_LEASE_TTL_S", "33", true},
    {"max-lease-ttl", "DFLOCKD_MAX_LEASE_TTL_S", "0", true},
    {"lease-sweep-interval", "DFLOCKD_LEASE_SWEEP_INTERVAL_S", "1", true},
    {"gc-interval", "DFLOCKD_GC_INTERVAL_S", "5", true},
    {"gc-max-idle", "DFLOCKD_GC_MAX_IDLE_S", "60", true},
    {"max-locks", "DFLOCKD_MAX_LOCKS", "1024", true},
    {"max-connections", "DFLOCKD_MAX_CONNECTIONS", "0", true},
    {"max-connections-per-ip", "DFLOCKD_MAX_CONNECTIONS_PER_IP", "0", true},
    {"max-waiters", "DFLOCKD_MAX_WAITERS", "0", true},
    {"read-timeout", "DFLOCKD_READ_TIMEOUT_S", "23", true},
    {"write-timeout", "DFLOCKD_WRITE_TIMEOUT_S", "5", true},
    {"shutdown-timeout", "DFLOCKD_SHUTDOWN_TIMEOUT_S", "30", true},
    {"tls-cert", "DFLOCKD_TLS_CERT", "", true},
    {"tls-key", "DFLOCKD_TLS_KEY", "", true},
    {"tls-client-ca", "DFLOCKD_TLS_CLIENT_CA", "", true},
    {"auth-token", "DFLOCKD_AUTH_TOKEN", "", false},
    {"admin-token-file", "DFLOCKD_ADMIN_TOKEN_FILE", "", true},
    {"auth-token-file", "DFLOCKD_AUTH_TOKEN_FILE", "", true},
    {"auto-release-on-disconnect", "DFLOCKD_AUTO_RELEASE_ON_DISCONNECT", "true", true},
    {"fence-state-file", "DFLOCKD_FENCE_STATE_FILE", "", false},
    {"cold-start-delay", "DFLOCKD_COLD_START_DELAY_S", "120", false},
    {"http-port", "DFLOCKD_HTTP_PORT", "0", false},
    {"http-host", "DFLOCKD_HTTP_HOST", "", false},
    {"http-session-idle-timeout", "DFLOCKD_HTTP_SESSION_IDLE_S", "20", true},
    {"http-max-sessions", "DFLOCKD_HTTP_MAX_SESSIONS", "0", true},
    {"http-max-sessions-per-ip", "DFLOCKD_HTTP_MAX_SESSIONS_PER_IP", "0", true},
    {"http-max-connections-per-ip", "DFLOCKD_HTTP_MAX_CONNECTIONS_PER_IP", "0", true},
    {"http-rate-limit-per-ip", "DFLOCKD_HTTP_RATE_LIMIT_PER_IP", "0", true},
    {"http-rate-limit-burst", "DFLOCKD_HTTP_RATE_LIMIT_BURST", "0", true},
    {"http-cors-allowed-origins", "DFLOCKD_HTTP_CORS_ALLOWED_ORIGINS", "", true},
    {"log-level", "DFLOCKD_LOG_LEVEL", "info", true},
    {"debug", "DFLOCKD_DEBUG", "false", true},
    {"log-format", "DFLOCKD_LOG_FORMAT", "text", true},
    {"config", "DFLOCKD_CONFIG", "", false},
    {"check-config", NULL, "", false},
    {"dump-config", NULL, "", false},
    {"fsck", NULL, "", false},
    {"check-region", NULL, "", false},
    {"version", NULL, "", false},
    {"help", NULL, "", false},
};

static size_t size_of(enum option_type type)
{
    switch (type) {
    case TYPE_INT:
    case TYPE_SECONDS:
    case TYPE_PORT:
    case TYPE_PORT_AUTO:
    case TYPE_MODE:
        return sizeof(int64_t);
    case TYPE_BOOL:
    case TYPE_ACTION:
        return sizeof(bool);
    case TYPE_HOSTS:
        return sizeof(struct host_list);
    case TYPE_LOG_LEVEL:
        return sizeof(enum log_level);
    case TYPE_LOG_FORMAT:
        return sizeof(enum log_format);
    case TYPE_SECRET:
        return sizeof(struct secret_set);
    case TYPE_STRING:
    case TYPE_PATH:
    case TYPE_ACTION_PATH:
        break;
    }
    return 0;
}

static void test_table(void)
{
    is_u64(OPTION_COUNT, sizeof(expected) / sizeof(expected[0]), "as many options as specified");
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        enum option_id id = option_find(expected[i].name, strlen(expected[i].name));
        const struct option *o;
        union value value;
        char why[VALUE_WHY];

        if (!ok(id != OPTION_COUNT, "--%s is there", expected[i].name))
            continue;
        o = &option_table[id];
        is_str(o->env, expected[i].env, "--%s: its variable", o->name);
        is_str(o->def, expected[i].def, "--%s: its default", o->name);
        is_int(o->reload, expected[i].reload, "--%s: reload", o->name);
        ok(o->size <= sizeof(union value) && (size_of(o->type) == 0 || size_of(o->type) == o->size),
           "--%s: its field has the size of its type", o->name);
        ok(o->def[0] == '\0' || value_parse(o, o->def, &value, why), "--%s: its default is valid",
           o->name);
        ok(o->help[0] != '\0', "--%s: has a help text", o->name);
    }
    is_int(EXITCODE_OK, 0, "exit code of success");
    is_int(EXITCODE_FAIL, 1, "exit code of failure");
    is_int(EXITCODE_CONFIG, 78, "exit code of wrong settings");
}

static void test_defaults(void)
{
    cpu_set_t all, one;

    is_int(load(WORDS(), ENV()), 0, "no flag, no variable");
    is_u64(report.errors.count + report.warnings.count, 0, "nothing to report");
    is_u64(settings.host.count, 1, "one host");
    is_str(settings.host.name[0], "127.0.0.1", "which is local");
    is_int(settings.port, 6388, "port");
    is_str(settings.unix_socket, "", "no Unix socket");
    is_int(settings.unix_socket_mode, 0660, "its mode");
    is_int(settings.default_lease_ttl, 33, "default lease");
    is_int(settings.max_locks, 1024, "max locks");
    is_int(settings.max_connections, 0, "max connections: the master decides");
    is_int(settings.write_timeout, 5, "write timeout");
    ok(settings.auto_release_on_disconnect, "auto release");
    is_int(settings.log_level, LVL_INFO, "log level");
    is_int(settings.log_format, LOG_FORMAT_TEXT, "log format");
    is_u64(settings.auth_token.count, 0, "no token");
    is_str(settings.http_host.name[0], "127.0.0.1", "HTTP host as the host");
    is_int(settings.cold_start_delay, 120, "the wait after a cold start");
    is_str(config_origin(&settings, OPTION_port), "default", "origin");
    ok(config_auth_option(&settings) == OPTION_COUNT, "no authentication");

    if (sched_getaffinity(0, sizeof(all), &all) != 0)
        bail_out("sched_getaffinity");
    is_int(settings.workers, CPU_COUNT(&all) > 64 ? 64 : CPU_COUNT(&all), "a worker a CPU");
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof(one), &one);
    load(WORDS(), ENV());
    is_int(settings.workers, 1, "of those that may be used");
    sched_setaffinity(0, sizeof(all), &all);
}

static void test_ways_to_write(void)
{
    is_int(load(WORDS("--port", "7000"), ENV()), 0, "--port 7000");
    is_int(settings.port, 7000, "its value");
    is_str(config_origin(&settings, OPTION_port), "--port", "its origin");
    is_int(load(WORDS("--port=7001"), ENV()), 0, "--port=7001");
    is_int(settings.port, 7001, "its value");
    is_int(load(WORDS("-port", "7002"), ENV()), 0, "-port 7002");
    is_int(settings.port, 7002, "its value");
    is_int(load(WORDS("-port=7003"), ENV()), 0, "-port=7003");
    is_int(settings.port, 7003, "its value");
    is_int(load(WORDS("--port", "1", "--port", "+2"), ENV()), 0, "twice");
    is_int(settings.port, 2, "the last one counts");
    is_int(load(WORDS("--unix-socket=/a=b"), ENV()), 0, "an equals sign in a value");
    is_str(settings.unix_socket, "/a=b", "belongs to it");
    is_int(load(WORDS("--unix-socket", "-x"), ENV()), 0, "a value with one dash");
    is_str(settings.unix_socket, "-x", "is a value");
    is_int(load(WORDS("--"), ENV()), 0, "-- alone is harmless");

    is_int(load(WORDS("-t"), ENV()), 0, "-t");
    ok(settings.check_config && !settings.dump_config, "is --check-config");
    is_int(load(WORDS("-T"), ENV()), 0, "-T");
    ok(settings.dump_config && !settings.check_config, "is --dump-config");
    is_int(load(WORDS("-V"), ENV()), 0, "-V");
    ok(settings.version, "is --version");
    is_int(load(WORDS("-h"), ENV()), 0, "-h");
    ok(settings.help, "is --help");
    is_int(load(WORDS("-help"), ENV()), 0, "-help");
    ok(settings.help, "is --help too");
    is_int(load(WORDS("--version", "--bogus", "word"), ENV("DFLOCKD_PORT=abc")), 0,
           "--version works whatever else is wrong");
    ok(settings.version && report.errors.count == 0, "and reports nothing");
}

static void test_booleans(void)
{
    static const char *const yes[] = {"1", "true", "yes", "on", "TRUE", "Yes", "oN"};
    static const char *const no[] = {"0", "false", "no", "off", "FALSE", "No", "oFF"};
    char word[64], variable[64];

    is_int(load(WORDS("--debug"), ENV()), 0, "--debug");
    ok(settings.debug, "is true");
    is_int(load(WORDS("--no-auto-release-on-disconnect"), ENV()), 0, "--no-…");
    ok(!settings.auto_release_on_disconnect, "is false");
    is_int(load(WORDS("-no-auto-release-on-disconnect"), ENV()), 0, "-no-…");
    ok(!settings.auto_release_on_disconnect, "is false");
    for (size_t i = 0; i < 7; i++) {
        snprintf(word, sizeof(word), "--debug=%s", yes[i]);
        snprintf(variable, sizeof(variable), "DFLOCKD_AUTO_RELEASE_ON_DISCONNECT=%s", no[i]);
        is_int(load(WORDS(word), ENV(variable)), 0, "%s %s", yes[i], no[i]);
        ok(settings.debug && !settings.auto_release_on_disconnect, "their values");
    }
    refused(WORDS("--debug=2"), ENV(), "--debug: '2' is not a boolean (true or false)");
    refused(WORDS(), ENV("DFLOCKD_DEBUG=truee"),
            "DFLOCKD_DEBUG: 'truee' is not a boolean (true or false)");
    refused(WORDS("--no-debug=true"), ENV(), "--no-debug takes no value");
    refused(WORDS("--version=1"), ENV(), "--version takes no value");
    refused(WORDS("--debug", "true"), ENV(), "unexpected argument 'true'");
    refused(WORDS("--no-port"), ENV(), "unknown option '--no-port'");
}

static void test_precedence(void)
{
    is_int(load(WORDS("--port", "7000"), ENV("DFLOCKD_PORT=8000")), 0, "flag and variable");
    is_int(settings.port, 8000, "the variable wins");
    is_str(config_origin(&settings, OPTION_port), "DFLOCKD_PORT", "and is the origin");
    is_int(settings.origin[OPTION_port].given, 1 << SOURCE_FLAG | 1 << SOURCE_ENV,
           "the shadowed flag is recorded");
    is_int(load(WORDS("--port", "7000"), ENV("DFLOCKD_PORT=")), 0, "an empty variable");
    is_int(settings.port, 7000, "counts as unset");
    is_int(settings.origin[OPTION_port].given, 1 << SOURCE_FLAG, "also in the record");
    is_int(load(WORDS(), ENV("XDFLOCKD_PORT=1", "DFLOCKD_PORTS=2", "DFLOCKD_PORT")), 0,
           "names that only look alike");
    is_int(settings.port, 6388, "are not it");

    is_int(load(WORDS("--gc-interval=7"), ENV("DFLOCKD_GC_LOOP_SLEEP=8")), 0, "an older name");
    is_int(settings.gc_interval, 8, "works, and wins over the flag");
    is_str(config_origin(&settings, OPTION_gc_interval), "DFLOCKD_GC_LOOP_SLEEP", "as the origin");
    is_str(
        warning_text(0),
        "DFLOCKD_GC_LOOP_SLEEP: older name of DFLOCKD_GC_INTERVAL_S, which should be used instead",
        "with a warning");
    is_u64(report.warnings.count, 1, "one");
    is_int(load(WORDS(), ENV("DFLOCKD_GC_MAX_IDLE_S=9", "DFLOCKD_GC_MAX_UNUSED_TIME=10")), 0,
           "both names");
    is_int(settings.gc_max_idle, 9, "the newer one wins");
    is_str(warning_text(0),
           "DFLOCKD_GC_MAX_UNUSED_TIME: older name of DFLOCKD_GC_MAX_IDLE_S, which is set too and "
           "wins",
           "with a warning");
    is_u64(report.warnings.count, 1, "one");

    refused(WORDS("--port", "abc"), ENV("DFLOCKD_PORT=7000"), "--port: 'abc' is not a number");
    refused(WORDS(), ENV("DFLOCKD_GC_INTERVAL_S=1", "DFLOCKD_GC_LOOP_SLEEP=0"),
            "DFLOCKD_GC_LOOP_SLEEP: 0 is out of range (1 to 9223372036)");
}

static void test_numbers(void)
{
    refused(WORDS(), ENV("DFLOCKD_PORT=abc"), "DFLOCKD_PORT: 'abc' is not a number");
    refused(WORDS("--port", "70000"), ENV(), "--port: 70000 is out of range (0 to 65535)");
    refused(WORDS("--port", "-1"), ENV(), "--port: -1 is out of range (0 to 65535)");
    refused(WORDS("--port", "0x10"), ENV(), "--port: '0x10' is not a number");
    refused(WORDS("--port", " 1"), ENV(), "--port: ' 1' is not a number");
    refused(WORDS("--port="), ENV(), "--port: the value is empty");
    refused(WORDS("--max-locks", "99999999999999999999"), ENV(),
            "--max-locks: 99999999999999999999 is out of range (1 to 67108864)");
    refused(WORDS("--workers", "0"), ENV(), "--workers: 0 is out of range (1 to 64)");
    refused(WORDS("--workers", "65"), ENV(), "--workers: 65 is out of range (1 to 64)");
    refused(WORDS("--default-lease-ttl", "9223372037"), ENV(),
            "--default-lease-ttl: 9223372037 is out of range (1 to 9223372036)");
    refused(WORDS("--read-timeout", "1.5"), ENV(), "--read-timeout: '1.5' is not a number");
    refused(WORDS("--unix-socket-mode", "0888"), ENV(),
            "--unix-socket-mode: '0888' is not an octal mode");
    refused(WORDS("--unix-socket-mode", "1777"), ENV(),
            "--unix-socket-mode: 1777 is out of range (0 to 0777)");
    refused(WORDS("--unix-socket-mode", "777777777777777777777777777"), ENV(),
            "--unix-socket-mode: 777777777777777777777777777 is out of range (0 to 0777)");
    is_int(load(WORDS("--default-lease-ttl", "9223372036", "--unix-socket-mode=600", "--port=0"),
                ENV("DFLOCKD_WORKERS=64")),
           0, "the largest are good");
    is_int(settings.default_lease_ttl, SECONDS_MAX, "seconds");
    is_int(settings.unix_socket_mode, 0600, "mode");
    is_int(settings.port, 0, "port 0");
    is_int(settings.workers, 64, "workers");
}

/* Every number: one below its least and one above its most are refused, both ends are taken. */
static void test_every_range(void)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &option_table[i];
        union value value;
        char text[32], why[VALUE_WHY];
        bool good = true;

        if (o->type > TYPE_PORT_AUTO)
            continue;
        for (int above = 0; above < 2; above++) {
            for (int outside = 0; outside < 2; outside++) {
                int64_t n = above ? o->max + outside : o->min - outside;

                snprintf(text, sizeof(text), "%lld", (long long)n);
                good = good && value_parse(o, text, &value, why) == !outside &&
                       (outside || value.number == n);
            }
        }
        ok(good, "--%s: its range", o->name);
    }
    is_int(option_table[OPTION_gc_max_idle].min, 0, "gc-max-idle may be 0");
    is_int(option_table[OPTION_write_timeout].min, 0, "write-timeout may be 0");
    is_int(option_table[OPTION_shutdown_timeout].min, 0, "shutdown-timeout may be 0");
    is_int(option_table[OPTION_max_lease_ttl].min, 0, "max-lease-ttl may be 0");
    is_int(option_table[OPTION_lease_sweep_interval].min, 1, "lease-sweep-interval may not");
    is_int(option_table[OPTION_max_locks].min, 1, "nor may max-locks");
}

static void test_unknown(void)
{
    refused(WORDS("--prot", "7000"), ENV(), "unknown option '--prot' (did you mean '--port'?)");
    refused(WORDS("-prot=7000"), ENV(), "unknown option '-prot' (did you mean '--port'?)");
    refused(WORDS("--max-lock=5"), ENV(),
            "unknown option '--max-lock' (did you mean '--max-locks'?)");
    refused(WORDS("--max_locks=5"), ENV(),
            "unknown option '--max_locks' (did you mean '--max-locks'?)");
    refused(WORDS("--frobnicate"), ENV(), "unknown option '--frobnicate'");
    refused(WORDS("-p", "7000"), ENV(), "unknown option '-p'");
    refused(WORDS("--T"), ENV(), "unknown option '--T'");
    if (option_built(OPTION_http_port))
        refused(WORDS("--http-prot=x"), ENV(),
                "unknown option '--http-prot' (did you mean '--http-port'?)");
    refused(WORDS("--=x"), ENV(), "unknown option '--'");
    refused(WORDS("--auth-tokne=hunter2"), ENV(),
            "unknown option '--auth-tokne' (did you mean '--auth-token'?)");
    refused(WORDS("--auth-tokne", "hunter2"), ENV(),
            "unknown option '--auth-tokne' (did you mean '--auth-token'?)");
    refused(WORDS("start"), ENV(), "unexpected argument 'start'");
    refused(WORDS("-"), ENV(), "unexpected argument '-'");
    refused(WORDS(""), ENV(), "unexpected argument ''");
    refused(WORDS("--", "--port"), ENV(), "unexpected argument '--port'");
    refused(WORDS("--port"), ENV(), "--port needs a value");
    refused(WORDS("--host", "--debug"), ENV(), "--host needs a value");
    ok(settings.debug, "and the next option is not lost");
    refused(WORDS("a\x1b[31m\n"), ENV(), "unexpected argument 'a\\x1b[31m\\x0a'");
}

static void test_all_at_once(void)
{
    const char *words[2 + 40] = {"dflockd"};

    is_int(load(WORDS("--port", "x", "--bogus", "--workers=0", "word"),
                ENV("DFLOCKD_MAX_LOCKS=0", "DFLOCKD_LOG_LEVEL=loud", "DFLOCKD_LOG_FORMAT=xml")),
           ERR_CONFIG, "seven errors");
    is_u64(report.errors.count, 7, "are all reported");
    is_str(error_text(5), "DFLOCKD_LOG_LEVEL: 'loud' is not one of error, warn, info, debug",
           "a level that is none");
    is_str(error_text(6), "DFLOCKD_LOG_FORMAT: 'xml' is not one of text, json",
           "a format that is none");

    for (int i = 0; i < 40; i++)
        words[i + 1] = "word";
    load(words, ENV());
    is_u64(report.errors.count, 40, "many are counted");
    is_str(error_text(REPORT_KEPT - 1), "unexpected argument 'word'", "as many as fit are kept");
}

static void test_text(void)
{
    static char longest[SETTINGS_UNIX_LEN], path[SETTINGS_PATH_LEN + 1];

    memset(longest, 'a', sizeof(longest) - 1);
    is_int(load(WORDS("--unix-socket", longest), ENV()), 0, "107 bytes");
    is_str(settings.unix_socket, longest, "are kept");
    memset(path, 'b', sizeof(path) - 1);
    path[108] = '\0';
    refused(
        WORDS("--unix-socket", path), ENV(),
        "--unix-socket: "
        "'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb...' is "
        "longer than 107 bytes");
    refused(WORDS("--user="), ENV(), "--user: the value is empty");
    is_int(load(WORDS("--log-level", "WARN", "--log-format=JSON"), ENV()), 0, "words in any case");
    is_int(settings.log_level, LVL_WARN, "level");
    is_int(settings.log_format, LOG_FORMAT_JSON, "format");
    is_int(load(WORDS("--debug"), ENV()), 0, "--debug");
    is_int(settings.log_level, LVL_DEBUG, "is level debug");
    is_str(config_origin(&settings, OPTION_log_level), "--debug", "from there");
    is_int(load(WORDS("--log-level", "info"), ENV("DFLOCKD_DEBUG=1")), 0, "but --log-level");
    is_int(settings.log_level, LVL_INFO, "wins over any --debug");
}

static void test_hosts(void)
{
    static const char *const bad[] = {"1.2.3.4:80", "[::1]:80", "[127.0.0.1]", "[::1",
                                      "::1]",       "a b",      "*",           "a/b",
                                      "fe80::1::2", "a[",       "[]"};
    char text[128], many[64] = "a";

    is_int(load(WORDS("--host", "a.example, 10.0.0.1 ,::1,[::],fe80::1%eth0,[fe80::2%1],A-b_c"),
                ENV()),
           0, "a list");
    is_u64(settings.host.count, 7, "of seven");
    is_str(settings.host.name[0], "a.example", "a name");
    is_str(settings.host.name[1], "10.0.0.1", "an address, trimmed");
    is_str(settings.host.name[2], "::1", "IPv6");
    is_str(settings.host.name[3], "::", "IPv6 in brackets");
    is_str(settings.host.name[4], "fe80::1%eth0", "with a zone");
    is_str(settings.host.name[5], "fe80::2%1", "both");
    is_str(settings.http_host.name[6], "A-b_c", "HTTP has the same hosts");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "--host: '%s' is not a host name or address", bad[i]);
        refused(WORDS("--host", bad[i]), ENV(), text);
    }
    refused(WORDS("--host", "a,,b"), ENV(), "--host: '' is not a host name or address");
    refused(WORDS("--host", "a,"), ENV(), "--host: '' is not a host name or address");
    refused(WORDS("--host", ""), ENV(), "--host: the value is empty");
    for (int i = 1; i < SETTINGS_HOSTS; i++)
        strcat(many, ",a");
    is_int(load(WORDS("--host", many), ENV()), 0, "16 hosts");
    strcat(many, ",a");
    refused(WORDS("--host", many), ENV(), "--host: has more than 16 hosts");
}

static void test_missing_features(void)
{
    if (!option_built(OPTION_tls_cert)) {
        refused(WORDS("--tls-cert", "/x"), ENV(), "--tls-cert: this build has no TLS");
        refused(WORDS(), ENV("DFLOCKD_TLS_KEY=/x"), "DFLOCKD_TLS_KEY: this build has no TLS");
    }
    if (!option_built(OPTION_http_port)) {
        refused(WORDS("--http-port=auto"), ENV(), "--http-port: this build has no HTTP");
        refused(WORDS(), ENV("DFLOCKD_HTTP_HOST=::1"), "DFLOCKD_HTTP_HOST: this build has no HTTP");
    }
    is_int(load(WORDS(), ENV("DFLOCKD_TLS_CERT=")), 0, "empty: not given");
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        char word[64];

        if (option_built(i))
            continue;
        snprintf(word, sizeof(word), "--%s%s", option_table[i].name,
                 option_table[i].type == TYPE_BOOL ? "" : "=1");
        load(WORDS(word), ENV());
        is_u64(report.errors.count, 1, "%s is refused", word);
    }
}

static void test_http(void)
{
    is_int(load(WORDS("--http-port=auto"), ENV("DFLOCKD_HTTP_HOST=::1,localhost")), 0, "HTTP");
    is_int(settings.http_port, SETTINGS_PORT_AUTO, "at a port that the kernel chooses");
    is_str(settings.http_host.name[1], "localhost", "on other addresses");
    is_str(settings.host.name[0], "127.0.0.1", "than the line protocol");
    is_int(load(WORDS("--port=7000", "--http-port=7001"), ENV("DFLOCKD_HTTP_PORT=")), 0,
           "an empty variable: not given");
    is_int(settings.http_port, 7001, "a port");
    is_int(load(WORDS("--http-rate-limit-per-ip=50"), ENV()), 0, "a rate without a burst");
    is_int(settings.http_rate_limit_burst, 50, "is its own burst");
    is_int(load(WORDS("--http-rate-limit-per-ip=50", "--http-rate-limit-burst=200"), ENV()), 0,
           "or another");
    is_int(settings.http_rate_limit_burst, 200, "that is given");
    refused(WORDS("--http-port=7000"), ENV("DFLOCKD_PORT=7000"),
            "--http-port: 7000 is also the port of the line protocol (DFLOCKD_PORT)");
    is_int(load(WORDS("--port=0", "--http-port=0"), ENV()), 0, "0 and 0: off, chosen");
    is_int(load(WORDS("--http-port=7000", "--workers=63"), ENV()), 0, "63 workers beside HTTP");
    refused(WORDS("--http-port=7000"), ENV("DFLOCKD_WORKERS=64"),
            "DFLOCKD_WORKERS: at most 63 workers beside HTTP (--http-port)");
    is_int(load(WORDS("--workers=64"), ENV()), 0, "64 without");
    refused(WORDS("--http-port=-1"), ENV(), "--http-port: -1 is out of range (0 to 65535)");
    refused(WORDS("--http-port=65536"), ENV(), "--http-port: 65536 is out of range (0 to 65535)");
    refused(WORDS("--http-port=any"), ENV(), "--http-port: 'any' is not a number");
    refused(WORDS("--http-max-sessions=-5"), ENV(),
            "--http-max-sessions: -5 is out of range (0 to 1048576)");
}

/* On settings made by hand: a build without TLS refuses its options. */
static void validate(const char *cert, const char *key, int64_t http_port)
{
    load(WORDS(), ENV());
    snprintf(settings.tls_cert, sizeof(settings.tls_cert), "%s", cert);
    snprintf(settings.tls_key, sizeof(settings.tls_key), "%s", key);
    settings.origin[OPTION_tls_cert].source = SOURCE_FLAG;
    settings.origin[OPTION_tls_key].source = SOURCE_ENV;
    settings.origin[OPTION_http_port].source = SOURCE_FLAG;
    settings.http_port = http_port;
    memset(&report, 0, sizeof(report));
    config_validate(&settings, &report);
}

static void test_validate(void)
{
    validate("/c", "/k", 6389);
    is_u64(report.errors.count, 0, "a whole pair, two ports");
    validate("/c", "", 0);
    is_str(error_text(0), "--tls-cert needs --tls-key", "half a pair");
    validate("", "/k", 0);
    is_str(error_text(0), "DFLOCKD_TLS_KEY needs DFLOCKD_TLS_CERT", "the other half");
    validate("", "", 6388);
    is_str(error_text(0), "--http-port: 6388 is also the port of the line protocol (default)",
           "one port for two");
    validate("", "", SETTINGS_PORT_AUTO);
    is_u64(report.errors.count, 0, "auto never meets another port");
    settings.workers = 64;
    config_validate(&settings, &report);
    is_u64(report.errors.count, 0, "the default on a machine of many CPUs");
    is_int(settings.workers, 63, "leaves HTTP its process");
    load(WORDS(), ENV());
    strcpy(settings.tls_client_ca, "/ca");
    settings.origin[OPTION_tls_client_ca].source = SOURCE_FLAG;
    config_validate(&settings, &report);
    is_str(error_text(0), "--tls-client-ca needs --tls-cert", "client certificates without TLS");

    is_int(load(WORDS("--max-lease-ttl", "10"), ENV()), 0, "a maximum below the default lease");
    is_int(settings.default_lease_ttl, 10, "lowers the default");
    refused(WORDS("--max-lease-ttl", "10", "--default-lease-ttl", "11"), ENV(),
            "--default-lease-ttl: 11 is more than --max-lease-ttl (10)");
    is_int(load(WORDS("--max-lease-ttl", "10", "--default-lease-ttl", "10"), ENV()), 0, "equal");
    is_int(load(WORDS("--default-lease-ttl", "100"), ENV()), 0, "no maximum");
}

static void test_port_auto(void)
{
    const struct option *o = &option_table[OPTION_http_port];
    union value value;
    char why[VALUE_WHY];

    ok(value_parse(o, "auto", &value, why) && value.number == SETTINGS_PORT_AUTO, "auto");
    ok(value_parse(o, "6389", &value, why) && value.number == 6389, "a number");
    ok(!value_parse(o, "-1", &value, why), "-1 is not auto");
    ok(!value_parse(&option_table[OPTION_port], "auto", &value, why), "only for HTTP");
}

static void test_copy_args(void)
{
    char *argv[] = {(char[]){"a"}, (char[]){""}, (char[]){"ccc"}, NULL};
    char **copy = config_copy_args(3, argv);

    is_str(copy[0], "a", "a copy");
    is_str(copy[1], "", "of each");
    is_str(copy[2], "ccc", "argument");
    ok(copy[3] == NULL && copy[0] != argv[0], "with its end, in its own memory");
    config_free_args(3, copy);
    config_free_args(0, NULL);
}

int main(void)
{
    test_table();
    test_defaults();
    test_ways_to_write();
    test_booleans();
    test_precedence();
    test_numbers();
    test_every_range();
    test_unknown();
    test_all_at_once();
    test_text();
    test_hosts();
    test_missing_features();
    if (option_built(OPTION_http_port))
        test_http();
    test_validate();
    test_port_auto();
    test_copy_args();
    config_free_args(loaded_argc, loaded_argv);
    return done_testing();
}
