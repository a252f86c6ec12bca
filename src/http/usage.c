/*
 * http/usage.c - see usage.h. Runs in the HTTP worker; what it reads was opened at its start.
 */
#include "http/usage.h"

#include "base/clock.h"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

void usage_init(struct usage *u)
{
    struct rlimit most;

    u->stat = fopen("/proc/self/stat", "re");
    u->fds = opendir("/proc/self/fd");
    u->most_fds = getrlimit(RLIMIT_NOFILE, &most) == 0 && most.rlim_cur != RLIM_INFINITY
                      ? (int64_t)most.rlim_cur
                      : -1;
}

bool usage_read(struct usage *u, struct usage_now *out)
{
    double tick = (double)sysconf(_SC_CLK_TCK);
    unsigned long long user, kernel, started, mapped;
    const char *behind_name;
    char line[1024];
    long pages;

    if (!u->stat)
        return false;
    rewind(u->stat);
    if (!fgets(line, sizeof(line), u->stat))
        return false;
    behind_name = strrchr(line, ')');
    if (!behind_name ||
        sscanf(behind_name + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d "
               "%llu %llu %ld",
               &user, &kernel, &started, &mapped, &pages) != 5)
        return false;
    out->cpu_s = (double)(user + kernel) / tick;
    out->started_s =
        ((double)clock_realtime_ns() - (double)clock_boottime_ns()) / 1e9 + (double)started / tick;
    out->mapped = mapped;
    out->resident = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
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
