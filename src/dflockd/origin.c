/*
 * dflockd/origin.c - see origin.h.
 */
#include "dflockd/origin.h"

#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "config/exitcode.h"
#include "config/options.h"
#include "config/validate.h"
#include "shm/dump.h"
#include "shm/region.h"
#include "supervisor/adopt.h"
#include "supervisor/bequest.h"
#include "supervisor/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char discard_hint[] =
    "Start the version that made it, or give all locks up with --discard-region";

/* ---- what was passed ---- */

static int adopt(struct origin *o, bool http, const char *name, int fd)
{
    if (http && !option_built(OPTION_http_port)) {
        snprintf(o->http->error, sizeof(o->http->error),
                 "the socket '%s' that was passed: %s: disable the socket unit", name,
                 feature_table[FEATURE_HTTP].missing);
        close(fd);
        return -EPROTONOSUPPORT;
    }
    return listen_adopt(http ? o->http : o->listeners, name, fd);
}

static int take_passed(void *ctx, const char *name, int fd)
{
    struct origin *o = ctx;

    o->store = true;
    if (strcmp(name, NOTIFY_REGION) == 0 && o->region_fd < 0) {
        o->region_fd = fd;
    } else if (strcmp(name, NOTIFY_DUMP) == 0 && o->dump_fd < 0) {
        o->dump_fd = fd;
    } else if (strcmp(name, NOTIFY_LISTENER) == 0) {
        listen_spare(o->listeners, fd);
    } else if (strcmp(name, NOTIFY_REGION) == 0 || strcmp(name, NOTIFY_DUMP) == 0) {
        close(fd); /* the same once more */
    } else {
        return adopt(o, strcmp(name, "http") == 0, name, fd);
    }
    return 0;
}

static int collect_passed(struct origin *o)
{
    struct listen_set *set = o->listeners;
    int err = notify_inherited(take_passed, o);

    if (!err && o->store) {
        /* Those that are not wanted any more must not stay; the others are stored again. */
        notify_unstore(NOTIFY_LISTENER);
        notify_barrier();
    }
    if (!err)
        return EXITCODE_OK;
    fprintf(stderr, "dflockd: %s\n",
            err == -ENOTSUP ? "sockets were passed (LISTEN_FDS), but this program was built without "
                              "systemd: build it with libsystemd, or disable the socket units"
            : set->error[0]     ? set->error
            : o->http->error[0] ? o->http->error
                            : "LISTEN_FDS or LISTEN_FDNAMES is malformed");
    return EXITCODE_CONFIG;
}

/* False: it cannot be read. The workers are still there, at their rendezvous. */
static bool collect_bequest(struct origin *o, const char *text)
{
    static struct bequest b;
    int64_t fd;
    int err = num_parse_i64(text, strlen(text), &fd) == 0 && fd >= 3 && fd < INT32_MAX
                  ? bequest_read(&b, (int)fd)
                  : -EINVAL;

    if (err) {
        log_error("what the program before this one left cannot be read",
                  log_str("why", b.legacy.error), log_err("error", err));
        return false;
    }
    o->bequest = true;
    o->legacy = b.legacy;
    o->legacy.upgraded = true;
    o->nconns = b.nconns;
    o->region_fd = b.region_fd;
    o->dump_fd = b.dump_fd;
    o->run_dir = b.run_dir;
    for (unsigned i = 0; i < b.nlisteners; i++) {
        bool http = b.listener[i].http;

        if (!b.listener[i].passed)
            listen_spare(o->listeners, b.listener[i].fd);
        else if (adopt(o, http, "", b.listener[i].fd) != 0)
            log_error("a socket that was passed is lost",
                      log_str("why", (http ? o->http : o->listeners)->error));
    }
    return true;
}

int origin_collect(struct origin *o, struct listen_set *listeners, struct listen_set *http)
{
    const char *text = getenv(BEQUEST_ENV);

    memset(o, 0, sizeof(*o));
    o->listeners = listeners;
    o->http = http;
    o->region_fd = o->dump_fd = -1;
    if (text && collect_bequest(o, text))
        return EXITCODE_OK;
    return collect_passed(o);
}

/* ---- the run directory ---- */

int origin_run_dir(struct origin *o, const struct settings *s, const struct identity *who)
{
    const char *path = s->run_dir[0] ? s->run_dir : RUNDIR_DEFAULT;
    int err;

    if (o->bequest) {
        if (s->run_dir[0] && strcmp(s->run_dir, o->run_dir.path) != 0)
            log_warn("another run directory needs a restart", log_str("run_dir", o->run_dir.path));
        return EXITCODE_OK;
    }
    err = rundir_open(&o->run_dir, path, who->uid, who->gid);
    if (!err)
        return EXITCODE_OK;
    if (s->run_dir[0]) {
        fprintf(stderr,
                "dflockd: %s: %s; each server needs a directory of its own, writable by its user\n",
                config_origin(s, OPTION_run_dir), o->run_dir.error);
        return EXITCODE_FAIL;
    }
    /* Workers that a server of ours left there would be missed, and serve a table of their own. */
    if (geteuid() == 0 && err != -EBUSY && err != -ENOENT && err != -EROFS) {
        fprintf(stderr, "dflockd: %s: make it usable, or name another one with --run-dir\n",
                o->run_dir.error);
        return EXITCODE_FAIL;
    }
    return EXITCODE_OK; /* main() says so, after it has said who it is */
}

/* ---- the region ---- */

static struct region_limits limits_of(const struct settings *s, uint32_t max_conns)
{
    return (struct region_limits){.max_locks = (uint32_t)s->max_locks,
                                  .max_conns = max_conns,
                                  .max_sessions = config_sessions(s)};
}

static struct region *make_region(const struct region_limits *limits, int *fd)
{
    int err;
    struct region *r = region_create_fd(limits, fd, &err);

    if (!r)
        fprintf(stderr,
                "dflockd: no memory for the lock table: %llu bytes of address space for "
                "--max-locks %u and %u connections: %s\n",
                (unsigned long long)region_size(limits), limits->max_locks, limits->max_conns,
                err_text(err));
    return r;
}

/* Sockets by the slots of the region that the dump was read into. */
static int *moved(const struct origin *o, const struct region *r, const struct dump_result *d)
{
    int *fds = calloc((size_t)r->max_conns + 1, sizeof(*fds));

    for (uint32_t slot = 1; fds && slot <= d->nslots; slot++)
        if (d->slot[slot] && slot <= o->nconns)
            fds[d->slot[slot]] = o->legacy.conn_fd[slot];
    return fds;
}

/* A new region with what the dump holds; -ESTALE when the dump means nothing any more. */
static int import(struct origin *o, const struct settings *s, struct master_args *args)
{
    struct legacy *l = &o->legacy;
    struct region_limits limits = limits_of(s, args->max_connections);
    struct dump_result d = {0};
    int err = dump_limits(o->dump_fd, &limits, &d);

    if (err) {
        snprintf(l->error, sizeof(l->error), "%s", d.why[0] ? d.why : err_text(err));
        return err;
    }
    l->region = make_region(&limits, &l->region_fd);
    if (!l->region)
        return -ENOMEM;
    err = dump_read(l->region, o->dump_fd, &d);
    if (!err) {
        int *fds = moved(o, l->region, &d);

        free(l->conn_fd);
        l->conn_fd = fds;
        l->orderly = true;
        log_info("the lock table was read from a dump", log_uint("keys", d.resources),
                 log_uint("holders", d.holders), log_uint("waiters", d.waiters),
                 log_uint("connections", d.conns));
        err = fds ? 0 : -ENOMEM;
    } else {
        region_destroy(l->region);
        close(l->region_fd);
        l->region = NULL;
        snprintf(l->error, sizeof(l->error), "%s", d.why[0] ? d.why : err_text(err));
    }
    dump_forget(&d);
    return err;
}

static int map_bequest(struct origin *o)
{
    struct legacy *l = &o->legacy;
    int *fds;
    int err;

    l->region = region_adopt(o->region_fd, &err);
    if (!l->region) {
        snprintf(l->error, sizeof(l->error), "%s", region_error_text(err));
        return err;
    }
    l->region_fd = o->region_fd;
    fds = calloc((size_t)l->region->max_conns + 1, sizeof(*fds));
    if (!fds)
        return -ENOMEM;
    for (uint32_t slot = 1; slot <= l->region->max_conns && slot <= o->nconns; slot++)
        fds[slot] = l->conn_fd[slot];
    free(l->conn_fd);
    l->conn_fd = fds;
    return 0;
}

/* What a restart has saved, if it did. */
static void open_saved(struct origin *o)
{
    char path[sizeof(o->run_dir.path) + sizeof(RUNDIR_SAVED)];

    if (!o->run_dir.path[0])
        return;
    snprintf(path, sizeof(path), "%s%s", o->run_dir.path, RUNDIR_SAVED);
    o->dump_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* Once only: what happens from now on is not in it. */
static void remove_saved(const struct origin *o)
{
    char path[sizeof(o->run_dir.path) + sizeof(RUNDIR_SAVED)];

    snprintf(path, sizeof(path), "%s%s", o->run_dir.path, RUNDIR_SAVED);
    if (o->run_dir.path[0])
        unlink(path);
}

static int find(struct origin *o, const struct settings *s, struct master_args *args)
{
    struct legacy *l = &o->legacy;
    int err;

    if (o->bequest)
        return o->dump_fd >= 0 ? import(o, s, args) : map_bequest(o);
    err = adopt_find(l, o->run_dir.path, o->region_fd);
    for (unsigned i = 0; i < l->nlisteners; i++)
        listen_spare(o->listeners, l->listener[i]);
    if (l->region && !err)
        l->orderly = l->region->stopping != STOPPING_NOT;
    if (l->served || (l->region && !err))
        return err;
    /* Nobody serves, and no region that this program can read as it is: a dump will do. */
    if (o->dump_fd < 0)
        open_saved(o);
    if (o->dump_fd < 0)
        return err;
    err = import(o, s, args);
    if (err != ERR_STALE)
        return err;
    log_warn("the saved lock table is of an earlier boot: it means nothing any more");
    return 0;
}

void origin_settle(struct origin *o, const struct master_args *args)
{
    if (args->region_fd != o->region_fd)
        notify_unstore(NOTIFY_REGION); /* an older one; this one is stored when it is served */
    if (o->dump_fd >= 0) {
        notify_unstore(NOTIFY_DUMP);
        close(o->dump_fd);
    }
    remove_saved(o);
}

static int no_region(const struct origin *o, const struct settings *s)
{
    if (s->discard_region)
        fprintf(stderr, "dflockd: --discard-region: %s\n", o->legacy.error);
    else
        fprintf(stderr,
                "dflockd: the lock table of the server before this one cannot be taken over: %s. "
                "%s%s%s\n",
                o->legacy.error,
                o->legacy.served ? "Its workers still serve their clients. " : "", discard_hint,
                o->store ? "; under systemd: systemctl kill --kill-who=all --signal=KILL, then stop "
                           "and start"
                         : "");
    return EXITCODE_FAIL;
}

int origin_region(struct origin *o, const struct settings *s, struct master_args *args)
{
    struct legacy *l = &o->legacy;
    bool discards = s->discard_region && !o->bequest;

    if ((discards ? adopt_discard(l, o->run_dir.path) : find(o, s, args)) != 0)
        return no_region(o, s);
    if (l->region) {
        args->region = l->region;
        args->region_fd = l->region_fd;
        args->legacy = l;
    } else {
        struct region_limits limits = limits_of(s, args->max_connections);

        args->region = make_region(&limits, &args->region_fd);
        if (!args->region)
            return EXITCODE_FAIL;
    }
    if (args->max_connections > args->region->max_conns)
        args->max_connections = args->region->max_conns;
    if ((uint64_t)s->max_locks > args->region->geo.max_locks)
        log_warn("the lock table that was taken over is smaller than --max-locks",
                 log_uint("max_locks", args->region->geo.max_locks));
    args->run_dir = o->run_dir.path;
    args->lock_fd = o->run_dir.lock_fd;
    return EXITCODE_OK;
}
