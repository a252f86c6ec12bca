/*
 * http/usage.c - see usage.h. Runs in the HTTP worker; what it reads was opened at its start.
 */
#include "http/usage.h"

#include "base/clock.h"
#include "base/point.h"
#include "base/process.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

void usage_init(struct usage *u)
{
    struct rlimit most;

    u->stat = SYS(HTTP_USAGE_OPEN, open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
    u->fds = opendir("/proc/self/fd");
    u->most_fds = getrlimit(RLIMIT_NOFILE, &most) == 0 && most.rlim_cur != RLIM_INFINITY
                      ? (int64_t)most.rlim_cur
                      : -1;
}

bool usage_read(struct usage *u, struct usage_now *out)
{
    char text[PROCESS_TEXT_MAX + 1];
    struct process_stat stat;
    ssize_t n;

    if (u->stat < 0)
        return false;
    n = SYS(HTTP_USAGE, pread(u->stat, text, PROCESS_TEXT_MAX, 0));
    if (n < 0 || !process_parse(text, (size_t)n, &stat))
        return false;
    out->cpu_s = (double)stat.ran / 1e9;
    out->started_s = ((double)clock_realtime_ns() - (double)clock_boottime_ns() +
                      (double)process_ticks_ns(stat.started)) / 1e9;
    out->mapped = stat.mapped;
    out->resident = stat.resident;
    return true;
}

int64_t usage_fds(struct usage *u)
{
    int64_t n = 0;

    if (!u->fds)
        return -1;
    rewinddir(u->fds);
    for (const struct dirent *e; (e = readdir(u->fds)) != NULL;)
        n += e->d_name[0] != '.';
    return n;
}
