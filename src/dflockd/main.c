/*
 * dflockd/main.c - composition: settings → addresses → region → master. The only file that
 * sees everything; what it does is done before the first fork.
 */
#include "base/err.h"
#include "base/log.h"
#include "base/point.h"
#include "config/dump.h"
#include "config/exitcode.h"
#include "config/load.h"
#include "dflockd/fsck.h"
#include "net/listen.h"
#include "shm/region.h"
#include "supervisor/master.h"
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

extern char **environ;

enum { LISTEN_TRIES = 20 };

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

static int listen_all(const struct settings *s, struct listen_set *set)
{
    int err = 0;

    for (unsigned tries = 0; tries < LISTEN_TRIES; tries++) {
        err = 0;
        for (unsigned i = 0; !err && i < s->host.count; i++)
            err = listen_tcp(set, s->host.name[i], (uint16_t)s->port);
        /* The port that the kernel chose for the first address may be taken at the next one. */
        if (err != -EADDRINUSE || s->port != 0)
            break;
        listen_close(set);
    }
    if (!err && s->unix_socket[0])
        err = listen_unix(set, s->unix_socket, (unsigned)s->unix_socket_mode);
    if (err)
        fprintf(stderr, "dflockd: %s\n", set->error);
    return err;
}

/*
 * How many connections the descriptor limit allows, raising it as far as we may. Each connection
 * needs one descriptor in the master and one in its worker; the master also needs some for itself.
 */
static int decide_connections(const struct settings *s, uint32_t *out)
{
    uint64_t own = 32 + (uint64_t)s->workers * (HERITAGE_DOCS + 2);
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
    *out = (uint32_t)(most - own);
    if (s->max_connections > 0 && (uint64_t)s->max_connections <= *out) {
        *out = (uint32_t)s->max_connections;
    } else if (s->max_connections > 0) {
        log_warn("max-connections is more than the limit of open files allows",
                 log_int("max_connections", s->max_connections), log_uint("allowed", *out));
    }
    return 0;
}

static struct region *make_region(const struct settings *s, uint32_t max_conns, int *fd)
{
    struct region_limits limits = {.max_conns = max_conns};
    struct region *r;
    int err;

    limits.max_locks = (uint32_t)s->max_locks;
    r = region_create_fd(&limits, fd, &err);
    if (!r)
        fprintf(stderr,
                "dflockd: no memory for the lock table: %llu bytes of address space for "
                "--max-locks %lld and %u connections: %s\n",
                (unsigned long long)region_size(&limits), (long long)s->max_locks, max_conns,
                err_text(err));
    return r;
}

/* After the addresses are bound, before the first fork. Returns EXITCODE_OK or what to end with. */
static int drop_privileges(const struct settings *s, const struct listen_set *set)
{
    const struct passwd *pw = NULL;
    const struct group *gr = NULL;
    uid_t uid;
    gid_t gid;

    if (!s->user[0] && !s->group[0])
        return EXITCODE_OK;
    if (s->user[0] && !(pw = getpwnam(s->user))) {
        fprintf(stderr, "dflockd: --user: there is no user '%s'\n", s->user);
        return EXITCODE_CONFIG;
    }
    if (s->group[0] && !(gr = getgrnam(s->group))) {
        fprintf(stderr, "dflockd: --group: there is no group '%s'\n", s->group);
        return EXITCODE_CONFIG;
    }
    uid = pw ? pw->pw_uid : getuid();
    gid = gr ? gr->gr_gid : pw ? pw->pw_gid : getgid();
    if (set->unix_path[0] && chown(set->unix_path, uid, gid) < 0) {
        fprintf(stderr, "dflockd: --unix-socket: cannot give '%s' away: %s\n", set->unix_path,
                strerror(errno));
        return EXITCODE_FAIL;
    }
    if ((pw && geteuid() == 0 && initgroups(pw->pw_name, gid) < 0) || setgid(gid) < 0 ||
        setuid(uid) < 0) {
        fprintf(stderr, "dflockd: cannot become %s: %s (only root may change user or group)\n",
                pw ? s->user : s->group, strerror(errno));
        return EXITCODE_FAIL;
    }
    return EXITCODE_OK;
}

static void say_hello(const struct settings *s, const struct listen_set *set, uint32_t max_conns,
                      const struct region *r, int region_fd)
{
    log_info("dflockd starts", log_str("version", PACKAGE_VERSION),
             log_int("workers", s->workers), log_str("tls", "off"),
             log_str("auth", s->auth_token.count ? "on" : "off"),
             log_int("max_locks", s->max_locks), log_uint("max_connections", max_conns),
             log_int("max_connections_per_ip", s->max_connections_per_ip),
             log_int("max_waiters", s->max_waiters),
             log_int("default_lease_s", s->default_lease_ttl), log_uint("region_bytes", r->size),
             log_int("region_fd", region_fd));
    for (unsigned i = 0; i < set->n; i++) {
        log_info("listening", log_str("address", set->l[i].text));
        if (set->l[i].loopback)
            continue;
        if (!s->auth_token.count)
            log_warn("anybody who reaches this address may take and release locks: set "
                     "--auth-token-file",
                     log_str("address", set->l[i].text));
        log_warn("this address is served without TLS", log_str("address", set->l[i].text));
        if (!s->max_connections && !s->max_connections_per_ip)
            log_warn("one client may use up all connections: set --max-connections-per-ip",
                     log_str("address", set->l[i].text));
    }
}

int main(int argc, char **argv)
{
    static struct settings settings;
    static struct config_report report;
    static struct listen_set listeners;
    static struct fence fence;
    struct master_args args = {.settings = &settings, .listeners = &listeners, .fence = &fence,
                               .run = worker_run};
    int status, region_fd;

    open_standard();
    point_init(getenv("CRASH_POINTS_FILE"));
    config_load(&settings, argc, argv, environ, &report);
    wipe_environment();
    status = config_act(&settings, &report, stdout, stderr);
    if (status != CONFIG_SERVE)
        return status;
    if (settings.fsck[0])
        return fsck_run(settings.fsck, stdout, stderr);
    log_init(settings.log_format, settings.log_level);
    log_set_process("master");
    for (unsigned i = 0; i < report.warnings.count && i < REPORT_KEPT; i++)
        log_warn("configuration", log_str("what", report.warnings.text[i]));
    master_block_signals();
    signal(SIGXFSZ, SIG_IGN); /* a limit on files is an error to report, not a death */
    prctl(PR_SET_DUMPABLE, 0); /* secrets pass through our memory */
    if (decide_connections(&settings, &args.max_connections) != 0)
        return EXITCODE_FAIL;
    /* The memfd stays open: by it root can save the table, for --fsck. */
    args.region = make_region(&settings, args.max_connections, &region_fd);
    if (!args.region || listen_all(&settings, &listeners) != 0)
        return EXITCODE_FAIL;
    status = drop_privileges(&settings, &listeners);
    if (status != EXITCODE_OK) {
        listen_close(&listeners);
        return status;
    }
    if (fence_start(&fence, args.region, &settings, false) != 0) {
        listen_close(&listeners);
        return EXITCODE_FAIL;
    }
    say_hello(&settings, &listeners, args.max_connections, args.region, region_fd);
    status = master_run(&args);
    listen_close(&listeners);
    return status;
}
