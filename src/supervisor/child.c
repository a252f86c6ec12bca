/*
 * supervisor/child.c - see child.h. Runs in the master, and in the first moments of a worker.
 *
 * fork(2), never a raw clone: glibc must learn the child's thread id, or its robust mutexes would
 * name its parent.
 */
#include "supervisor/child.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/point.h"
#include "net/pass.h"
#include "net/rendezvous.h"
#include "shm/conns.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <unistd.h>

static const enum child_action actions[CHILD_STATES][CHILD_EVENTS] = {
    [CHILD_NONE] = {[CHILD_DUE] = ACT_START},
    [CHILD_SERVING] = {[CHILD_SILENT] = ACT_KILL, [CHILD_DIED] = ACT_BURY,
                       [CHILD_REPLACE] = ACT_LEAVE, [CHILD_STOP] = ACT_DISMISS},
    [CHILD_LEAVING] = {[CHILD_SILENT] = ACT_KILL, [CHILD_DIED] = ACT_BURY,
                       [CHILD_STOP] = ACT_DISMISS},
    [CHILD_DYING] = {[CHILD_DIED] = ACT_BURY, [CHILD_STOP] = ACT_DISMISS},
    [CHILD_WAITING] = {[CHILD_DUE] = ACT_START, [CHILD_STOP] = ACT_FORGET},
    [CHILD_DISMISSED] = {[CHILD_DIED] = ACT_BURY_LAST, [CHILD_STOP] = ACT_KILL},
};

enum child_action child_action(enum child_state state, enum child_event event)
{
    return actions[state][event];
}

const char *child_state_name(enum child_state state)
{
    static const char *const names[CHILD_STATES] = {
        [CHILD_NONE] = "none",   [CHILD_SERVING] = "serving", [CHILD_LEAVING] = "leaving",
        [CHILD_DYING] = "dying", [CHILD_WAITING] = "waiting", [CHILD_DISMISSED] = "dismissed",
    };

    return names[state];
}

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/*
 * The duplicates that the worker inherits, by connection slot. Decided before the fork: afterwards
 * the master goes on, and a slot that the region then shows as this worker's may be another
 * connection's, which comes by the channel, while the descriptor is still that of the one before.
 */
static int *inherited(const struct child *c, struct region *r, const int *conn_fd)
{
    int *mine = calloc((size_t)r->max_conns + 1, sizeof(*mine));

    for (uint32_t slot = 1; mine && slot <= r->max_conns; slot++) {
        const struct conn *conn = conns_slot(r, slot);

        if (conn_fd[slot] && conn->worker == c->slot &&
            __atomic_load_n(&conn->state, __ATOMIC_ACQUIRE) == CONN_OPEN)
            mine[slot] = conn_fd[slot];
    }
    return mine;
}

static bool is_http(const struct child *c, const struct birth *b)
{
    return region_worker(b->region, c->slot)->http;
}

void child_process_name(char *buf, size_t n, uint32_t worker, bool http)
{
    if (http)
        snprintf(buf, n, "dflockd-http");
    else
        snprintf(buf, n, "dflockd-w%u", worker);
}

/* Everything that is not this worker's: an unswept child would keep strangers' sockets open. */
static int close_others(const struct child *c, const struct birth *b, const int *conn_fd,
                        int channel)
{
    const struct region *r = b->region;
    size_t room = (size_t)r->max_conns + 6 + HERITAGE_DOCS + LISTEN_MAX, n = 0;
    int *keep = malloc(room * sizeof(*keep));
    int err;

    if (!keep)
        return -ENOMEM;
    for (int fd = 0; fd <= 2; fd++)
        keep[n++] = fd;
    keep[n++] = channel;
    keep[n++] = b->region_fd;
    if (c->rendezvous)
        keep[n++] = c->rendezvous;
    for (unsigned i = 0; i < HERITAGE_DOCS; i++)
        keep[n++] = c->docs[i];
    for (unsigned i = 0; is_http(c, b) && i < b->http->n; i++)
        keep[n++] = b->http->l[i].fd;
    for (uint32_t slot = 1; slot <= r->max_conns; slot++)
        if (conn_fd[slot])
            keep[n++] = conn_fd[slot];
    qsort(keep, n, sizeof(*keep), ascending);
    err = io_close_all_but(keep, n);
    free(keep);
    return err;
}

/*
 * The master blocks its signals and reads them from a descriptor. Ctrl-C and a signal to the group
 * are for the master alone, who ends its workers: what came in the meantime too.
 */
static void signals_of_a_worker(void)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};
    sigset_t none;

    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        SYS(CHILD_IGNORE, signal(ignored[i], SIG_IGN));
    sigemptyset(&none);
    SYS(CHILD_SIGNALS, sigprocmask(SIG_SETMASK, &none, NULL));
}

static int be_child(const struct child *c, const struct birth *b, const int *conn_fd, int channel)
{
    struct heritage h = {.region = b->region, .settings = b->settings,
                         .tls_files = b->tls_files, .worker = c->slot,
                         .channel = channel, .rendezvous = c->rendezvous,
                         .region_fd = b->region_fd, .conn_fd = conn_fd};
    int listener[LISTEN_MAX];
    char name[32];

    /* Whoever must end it, should its master die just now, looks here. */
    region_worker(b->region, c->slot)->pid = (uint32_t)getpid();
    if (c->rendezvous)
        rendezvous_attend(c->rendezvous);
    child_process_name(name, sizeof(name), c->slot, is_http(c, b));
    SYS(CHILD_NAME, prctl(PR_SET_NAME, name));
    snprintf(name, sizeof(name), "worker-%u", c->slot);
    log_set_process(is_http(c, b) ? "http" : name);
    for (unsigned i = 0; i < HERITAGE_DOCS; i++)
        h.docs[i] = c->docs[i];
    for (unsigned i = 0; is_http(c, b) && i < b->http->n; i++)
        listener[h.nlisteners++] = b->http->l[i].fd;
    h.listener = listener;
    signals_of_a_worker();
    if (close_others(c, b, conn_fd, channel) != 0)
        return 1;
    return is_http(c, b) ? b->run_http(&h) : b->run(&h);
}

/* The documents are the slot's: made once, inherited by every worker in it. */
static int make_docs(struct child *c)
{
    for (unsigned i = 0; i < HERITAGE_DOCS; i++) {
        if (c->docs[i] > 0)
            continue;
        c->docs[i] = SYS(CHILD_DOCUMENT, memfd_create("dflockd-document", MFD_CLOEXEC));
        if (c->docs[i] < 0) {
            int err = -errno;

            c->docs[i] = 0;
            return err;
        }
    }
    return 0;
}

/* Also the slot's. Without one the worker ends with this master. */
static void make_rendezvous(struct child *c, const char *run_dir)
{
    int fd;

    if (c->rendezvous || !run_dir[0])
        return;
    fd = rendezvous_open(run_dir, c->slot);
    if (fd < 0)
        log_error("no rendezvous: should this master die, this worker ends too",
                  log_str("run_dir", run_dir), log_uint("worker", c->slot), log_err("error", fd));
    else
        c->rendezvous = fd;
}

static void close_theirs(int fd)
{
    SYS(CHILD_PAIR_THEIRS, close(fd));
}

void child_kill(const struct child *c)
{
    if (c->pidfd)
        SYS(CHILD_KILL_ADOPTED, pidfd_send_signal(c->pidfd, SIGKILL, NULL, 0));
    else
        SYS(CHILD_KILL, kill(c->pid, SIGKILL));
}

int child_spawn(struct child *c, const struct birth *b, const int *conn_fd)
{
    struct region *r = b->region;
    struct worker_slot *slot = region_worker(r, c->slot);
    int *mine = inherited(c, r, conn_fd);
    int pair[2];
    pid_t pid;
    int err = mine ? make_docs(c) : -ENOMEM;

    if (!err)
        err = pass_pair(pair);
    if (err) {
        free(mine);
        return err;
    }
    make_rendezvous(c, b->run_dir);
    slot->generation = c->generation + 1;
    slot->started = clock_boottime_ns();
    __atomic_store_n(&slot->beat, slot->started, __ATOMIC_RELAXED);
    pid = SYS(CHILD_FORK, fork());
    if (pid == 0)
        _exit(be_child(c, b, mine, pair[1]));
    err = pid < 0 ? -errno : 0;
    free(mine);
    if (err) {
        SYS(CHILD_PAIR_OURS, close(pair[0]));
        close_theirs(pair[1]);
        return err;
    }
    close_theirs(pair[1]);
    c->pid = pid;
    c->pidfd = 0;
    c->channel = pair[0];
    c->generation++;
    c->started = slot->started;
    c->state = CHILD_SERVING;
    slot->pid = (uint32_t)pid;
    return 0;
}
