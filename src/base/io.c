/*
 * base/io.c - see io.h.
 */
#include "base/io.h"

#include "base/num.h"
#include "base/point.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int set_flag(int fd, int get, int set, int flag, bool on)
{
    int old = fcntl(fd, get);
    int new;

    if (old < 0)
        return -errno;
    new = on ? old | flag : old & ~flag;
    if (new != old && fcntl(fd, set, new) < 0)
        return -errno;
    return 0;
}

int io_set_nonblock(int fd, bool on)
{
    return set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int io_set_cloexec(int fd, bool on)
{
    return set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

int io_write_full(int fd, const void *data, size_t n)
{
    const char *p = data;

    while (n > 0) {
        ssize_t put = write(fd, p, n);

        if (put < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        p += put;
        n -= (size_t)put;
    }
    return 0;
}

ssize_t io_read_full(int fd, void *buf, size_t size)
{
    char *p = buf;
    size_t used = 0;
    char more;

    for (;;) {
        bool full = used == size;
        ssize_t got = read(fd, full ? &more : p + used, full ? 1 : size - used);

        if (got < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (got == 0)
            return (ssize_t)used;
        if (full)
            return -EFBIG;
        used += (size_t)got;
    }
}

ssize_t io_read_file(const char *path, void *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n;

    if (fd < 0)
        return -errno;
    n = io_read_full(fd, buf, size);
    close(fd);
    return n;
}

/* The number in a file name of /proc/self/fd; -1 for "." and "..". */
static int fd_of_name(const char *name)
{
    int64_t fd;

    return num_parse_i64(name, strlen(name), &fd) == 0 && fd >= 0 && fd <= INT_MAX ? (int)fd : -1;
}

/* Kernels before 5.9 lack close_range(), and container profiles of that time forbid it. Counting up
 * to the limit instead would take minutes where the limit is a thousand million. */
static int close_listed(unsigned first, unsigned last)
{
    _Alignas(struct dirent64) char buf[4096];
    int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ssize_t used;
    int rc;

    if (dir < 0)
        return -errno;
    while ((used = getdents64(dir, buf, sizeof(buf))) > 0) {
        for (ssize_t at = 0; at < used;) {
            const struct dirent64 *entry = (const struct dirent64 *)(buf + at);
            int fd = fd_of_name(entry->d_name);

            if (fd >= 0 && fd != dir && (unsigned)fd >= first && (unsigned)fd <= last)
                close(fd);
            at += entry->d_reclen;
        }
    }
    rc = used < 0 ? -errno : 0;
    close(dir);
    return rc;
}

static int close_gap(unsigned first, unsigned last)
{
#ifdef SYS_close_range
    if (SYS(CHILD_CLOSE, syscall(SYS_close_range, first, last, 0)) == 0)
        return 0;
    if (errno != ENOSYS && errno != EPERM)
        return -errno;
#endif
    return close_listed(first, last);
}

int io_close_all_but(const int *keep_sorted, size_t n)
{
    unsigned first = 0;
    int rc;

    for (size_t i = 0; i < n; i++)
        if (keep_sorted[i] < 0 || (i > 0 && keep_sorted[i] < keep_sorted[i - 1]))
            return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        unsigned kept = (unsigned)keep_sorted[i];

        if (kept > first && (rc = close_gap(first, kept - 1)) < 0)
            return rc;
        first = kept + 1;
    }
    return close_gap(first, INT_MAX);
}
