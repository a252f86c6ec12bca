/*
 * base/process.c - see process.h.
 */
#include "base/process.h"

#include "base/clock.h"
#include "base/io.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

uint64_t process_ticks_ns(uint64_t ticks)
{
    return ticks * (NS_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK));
}

bool process_parse(char *text, size_t n, struct process_stat *out)
{
    unsigned long long user, kernel, started, mapped;
    const char *name = memchr(text, '(', n), *end;
    long pages;
    int parent;

    text[n] = '\0';
    end = strrchr(text, ')'); /* the name may have some itself */
    if (!name || !end || end < name ||
        sscanf(end + 1,
               " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d "
               "%llu %llu %ld",
               &out->state, &parent, &user, &kernel, &started, &mapped, &pages) != 7)
        return false;
    snprintf(out->name, sizeof(out->name), "%.*s", (int)(end - name - 1), name + 1);
    out->parent = (pid_t)parent;
    out->ran = process_ticks_ns(user + kernel);
    out->started = started;
    out->mapped = mapped;
    out->resident = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return true;
}

int process_read(pid_t pid, struct process_stat *out)
{
    char path[32], text[PROCESS_TEXT_MAX + 1];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    n = io_read_file(path, text, PROCESS_TEXT_MAX);
    if (n == -EFBIG)
        n = PROCESS_TEXT_MAX;
    if (n < 0)
        return (int)n;
    return process_parse(text, (size_t)n, out) ? 0 : -EPROTO;
}
