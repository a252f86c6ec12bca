/*
 * supervisor/reload.c - see reload.h: the child, the workers' confirmations. What the settings mean
 * for the master is in apply.c.
 */
#include "supervisor/reload.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/point.h"
#include "config/exitcode.h"
#include "config/load.h"
#include "config/tlsfiles.h"
#include "net/pass.h"
#include "supervisor/apply.h"
#include "supervisor/master_state.h"
#include "supervisor/tlscheck.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define CHILD_NS (30 * NS_PER_SEC) /* a file system that does not answer */
#define CONFIRM_NS (5 * NS_PER_SEC)

static void log_result(const struct master *m, const char *result, const char *why)
{
    log_audit("reload", log_str("result", result), log_str("why", why),
              log_uint("generation", m->reload.generation));
}

static void refused(struct master *m, const char *why)
{
    tally_add(&m->r->master.reloads_failed, 1);
    log_result(m, "refused, the old settings stay", why);
}

/* All that was begun ends here, well or not. */
static void ended(struct master *m, bool good, const char *why)
{
    struct reload *r = &m->reload;

    if (good) {
        tally_add(&m->r->master.reloads, 1);
        log_result(m, "done", why);
    } else {
        refused(m, why);
    }
    tell_reloaded(m, good, why);
    if (r->fd > 0)
        SYS(RELOAD_CLOSE, close(r->fd));
    r->fd = 0;
    r->spreading = false;
    if (r->again) {
        r->again = false;
        reload_request(m);
    }
}

/* --- the file, between the child, the master and the workers */

static int make_file(void)
{
    int fd = SYS(RELOAD_FILE, memfd_create("dflockd-settings", MFD_CLOEXEC | MFD_ALLOW_SEALING));

    return fd < 0 ? -errno : fd;
}

static void begin_spread(struct master *m)
{
    m->reload.spreading = true;
    m->reload.due = m->now + CONFIRM_NS;
}

/* Behind what this program takes settings to be: a worker of another one must not read them. */
static bool publish(int fd, struct served *s)
{
    snprintf(s->program, sizeof(s->program), "%s", SERVED_PROGRAM);
    s->size = sizeof(*s);
    return SYS(RELOAD_FINAL, pwrite(fd, s, sizeof(*s), 0)) == (ssize_t)sizeof(*s) &&
           SYS(RELOAD_SEAL, fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE |
                                                       F_SEAL_SEAL)) == 0;
}

/* --- the child */

static int load_settings(struct master *m, int fd, pid_t parent)
{
    static struct served s;
    static struct config_report report;
    struct config_sources sources;
    int keep[] = {0, 1, 2, fd};
    sigset_t none;

    SYS(RELOAD_TIED, prctl(PR_SET_PDEATHSIG, SIGKILL)); /* nobody would wait for it */
    if (getppid() != parent)
        return EXITCODE_FAIL; /* it died before that */
    /* It may hang for long: no socket may be kept open by that. */
    if (io_close_all_but(keep, 4) != 0)
        return EXITCODE_FAIL;
    log_set_process("reload");
    sigemptyset(&none);
    SYS(RELOAD_SIGNALS, sigprocmask(SIG_SETMASK, &none, NULL));
    sources = *m->args->sources;
    sources.before = m->settings;
    if (config_load(&s.settings, &sources, &report) == 0 &&
        tlsfiles_load(&s.settings, &s.tls_files, &report) == 0)
        tlscheck(&s.settings, &s.tls_files, &report);
    for (unsigned i = 0; i < report.warnings.count && i < REPORT_KEPT; i++)
        LOG_WRITE(NULL, LVL_WARN, "configuration", log_str("what", report.warnings.text[i]));
    for (unsigned i = 0; i < report.errors.count && i < REPORT_KEPT; i++)
        LOG_WRITE(NULL, LVL_ERROR, "configuration", log_str("what", report.errors.text[i]));
    if (report.errors.count > 0)
        return EXITCODE_CONFIG;
    return SYS(RELOAD_WRITE, write(fd, &s, sizeof(s))) == (ssize_t)sizeof(s) ? EXITCODE_OK
                                                                             : EXITCODE_FAIL;
}

void reload_request(struct master *m)
{
    struct reload *r = &m->reload;
    pid_t self;

    if (m->stage != STAGE_SERVING) {
        refused(m, m->stage == STAGE_QUIET ? "an upgrade is under way" : "the server is draining");
        return;
    }
    if (r->child || r->spreading) {
        r->again = true;
        return;
    }
    log_info("reload: reading the settings again");
    tell_reloading(m);
    r->fd = make_file();
    if (r->fd < 0) {
        int err = r->fd;

        r->fd = 0;
        ended(m, false, err_text(err));
        return;
    }
    self = getpid();
    r->child = SYS(RELOAD_FORK, fork());
    if (r->child == 0)
        _exit(load_settings(m, r->fd, self));
    if (r->child < 0) {
        r->child = 0;
        ended(m, false, err_text(-errno));
        return;
    }
    r->due = m->now + CHILD_NS;
}

/* --- the workers */

/* Those that live and have not said that they serve with them. */
static bool lags(const struct master *m, const struct child *c)
{
    return (c->state == CHILD_SERVING || c->state == CHILD_LEAVING) &&
           __atomic_load_n(&region_worker(m->r, c->slot)->configured, __ATOMIC_ACQUIRE) !=
               m->reload.generation;
}

/* Whom the message does not reach now it reaches later: it is sent until it was taken. */
static void tell(struct master *m)
{
    struct channel_message msg = {.type = CHANNEL_SETTINGS, .id = m->reload.generation};

    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        struct child *c = &m->child[i];
        int err;

        if (c->told == m->reload.generation || !lags(m, c))
            continue;
        err = pass_send(c->channel, &msg, offsetof(struct channel_message, slot), m->reload.fd);
        if (!err)
            c->told = m->reload.generation;
        else if (err == -ENOMEM || err == -ENOBUFS)
            log_warn("a worker cannot be told of new settings, will try again",
                     log_uint("worker", i), log_err("error", err));
    }
}

static void spread(struct master *m)
{
    bool all = true;

    tell(m);
    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        struct child *c = &m->child[i];

        if (!lags(m, c))
            continue;
        all = false;
        if (m->now < m->reload.due)
            continue;
        log_warn("worker does not take the new settings, replacing it", log_uint("worker", i),
                 log_int("pid", c->pid));
        master_kill(m, i);
    }
    if (all)
        ended(m, true, m->reload.result);
}

static void drop(struct served *s)
{
    if (s)
        tlsfiles_wipe(&s->tls_files);
    free(s);
}

/* What the child has read; with what cannot change now put back to what it was. */
static void take(struct master *m)
{
    struct reload *r = &m->reload;
    struct served *s = malloc(sizeof(*s));

    if (!s || SYS(RELOAD_RESULT, pread(r->fd, s, sizeof(*s), 0)) != (ssize_t)sizeof(*s)) {
        drop(s);
        ended(m, false, "out of memory");
        return;
    }
    apply_keep(m, &s->settings);
    if (!publish(r->fd, s)) {
        drop(s);
        ended(m, false, "out of memory");
        return;
    }
    apply(m, &s->settings, r->result, sizeof(r->result));
    drop(r->own);
    r->own = s;
    m->settings = m->birth.settings = &s->settings;
    m->birth.tls_files = &s->tls_files;
    r->generation++;
    begin_spread(m);
    POINT(RELOAD_SPREAD);
    apply_workers(m);
    spread(m);
}

bool reload_child_died(struct master *m, const siginfo_t *si)
{
    struct reload *r = &m->reload;

    if (!r->child || si->si_pid != r->child)
        return false;
    r->child = 0;
    if (m->stage != STAGE_SERVING)
        ended(m, false, "the server is draining, or being upgraded");
    else if (si->si_code == CLD_EXITED && si->si_status == EXITCODE_OK)
        take(m);
    else if (si->si_code == CLD_EXITED && si->si_status == EXITCODE_CONFIG)
        ended(m, false, "the errors were logged above");
    else
        ended(m, false, m->now >= r->due ? "reading the files took too long"
                                                : "the process that read them failed");
    return true;
}

void reload_inherit(struct master *m)
{
    struct reload *r = &m->reload;
    struct served *all;
    bool good;

    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        uint32_t has = __atomic_load_n(&region_worker(m->r, i)->configured, __ATOMIC_ACQUIRE);

        if (m->child[i].state != CHILD_NONE && has >= r->generation)
            r->generation = has + 1;
    }
    if (m->replacing)
        return; /* workers of another program, whose heirs are born with these settings */
    r->fd = make_file();
    snprintf(r->result, sizeof(r->result), "workers that were taken over have the settings, too");
    all = malloc(sizeof(*all));
    if (all) {
        all->settings = *m->settings;
        all->tls_files = *m->birth.tls_files;
    }
    good = all && r->fd > 0 && publish(r->fd, all);
    drop(all);
    if (good) {
        begin_spread(m);
        return;
    }
    log_error("workers that were taken over keep their settings: no memory for the new ones");
    if (r->fd > 0)
        SYS(RELOAD_USELESS, close(r->fd));
    r->fd = 0;
}

void reload_turn(struct master *m)
{
    if (m->reload.child && m->now >= m->reload.due)
        SYS(RELOAD_KILL, kill(m->reload.child, SIGKILL));
    if (m->reload.spreading)
        spread(m);
}

void reload_stop(struct master *m)
{
    if (m->reload.child)
        SYS(RELOAD_ABANDON, kill(m->reload.child, SIGKILL));
}

bool reload_busy(const struct master *m)
{
    return m->reload.spreading;
}
