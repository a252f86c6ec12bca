/*
 * tests/clock/shift.c - preloaded into the programs as they are installed, it moves their clocks:
 * BOOTTIME and the wall clock are ahead by what the file CLOCK_SHIFT says, whenever they are read,
 * which another process may change meanwhile. MONOTONIC stays, and so do the kernel's own timers:
 * after a suspend BOOTTIME is ahead as well, and a poll() that sleeps does not know it.
 *
 * The file: two numbers of 8 bytes, ns, BOOTTIME's and the wall clock's. If there is a file of that
 * name with ".boot" behind it, its contents are the boot's id.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000

static const volatile int64_t *shift; /* BOOTTIME, wall clock */
static char boot[4096];

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CLOCK_SHIFT");
    void *at = MAP_FAILED;
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd >= 0)
        at = mmap(NULL, 2 * sizeof(*shift), PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        fprintf(stderr, "shift.c: no file CLOCK_SHIFT\n");
        _exit(99);
    }
    close(fd);
    shift = at;
    snprintf(boot, sizeof(boot), "%s.boot", path);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    int err = (int)syscall(SYS_clock_gettime, id, ts);
    int64_t by = 0, all;

    /* A constructor of another library may be earlier than this one's. */
    if (err == 0 && shift != NULL) {
        if (id == CLOCK_BOOTTIME)
            by = shift[0];
        else if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)
            by = shift[1];
        all = (int64_t)ts->tv_sec * NS + ts->tv_nsec + by;
        ts->tv_sec = (time_t)(all / NS);
        ts->tv_nsec = (long)(all % NS);
    }
    return err;
}

time_t time(time_t *out)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    if (out != NULL)
        *out = ts.tv_sec;
    return ts.tv_sec;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec ts;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = (suseconds_t)(ts.tv_nsec / 1000);
    return 0;
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    mode_t mode = 0;

    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    if (strcmp(path, "/proc/sys/kernel/random/boot_id") == 0 &&
        syscall(SYS_faccessat, AT_FDCWD, boot, R_OK) == 0)
        path = boot;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
