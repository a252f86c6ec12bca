/*
 * dflockd/main.c - composition: settings → addresses → region → master. The only file that
 * sees everything; what it does is done before the first fork.
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/point.h"
#include "config/dump.h"
#include "config/exitcode.h"
#include "config/load.h"
#include "config/secret.h"
#include "config/tlsfiles.h"
#include "dflockd/checkregion.h"
#include "dflockd/fsck.h"
#include "dflockd/origin.h"
#include "dflockd/tlsload.h"
#include "dflockd/user.h"
#ifdef HAVE_HTTP
#include "http/http.h"
#else
#define http_run NULL /* nobody listens for it: its options and sockets are refused */
#endif
#include "net/listen.h"
#include "shm/region.h"
#include "supervisor/master.h"
#include "supervisor/upgrade.h"
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { LISTEN_TRIES = 20, BIND_AGAIN_MS = 50, BIND_TRIES = 60 };

/* Descriptors 0 to 2 must be something, or a socket would become one of them. */
static void open_standard(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= 2);
    if (fd > 2)
        close(fd);
}

/* The secret has been read: it must not lie about in a core dump. */
static void wipe_environment(void)
{
    static const char name[] = "DFLOCKD_AUTH_TOKEN=";

    for (char **e = environ; *e; e++)
        if (strncmp(*e, name, sizeof(name) - 1) == 0)
            explicit_bzero(*e + sizeof(name) - 1, strlen(*e + sizeof(name) - 1));
}

/* `succeeds`: a worker that was born as its master died may hold the listeners for some moments
   more. */
static int listen_hosts(struct listen_set *set, const struct host_list *hosts, uint16_t listen_port,
                        bool succeeds)
{
    unsigned most = listen_port == 0 ? LISTEN_TRIES : succeeds ? BIND_TRIES : 1;
    int err = 0;

    for (unsigned tries = 0; tries < most; tries++) {
        struct timespec pause = {.tv_nsec = BIND_AGAIN_MS * NS_PER_MS};

        err = 0;
        for (unsigned i = 0; !err && i < hosts->count; i++)
            err = listen_tcp(set, hosts->name[i], listen_port);
        /* The port that the kernel chose for the first address may be taken at the next one. */
        if (err != -EADDRINUSE || tries + 1 == most)
            break;
        listen_close(set);
        if (listen_port != 0)
            nanosleep(&pause, NULL);
    }
    return err;
}

static int listen_lines(const struct settings *s, bool succeeds, struct listen_set *set)
{
    int err;

    if (set->passed) {
        log_info("sockets were passed: --host, --port and --unix-socket are not used",
                 log_uint("sockets", set->n));
        return 0;
    }
    err = listen_hosts(set, &s->host, (uint16_t)s->port, succeeds);
    if (!err && s->unix_socket[0])
        err = listen_unix(set, s->unix_socket, (unsigned)s->unix_socket_mode);
    return err;
}

static int listen_http(const struct settings *s, bool succeeds, struct listen_set *set)
{
    if (set->passed) {
        log_info("sockets were passed: --http-host and --http-port are not used",
                 log_uint("sockets", set->n));
        return 0;
    }
    if (s->http_port == 0)
        return 0;
    return listen_hosts(set, &s->http_host,
                        s->http_port == SETTINGS_PORT_AUTO ? 0 : (uint16_t)s->http_port, succeeds);
}

static int listen_all(const struct settings *s, bool succeeds, struct listen_set *set,
                      struct listen_set *http)
{
    int err = listen_lines(s, succeeds, set);

    listen_hand_on(set, http);
    if (err) {
        fprintf(stderr, "dflockd: %s\n", set->error);
    } else {
        err = listen_http(s, succeeds, http);
        if (err) {
            fprintf(stderr, "dflockd: %s\n", http->error);
            listen_close(set);
        }
    }
    listen_settle(http);
    return err;
}

/* A socket for HTTP that was passed is not among the settings, which have been checked. */
static void spare_http_worker(struct settings *s, const struct listen_set *http)
{
    if (http->n == 0 || s->workers <= SETTINGS_WORKERS_HTTP)
        return;
    log_warn("a socket for HTTP was passed, beside which there are fewer workers",
             log_int("asked", s->workers), log_uint("workers", SETTINGS_WORKERS_HTTP));
    s->workers = SETTINGS_WORKERS_HTTP;
}

/*
 * How many connections the descriptor limit allows, raising it as far as we may. Each connection
 * needs one descriptor in the master and one in its worker; the master also needs some for itself.
 */
static int decide_connections(const struct settings *s, uint32_t *out, uint32_t *descriptors)
{
    uint64_t own = master_descriptors((uint32_t)s->workers);
    struct rlimit limit = {0};
    uint64_t most;

    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};

        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    most = limit.rlim_cur > 1u << 20 ? 1u << 20 : limit.rlim_cur;
    if (most <= own) {
        fprintf(stderr,
                "dflockd: the limit of %llu open files is too low: %llu are needed before the "
                "first connection (ulimit -n, LimitNOFILE=)\n",
                (unsigned long long)limit.rlim_cur, (unsigned long long)own + 1);
        return -EMFILE;
    }
    *descriptors = (uint32_t)most;
    *out = (uint32_t)(most - own);
    if (s->max_connections > 0 && (uint64_t)s->max_connections <= *out) {
        *out = (uint32_t)s->max_connections;
    } else if (s->max_connections > 0) {
        log_warn("max-connections is more than the limit of open files allows",
                 log_int("max_connections", s->max_connections), log_uint("allowed", *out));
    }
    return 0;
}

/* With the settings that it would serve with. */
static int check_region(const struct settings *s)
{
    struct region_limits limits = {.max_locks = (uint32_t)s->max_locks};
    uint32_t descriptors;

    if (decide_connections(s, &limits.max_conns, &descriptors) != 0)
        return EXITCODE_FAIL;
    return checkregion_run(s->check_region, limits, stdout, stderr);
}

static void say_addresses(const struct settings *s, const struct listen_set *set, bool http)
{
    for (unsigned i = 0; i < set->n; i++) {
        if (http)
            log_info("serving HTTP", log_str("address", set->l[i].text));
        else
            log_info("listening", log_str("address", set->l[i].text));
        if (set->l[i].loopback)
            continue;
        if (!s->auth_token.count)
            log_warn("anybody who reaches this address may take and release locks: set "
                     "--auth-token-file",
                     log_str("address", set->l[i].text));
        if (!s->tls_cert[0])
            log_warn("this address is served without TLS", log_str("address", set->l[i].text));
    }
}

static bool is_open(const struct listen_set *set)
{
    for (unsigned i = 0; i < set->n; i++)
        if (!set->l[i].loopback)
            return true;
    return false;
}

static void say_hello(const struct settings *s, const struct master_args *args, const char *why_no_run_dir)
{
    log_info("dflockd starts", log_str("version", PACKAGE_VERSION),
             log_int("workers", s->workers), log_str("tls", s->tls_cert[0] ? "on" : "off"),
             log_str("auth", s->auth_token.count ? "on" : "off"),
             log_int("max_locks", s->max_locks), log_uint("max_connections", args->max_connections),
             log_int("max_connections_per_ip", s->max_connections_per_ip),
             log_int("max_waiters", s->max_waiters),
             log_int("default_lease_s", s->default_lease_ttl),
             log_uint("region_bytes", args->region->size), log_int("region_fd", args->region_fd),
             log_str("run_dir", args->run_dir[0] ? args->run_dir : "none"));
    if (!args->run_dir[0])
        log_info("no run directory: should the master die, its workers end too (see --run-dir)",
                 log_str("why", why_no_run_dir));
    if (geteuid() == 0)
        log_warn("the server stays root, though without its capabilities: set --user");
    fence_say(args->fence);
    say_addresses(s, args->listeners, false);
    if (is_open(args->listeners) && !s->max_connections && !s->max_connections_per_ip)
        log_warn("one client may use up all connections: set --max-connections-per-ip");
    say_addresses(s, args->http, true);
    if (!args->run_http && args->region->nsessions > 0)
        log_warn("this build has no HTTP: what its sessions hold is free when their leases end",
                 log_uint("sessions", args->region->nsessions));
    if (is_open(args->http) && !s->http_max_sessions_per_ip)
        log_warn("one client may use up all HTTP sessions: set --http-max-sessions-per-ip");
    if (is_open(args->http) && !s->http_max_connections_per_ip)
        log_warn("one client may use up all HTTP connections: set --http-max-connections-per-ip");
}

int main(int argc, char **argv)
{
    static struct settings settings;
    static struct config_report report;
    static struct listen_set listeners = {.host_option = "--host", .port_option = "--port"};
    static struct listen_set http = {.host_option = "--http-host", .port_option = "--http-port"};
    static struct fence fence;
    static struct origin origin;
    static struct relaunch relaunch;
    static struct tls_files tls_files __attribute__((aligned(4096)));
    struct config_sources sources = {.argc = argc, .argv = argv, .envp = environ,
                                      .default_file = CONFIG_DEFAULT_FILE};
    struct master_args args = {.settings = &settings, .tls_files = &tls_files, .fence = &fence,
                               .listeners = &listeners, .http = &http, .sources = &sources,
                               .run = worker_run, .run_http = http_run, .relaunch = &relaunch};
    struct identity who;
    int status;
    bool good;

    open_standard();
    point_init(getenv("CRASH_POINTS_FILE"));
    if (relaunch_note(&relaunch, argv, environ) != 0) {
        fprintf(stderr, "dflockd: no memory for a copy of the arguments\n");
        return EXITCODE_FAIL;
    }
    config_load(&settings, &sources, &report);
    wipe_environment();
    good = report.errors.count == 0;
    if (settings.tls_cert[0] && settings.tls_key[0] && !settings.help && !settings.version &&
        !settings.dump_config && !settings.fsck[0] && !settings.check_region[0])
        tlsload(&settings, &tls_files, &report);
    status = config_act(&settings, &report, stdout, stderr);
    if (status == EXITCODE_CONFIG && good)
        status = EXITCODE_FAIL; /* the settings are right, what they name is not */
    if (status != CONFIG_SERVE)
        return status;
    if (settings.fsck[0])
        return fsck_run(settings.fsck, stdout, stderr);
    if (settings.check_region[0])
        return check_region(&settings);
    log_init(settings.log_format, settings.log_level);
    log_set_process("master");
    for (unsigned i = 0; i < report.warnings.count && i < REPORT_KEPT; i++)
        log_warn("configuration", log_str("what", report.warnings.text[i]));
    master_block_signals();
    signal(SIGXFSZ, SIG_IGN); /* a limit on files is an error to report, not a death */
    prctl(PR_SET_DUMPABLE, 0); /* secrets pass through our memory */
    tzset(); /* or gmtime() would open a file in a worker, which cannot */
    if (!secret_prepare()) {
        fprintf(stderr, "dflockd: the cryptographic library does not work: see openssl.cnf(5)\n");
        _exit(EXITCODE_FAIL); /* what it does at the end may crash when it had no memory to begin */
    }
    status = origin_collect(&origin, &listeners, &http);
    if (status != EXITCODE_OK)
        return status;
    spare_http_worker(&settings, &http);
    if (decide_connections(&settings, &args.max_connections, &args.descriptors) != 0)
        return EXITCODE_FAIL;
    status = user_identity(&settings, &who);
    if (status == EXITCODE_OK)
        status = origin_run_dir(&origin, &settings, &who);
    if (status == EXITCODE_OK)
        status = origin_region(&origin, &settings, &args);
    if (status != EXITCODE_OK)
        return status;
    if (listen_all(&settings, args.legacy != NULL, &listeners, &http) != 0)
        return EXITCODE_FAIL;
    status = user_become(&who, listeners.unix_path);
    if (status != EXITCODE_OK) {
        listen_close(&listeners);
        listen_close(&http);
        return status;
    }
    if (fence_start(&fence, args.region, &settings, args.legacy != NULL) != 0) {
        listen_close(&listeners);
        listen_close(&http);
        return EXITCODE_FAIL;
    }
    origin_settle(&origin, &args);
    say_hello(&settings, &args, origin.run_dir.error);
    status = master_run(&args);
    tlsfiles_wipe(&tls_files);
    listen_close(&listeners);
    listen_close(&http);
    return status;
}
