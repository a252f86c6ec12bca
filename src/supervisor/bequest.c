/*
 * supervisor/bequest.c - see bequest.h. Runs in the master, right before an exec and right after.
 */
#include "supervisor/bequest.h"

#include "base/point.h"
#include "supervisor/master_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_LINE "dflockd-bequest 1\n"
#define CONNS_MAX (1u << 20) /* descriptors a process can have, by this program's own bound */

/* Calls `each` for every descriptor that is left. */
static void all_fds(const struct master *m, int lock_fd, int dump_fd, void (*each)(int fd))
{
    const struct listen_set *set = m->args->listeners, *http = m->args->http;

    each(dump_fd >= 0 ? dump_fd : m->args->region_fd);
    if (m->args->run_dir[0])
        each(lock_fd);
    for (unsigned i = 0; i < set->n; i++)
        each(set->l[i].fd);
    for (unsigned i = 0; i < http->n; i++)
        each(http->l[i].fd);
    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        const struct child *c = &m->child[i];

        if (c->channel >= 0)
            each(c->channel);
        if (c->pidfd)
            each(c->pidfd);
        if (c->rendezvous)
            each(c->rendezvous);
        for (unsigned k = 0; k < HERITAGE_DOCS; k++)
            if (c->docs[k])
                each(c->docs[k]);
    }
    for (uint32_t slot = 1; slot <= m->r->max_conns; slot++)
        if (m->keeper.fd[slot])
            each(m->keeper.fd[slot]);
}

static void survive(int fd)
{
    SYS(BEQUEST_KEEP, fcntl(fd, F_SETFD, 0));
}

static void end_with_exec(int fd)
{
    SYS(BEQUEST_CLOEXEC, fcntl(fd, F_SETFD, FD_CLOEXEC));
}

static void print_worker(FILE *f, const struct child *c)
{
    bool alive = c->state == CHILD_SERVING || c->state == CHILD_LEAVING || c->state == CHILD_DYING;

    if (c->generation == 0)
        return;
    fprintf(f, "worker %u %ld %d %d %d %u", c->slot, alive ? (long)c->pid : 0L,
            alive ? c->pidfd : 0, alive ? c->channel : 0, c->rendezvous, c->generation);
    for (unsigned i = 0; i < HERITAGE_DOCS; i++)
        fprintf(f, " %d", c->docs[i]);
    fputc('\n', f);
}

static void print_listeners(FILE *f, const struct listen_set *set, const char *prefix)
{
    for (unsigned i = 0; i < set->n; i++)
        fprintf(f, "%s%s %d\n", prefix, set->passed ? "passed" : "listener", set->l[i].fd);
}

static void print_all(FILE *f, const struct master *m, int lock_fd, int dump_fd)
{
    fputs(FIRST_LINE, f);
    if (dump_fd >= 0)
        fprintf(f, "dump %d\n", dump_fd);
    else
        fprintf(f, "region %d\n", m->args->region_fd);
    if (m->args->run_dir[0])
        fprintf(f, "run-dir %d %s\n", lock_fd, m->args->run_dir);
    print_listeners(f, m->args->listeners, "");
    print_listeners(f, m->args->http, "http-");
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        print_worker(f, &m->child[i]);
    for (uint32_t slot = 1; slot <= m->r->max_conns; slot++)
        if (m->keeper.fd[slot])
            fprintf(f, "conn %u %d\n", slot, m->keeper.fd[slot]);
    fputs("end\n", f);
}

int bequest_write(const struct master *m, int lock_fd, int dump_fd)
{
    int fd = SYS(BEQUEST_MAKE, memfd_create("dflockd-bequest", 0));
    int copy = fd < 0 ? -1 : SYS(BEQUEST_DUP, fcntl(fd, F_DUPFD_CLOEXEC, 3));
    FILE *f = copy < 0 ? NULL : fdopen(copy, "w");
    int err = f ? 0 : -errno;

    if (f) {
        print_all(f, m, lock_fd, dump_fd);
        err = ferror(f) ? -EIO : 0;
        if (fclose(f) != 0)
            err = -errno;
    } else if (copy >= 0) {
        SYS(BEQUEST_COPY, close(copy));
    }
    if (err) {
        if (fd >= 0)
            SYS(BEQUEST_GIVE_UP, close(fd));
        return err;
    }
    all_fds(m, lock_fd, dump_fd, survive);
    return fd;
}

void bequest_withdraw(const struct master *m, int lock_fd, int dump_fd, int fd)
{
    all_fds(m, lock_fd, dump_fd, end_with_exec);
    SYS(BEQUEST_WITHDRAW, close(fd));
}

/* A number of the line, moving on behind it. */
static bool number(char **at, long long min, long long max, long long *out)
{
    char *end;

    errno = 0;
    *out = strtoll(*at, &end, 10);
    if (end == *at || errno || *out < min || *out > max)
        return false;
    *at = end;
    return true;
}

/* A descriptor of ours that is open; `none`: 0 may stand for none. */
static bool descriptor(char **at, bool none, int *out)
{
    long long n;

    if (!number(at, none ? 0 : 3, CONNS_MAX, &n) || (n > 0 && n < 3))
        return false;
    *out = (int)n;
    return n == 0 || fcntl(*out, F_SETFD, FD_CLOEXEC) == 0;
}

static bool read_worker(struct bequest *b, char *at)
{
    struct legacy_worker *w;
    long long slot, pid, generation;

    if (!number(&at, 0, WORKER_MAX - 1, &slot) || !number(&at, 0, INT32_MAX, &pid))
        return false;
    w = &b->legacy.worker[slot];
    w->pid = (pid_t)pid;
    w->alive = pid != 0;
    if (!descriptor(&at, true, &w->pidfd) || !descriptor(&at, !w->alive, &w->channel) || !descriptor(&at, true, &w->rendezvous) ||
        !number(&at, 1, UINT32_MAX, &generation))
        return false;
    w->generation = (uint32_t)generation;
    for (unsigned i = 0; i < HERITAGE_DOCS; i++)
        if (!descriptor(&at, true, &w->docs[i]))
            return false;
    return *at == '\0';
}

static bool read_conn(struct bequest *b, char *at)
{
    long long slot;

    if (!number(&at, 1, CONNS_MAX, &slot))
        return false;
    if (slot > b->nconns) {
        uint32_t n = b->nconns ? b->nconns : 1024;
        int *grown;

        while (n < slot)
            n *= 2;
        grown = realloc(b->legacy.conn_fd, ((size_t)n + 1) * sizeof(*grown));
        if (!grown)
            return false;
        memset(grown + b->nconns + 1, 0, (n - b->nconns) * sizeof(*grown));
        grown[0] = 0;
        b->legacy.conn_fd = grown;
        b->nconns = n;
    }
    return descriptor(&at, false, &b->legacy.conn_fd[slot]) && *at == '\0';
}

static bool read_run_dir(struct bequest *b, char *at)
{
    if (!descriptor(&at, false, &b->run_dir.lock_fd) || *at != ' ' ||
        strlen(at + 1) >= sizeof(b->run_dir.path))
        return false;
    strcpy(b->run_dir.path, at + 1);
    return true;
}

static bool read_listener(struct bequest *b, const char *word, char *at)
{
    unsigned i = b->nlisteners++;

    if (i == sizeof(b->listener) / sizeof(b->listener[0]))
        return false;
    b->listener[i].http = strncmp(word, "http-", 5) == 0;
    b->listener[i].passed = strstr(word, "passed") != NULL;
    return descriptor(&at, false, &b->listener[i].fd) && *at == '\0';
}

static bool read_line(struct bequest *b, const char *word, char *at)
{
    if (strcmp(word, "region") == 0)
        return descriptor(&at, false, &b->region_fd) && *at == '\0';
    if (strcmp(word, "dump") == 0)
        return descriptor(&at, false, &b->dump_fd) && *at == '\0';
    if (strcmp(word, "run-dir") == 0)
        return read_run_dir(b, at);
    if (strcmp(word, "listener") == 0 || strcmp(word, "passed") == 0 ||
        strcmp(word, "http-listener") == 0 || strcmp(word, "http-passed") == 0)
        return read_listener(b, word, at);
    if (strcmp(word, "worker") == 0)
        return read_worker(b, at);
    return strcmp(word, "conn") == 0 && read_conn(b, at);
}

static bool read_text(struct bequest *b, FILE *f)
{
    char line[256];
    bool ended = false;

    if (!fgets(line, sizeof(line), f) || strcmp(line, FIRST_LINE) != 0)
        return false;
    while (!ended && fgets(line, sizeof(line), f)) {
        char *newline = strchr(line, '\n');
        char *space = strchr(line, ' ');

        if (!newline)
            return false;
        *newline = '\0';
        ended = strcmp(line, "end") == 0;
        if (ended)
            break;
        if (!space)
            return false;
        *space = '\0';
        if (!read_line(b, line, space + 1))
            return false;
    }
    return ended && (b->region_fd >= 0) != (b->dump_fd >= 0);
}

int bequest_read(struct bequest *b, int fd)
{
    FILE *f;
    bool good;

    memset(b, 0, sizeof(*b));
    b->region_fd = b->dump_fd = -1;
    b->legacy.orderly = true; /* who was dead had been dealt with */
    if (fd < 3 || lseek(fd, 0, SEEK_SET) != 0 || !(f = fdopen(fd, "r"))) {
        snprintf(b->legacy.error, sizeof(b->legacy.error), "there is no text: %s", strerror(errno));
        return -errno;
    }
    good = read_text(b, f);
    fclose(f);
    if (!good)
        snprintf(b->legacy.error, sizeof(b->legacy.error), "the text is not understood");
    return good ? 0 : -EPROTO;
}
