/*
 * supervisor/upgrade.c - see upgrade.h. Runs in the master.
 *
 * The arguments and the environment may hold the secret, so their copies lie in a mapping that
 * children do not get; the checking program is started by posix_spawn(3), which does not need one.
 */
#include "supervisor/upgrade.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/point.h"
#include "config/exitcode.h"
#include "shm/dump.h"
#include "supervisor/bequest.h"
#include "supervisor/master_state.h"
#include "supervisor/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HELPER_NS (10 * NS_PER_SEC) /* for the program that checks, or the child that dumps */

static size_t count(char *const *list, size_t *bytes)
{
    size_t n = 0;

    for (; list[n]; n++)
        *bytes += strlen(list[n]) + 1;
    return n;
}

/* What was passed at the start is in the bequest: by other numbers. */
static bool is_passing(const char *variable)
{
    static const char *const names[] = {BEQUEST_ENV "=", "LISTEN_FDS=", "LISTEN_PID=",
                                        "LISTEN_FDNAMES="};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

/* Copies the list into the mapping at *at. */
static char **copy_list(char *const *list, char **at, char **slots)
{
    char **out = slots;

    for (; *list; list++) {
        if (is_passing(*list))
            continue;
        *out++ = *at;
        *at = stpcpy(*at, *list) + 1;
    }
    *out = NULL;
    return slots;
}

/* The program by the name it was called with, so that a link that now leads elsewhere counts. */
static int find_program(const char *name, char *path, size_t n)
{
    char cwd[PATH_MAX];
    ssize_t got;
    int len;

    if (strchr(name, '/')) {
        if (name[0] != '/' && !getcwd(cwd, sizeof(cwd)))
            return -errno;
        len = name[0] == '/' ? snprintf(path, n, "%s", name)
                             : snprintf(path, n, "%s/%s", cwd, name);
        return len > 0 && (size_t)len < n ? 0 : -ENAMETOOLONG;
    }
    got = readlink("/proc/self/exe", path, n - 1);
    if (got < 0)
        return -errno;
    path[got] = '\0';
    return 0;
}

int relaunch_note(struct relaunch *l, char *const *argv, char *const *envp)
{
    size_t bytes = 0, nargs = count(argv, &bytes), nenv = count(envp, &bytes);
    /* One argument and one variable more. */
    size_t size = bytes + (nargs + nenv + 4) * sizeof(char *);
    char **slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *text;

    if (slots == MAP_FAILED || madvise(slots, size, MADV_DONTFORK) < 0 ||
        madvise(slots, size, MADV_DONTDUMP) < 0)
        return -errno;
    text = (char *)(slots + nargs + nenv + 4);
    l->argv = copy_list(argv, &text, slots);
    l->envp = copy_list(envp, &text, slots + nargs + 2);
    return find_program(argv[0], l->path, sizeof(l->path));
}

static void refused(struct master *m, const char *why)
{
    log_error("upgrade refused, this program goes on", log_str("why", why),
              log_str("program", m->args->relaunch->path));
    m->upgrade.state = UPGRADE_NONE;
    m->upgrade.helper = 0;
    if (m->upgrade.dump_fd >= 0)
        SYS(UPGRADE_DUMP_CLOSE, close(m->upgrade.dump_fd));
    m->upgrade.dump_fd = -1;
}

/* Starts the new program with our arguments and one more: it says whether it can take fd. */
static int spawn_check(struct master *m, int fd)
{
    const struct relaunch *l = m->args->relaunch;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, defaults;
    char option[32];
    size_t n = 0;
    int err;

    while (l->argv[n])
        n++;
    snprintf(option, sizeof(option), "--check-region=%d", fd);
    l->argv[n] = option;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    /* On itself: it stays open in the new program. */
    posix_spawn_file_actions_adddup2(&actions, fd, fd);
    /* What it says when all is well is for people who ask, not for the journal. */
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    err = SYS(UPGRADE_SPAWN, posix_spawn(&m->upgrade.helper, l->path, &actions, &attr, l->argv,
                                         l->envp));
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    l->argv[n] = NULL;
    m->upgrade.deadline = m->now + HELPER_NS;
    return err ? -abs(err) : 0;
}

static const char fence_failing[] =
    "the fence state file fails, and a new program would not start";

void upgrade_cancel(struct master *m)
{
    if (m->upgrade.state == UPGRADE_NONE)
        return;
    if (m->upgrade.helper > 0)
        SYS(UPGRADE_CANCEL, kill(m->upgrade.helper, SIGKILL));
    refused(m, "the server is to end");
}

void upgrade_begin(struct master *m)
{
    int err;

    if (m->stage != STAGE_SERVING || m->upgrade.state != UPGRADE_NONE) {
        log_warn("SIGUSR2: not now",
                 log_str("why", m->stage != STAGE_SERVING ? "the server is ending"
                                                          : "an upgrade is under way"));
        return;
    }
    if (fence_fails(m->args->fence)) {
        refused(m, fence_failing);
        return;
    }
    log_audit("upgrade: checking the program", log_str("program", m->args->relaunch->path));
    err = spawn_check(m, m->args->region_fd);
    if (err)
        refused(m, err == -ENOENT ? "there is no such program" : strerror(-err));
    else
        m->upgrade.state = UPGRADE_CHECKING;
}

static void exec_now(struct master *m)
{
    const struct relaunch *l = m->args->relaunch;
    struct upgrade *u = &m->upgrade;
    int fd = bequest_write(m, m->args->lock_fd, u->dump_fd);
    char variable[64];
    size_t n = 0;
    int err;

    if (fd < 0) {
        refused(m, strerror(-fd));
        return;
    }
    while (l->envp[n])
        n++;
    snprintf(variable, sizeof(variable), BEQUEST_ENV "=%d", fd);
    l->envp[n] = variable;
    l->envp[n + 1] = NULL;
    fence_drop(m->args->fence);
    if (m->quit) { /* it is blocked: whoever goes on, the new program or this one, will read it */
        SYS(UPGRADE_SIGNAL, kill(getpid(), m->quit));
        m->quit = 0;
    }
    SYS(UPGRADE_EXEC, execve(l->path, l->argv, l->envp));
    err = errno;
    l->envp[n] = NULL;
    bequest_withdraw(m, m->args->lock_fd, u->dump_fd, fd);
    refused(m, strerror(err));
}

/* The master takes no shard's mutex, and a table that is damaged must not be its death. */
static pid_t fork_dump(struct master *m, int fd)
{
    pid_t pid = SYS(UPGRADE_FORK, fork());

    if (pid == 0) {
        int err = dump_write(m->r, fd);

        if (err)
            log_error("the lock table cannot be written down", log_err("error", err));
        _exit(err ? EXITCODE_FAIL : EXITCODE_OK);
    }
    return pid;
}

static void give_up(struct master *m, const char *why)
{
    refused(m, why);
    if (m->stage == STAGE_QUIET)
        master_serve_again(m);
}

/* All workers have left: a child writes what the region holds. */
static void dump(struct master *m)
{
    struct upgrade *u = &m->upgrade;

    u->dump_fd = SYS(UPGRADE_DUMP, memfd_create("dflockd-dump", MFD_CLOEXEC));
    u->helper = u->dump_fd < 0 ? -1 : fork_dump(m, u->dump_fd);
    if (u->helper < 0) {
        give_up(m, "the lock table cannot be written down");
        return;
    }
    u->deadline = m->now + HELPER_NS;
    u->state = UPGRADE_DUMPING;
}

bool upgrade_reaped(struct master *m, pid_t pid, int code, int status)
{
    struct upgrade *u = &m->upgrade;
    bool ended = code == CLD_EXITED;

    if (u->helper != pid || u->state == UPGRADE_NONE)
        return false;
    u->helper = 0;
    if (u->state == UPGRADE_CHECKING && ended && status == EXITCODE_OK) {
        u->state = UPGRADE_READY;
    } else if (u->state == UPGRADE_CHECKING && ended && status == EXITCODE_IMPORT) {
        log_info("upgrade: the program has another layout, the workers pause for it");
        u->state = UPGRADE_QUIESCING;
        master_quiesce(m);
    } else if (u->state == UPGRADE_DUMPING && ended && status == EXITCODE_OK) {
        int err = spawn_check(m, u->dump_fd);

        u->state = UPGRADE_TRYING;
        if (err)
            give_up(m, strerror(-err));
    } else if (u->state == UPGRADE_TRYING && ended && status == EXITCODE_IMPORT) {
        u->state = UPGRADE_READY;
    } else {
        give_up(m, u->state == UPGRADE_DUMPING ? "the lock table cannot be written down"
                                               : "the new program does not accept its arguments or "
                                                 "the lock table; it has said why");
    }
    return true;
}

void upgrade_turn(struct master *m)
{
    struct upgrade *u = &m->upgrade;

    if (u->helper > 0 && m->now >= u->deadline) {
        pid_t pid = u->helper;

        SYS(UPGRADE_KILL, kill(pid, SIGKILL));
        give_up(m, "it took too long");
    }
    if (u->state == UPGRADE_QUIESCING && master_is_quiet(m))
        dump(m);
    /* A connection whose worker has not got it yet could not be told apart. */
    if (u->state == UPGRADE_READY && fence_fails(m->args->fence))
        give_up(m, fence_failing);
    if (u->state == UPGRADE_READY && m->unsent_n == 0) {
        exec_now(m);
        if (m->stage == STAGE_QUIET)
            master_serve_again(m);
    }
}

/* Waits for the child that dumps; nothing else is left to do. */
static bool await_dump(struct master *m, pid_t pid)
{
    uint64_t end = clock_boottime_ns() + HELPER_NS;
    struct timespec pause = {.tv_nsec = 2 * NS_PER_MS};
    int status;

    for (;;) {
        pid_t got = SYS(SAVE_WAIT, waitpid(pid, &status, WNOHANG));

        if (got == pid)
            return WIFEXITED(status) && WEXITSTATUS(status) == EXITCODE_OK;
        m->now = clock_boottime_ns();
        if ((got < 0 && errno != EINTR) || m->now >= end) {
            SYS(SAVE_KILL, kill(pid, SIGKILL));
            return false;
        }
        tell_tick(m);
        SYS(SAVE_PAUSE, nanosleep(&pause, NULL));
    }
}

/* Under another name first: what lies under the right one is always whole. */
static bool save_file(struct master *m)
{
    char path[RENDEZVOUS_DIR_MAX + sizeof(RUNDIR_SAVED)], unfinished[sizeof(path) + 4];
    pid_t pid;
    bool good;
    int fd;

    snprintf(path, sizeof(path), "%s%s", m->args->run_dir, RUNDIR_SAVED);
    snprintf(unfinished, sizeof(unfinished), "%s.new", path);
    fd = SYS(SAVE_OPEN, open(unfinished, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (fd < 0)
        return false;
    pid = fork_dump(m, fd);
    good = pid > 0 && await_dump(m, pid) && SYS(SAVE_SYNC, fdatasync(fd)) == 0;
    SYS(SAVE_CLOSE, close(fd));
    if (good)
        return SYS(SAVE_RENAME, rename(unfinished, path)) == 0;
    SYS(SAVE_REMOVE, unlink(unfinished));
    return false;
}

static bool save_store(struct master *m)
{
    int fd = SYS(SAVE_MEMORY, memfd_create("dflockd-dump", MFD_CLOEXEC));
    pid_t pid = fd < 0 ? -1 : fork_dump(m, fd);

    if (pid <= 0 || !await_dump(m, pid))
        return false;
    notify_store(NOTIFY_DUMP, fd);
    notify_barrier();
    return true;
}

void upgrade_save(struct master *m)
{
    bool stored = notify_managed() && save_store(m);
    bool saved = m->args->run_dir[0] && save_file(m);

    /* Whether a manager keeps descriptors cannot be asked: both, and the next start takes one. */
    if (stored || saved)
        log_audit("locks and fences are kept for the next start",
                  log_str("run_dir", saved ? m->args->run_dir : "none"),
                  log_str("service_manager", stored ? "asked to" : "none"));
    else
        log_error("locks are lost: there is no place to keep them",
                  log_str("why", m->args->run_dir[0] ? "the run directory cannot be written"
                                                     : "there is no run directory, see --run-dir"));
}
