/*
 * cli/tree.c - see tree.h.
 */
#include "cli/tree.h"

#include "base/io.h"
#include "base/process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How often tree_kill() looks for processes that it has not stopped. Who forks faster than that is
 * found by the next attempt. */
enum { FREEZE_LOOKS = 16 };

/* How often children are killed, and how long it is waited for them to die and leave others. */
enum { STRIKES = 64, STRIKE_PAUSE_NS = 100000, CHILDREN_SIZE = 1 << 18 };

struct process {
    pid_t pid, parent;
    uint64_t start; /* clock ticks since boot: with the pid, who it is */
    char state;     /* as in proc(5) */
    bool ours;
};

struct scan {
    struct process *list; /* ascending by pid */
    size_t n, room;
};

static int read_process(pid_t pid, struct process *p)
{
    struct process_stat stat;
    int err = process_read(pid, &stat);

    if (err)
        return err;
    *p = (struct process){
        .pid = pid, .parent = stat.parent, .start = stat.started, .state = stat.state};
    return 0;
}

static int by_pid(const void *a, const void *b)
{
    const struct process *x = a, *y = b;

    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static struct process *find(const struct scan *s, pid_t pid)
{
    const struct process wanted = {.pid = pid};

    return s->n == 0 ? NULL : bsearch(&wanted, s->list, s->n, sizeof(*s->list), by_pid);
}

static bool ended(const struct process *p)
{
    return p->state == 'Z' || p->state == 'X';
}

static int read_all(struct scan *s)
{
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    int rc = 0;

    if (dir == NULL)
        return -errno;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        if (s->n == s->room) {
            size_t room = s->room == 0 ? 512 : 2 * s->room;
            struct process *bigger = reallocarray(s->list, room, sizeof(*bigger));

            if (bigger == NULL) {
                rc = -ENOMEM;
                break;
            }
            s->list = bigger;
            s->room = room;
        }
        /* One that has ended meanwhile, or is none of our business, is not counted. */
        if (read_process((pid_t)atoi(entry->d_name), &s->list[s->n]) == 0)
            s->n++;
    }
    closedir(dir);
    if (s->n > 1)
        qsort(s->list, s->n, sizeof(*s->list), by_pid);
    return rc;
}

static bool is_spared(const struct tree_spared *spared, pid_t pid)
{
    for (size_t i = 0; spared != NULL && i < spared->n; i++)
        if (spared->pid[i] == pid)
            return true;
    return false;
}

/* Marks the descendants of this process. A child may have a smaller pid than its parent, so it goes
 * on until nothing changes. */
static int scan(struct scan *s, const struct tree_spared *spared)
{
    pid_t self = getpid();
    bool changed = true;
    int rc;

    s->n = 0;
    if ((rc = read_all(s)) < 0)
        return rc;
    while (changed) {
        changed = false;
        for (size_t i = 0; i < s->n; i++) {
            struct process *p = &s->list[i];
            const struct process *parent;

            if (p->ours || is_spared(spared, p->pid))
                continue;
            parent = find(s, p->parent);
            p->ours = p->parent == self || (parent != NULL && parent->ours);
            changed = changed || p->ours;
        }
    }
    return 0;
}

static void deliver(const struct process *p, int signum)
{
    struct process now;
    int fd = pidfd_open(p->pid, 0);

    if (fd < 0) {
        /* Kernels before 5.3, and sandboxes of that time. */
        if (errno == ENOSYS || errno == EPERM)
            kill(p->pid, signum);
        return;
    }
    if (read_process(p->pid, &now) == 0 && now.start == p->start)
        pidfd_send_signal(fd, signum, NULL, 0);
    close(fd);
}

int tree_adopt(void)
{
    struct process self;
    int rc;

    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
        return -errno;
    rc = read_process(getpid(), &self);
    return rc < 0 ? rc : 0;
}

int tree_spare(struct tree_spared *out)
{
    siginfo_t info;
    struct scan s = {0};
    pid_t self = getpid();
    int rc;

    /* Nearly always: a process that has just been started has no child. */
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD)
        return 0;
    rc = read_all(&s);
    if (rc == 0 && (out->pid = calloc(s.n + 1, sizeof(*out->pid))) == NULL)
        rc = -ENOMEM;
    for (size_t i = 0; rc == 0 && i < s.n; i++)
        if (s.list[i].parent == self)
            out->pid[out->n++] = s.list[i].pid;
    free(s.list);
    return rc;
}

int tree_signal(const struct tree_spared *spared, int signum)
{
    struct scan s = {0};
    int rc = scan(&s, spared);

    for (size_t i = 0; rc >= 0 && i < s.n; i++) {
        if (!s.list[i].ours || ended(&s.list[i]))
            continue;
        deliver(&s.list[i], signum);
        rc++;
    }
    free(s.list);
    return rc;
}

/* Nobody but this process can reap them, so their numbers are theirs. -errno: the kernel does not
 * list them (CONFIG_PROC_CHILDREN), or there is no memory. */
static int kill_children(const struct tree_spared *spared)
{
    char path[64], *text = malloc(CHILDREN_SIZE), *at, *end;
    ssize_t n;

    if (text == NULL)
        return -ENOMEM;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    n = io_read_file(path, text, CHILDREN_SIZE - 1);
    if (n == -EFBIG)
        n = CHILDREN_SIZE - 1; /* the number that was cut is of no child, or of another one */
    if (n >= 0) {
        text[n] = '\0';
        for (at = text;; at = end) {
            long pid = strtol(at, &end, 10);

            if (end == at || *end != ' ')
                break;
            if (!is_spared(spared, (pid_t)pid))
                kill((pid_t)pid, SIGKILL);
        }
    }
    free(text);
    return n < 0 ? (int)n : 0;
}

static int kill_all(const struct tree_spared *spared)
{
    struct scan seen = {0}, before = {0};
    size_t found = 1;
    int rc = 0;

    for (unsigned looks = 0; found > 0 && looks < FREEZE_LOOKS; looks++) {
        struct scan swapped = before;

        before = seen;
        seen = swapped;
        found = 0;
        if ((rc = scan(&seen, spared)) < 0)
            break;
        for (size_t i = 0; i < seen.n; i++) {
            const struct process *p = &seen.list[i], *known = find(&before, p->pid);

            if (!p->ours || ended(p) || (known != NULL && known->ours && known->start == p->start))
                continue;
            deliver(p, SIGSTOP);
            found++;
        }
    }
    for (size_t i = 0; rc >= 0 && i < seen.n; i++) {
        if (!seen.list[i].ours || ended(&seen.list[i]))
            continue;
        deliver(&seen.list[i], SIGKILL);
        rc++;
    }
    free(seen.list);
    free(before.list);
    return rc;
}

int tree_kill(const struct tree_spared *spared, tree_reap_fn *reap, void *arg)
{
    const struct timespec pause = {.tv_nsec = STRIKE_PAUSE_NS};

    for (unsigned strikes = 0; strikes < STRIKES; strikes++) {
        if (reap(arg))
            return 0;
        if (kill_children(spared) != 0)
            break;
        nanosleep(&pause, NULL);
    }
    return reap(arg) ? 0 : kill_all(spared);
}
