/*
 * supervisor/rundir.c - see rundir.h. Runs in the master, before its first fork.
 *
 * fcntl(2) locks belong to a process: children do not inherit them, an exec keeps them, and closing
 * any descriptor of the file gives them up.
 */
#include "supervisor/rundir.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_PATIENCE (2 * NS_PER_SEC)

static int refuse(struct rundir *d, int err, const char *what)
{
    if (!d->error[0])
        snprintf(d->error, sizeof(d->error), "'%s' %s: %s", d->path, what, strerror(-err));
    d->path[0] = '\0';
    return err;
}

/* Who can write here can put sockets in the place of ours. */
static int make_safe(struct rundir *d, uid_t uid, gid_t gid)
{
    struct stat st;

    if (mkdir(d->path, 0700) < 0 && errno != EEXIST)
        return refuse(d, -errno, "cannot be made");
    if (stat(d->path, &st) < 0)
        return refuse(d, -errno, "cannot be looked at");
    if (!S_ISDIR(st.st_mode))
        return refuse(d, -ENOTDIR, "cannot be used");
    if (geteuid() == 0 && st.st_uid == 0 && uid != 0 && chown(d->path, uid, gid) == 0)
        st.st_uid = uid;
    if (st.st_uid == uid && !(st.st_mode & 022))
        return 0;
    snprintf(d->error, sizeof(d->error), "'%s' %s", d->path,
             st.st_uid == uid ? "can be written by others than its owner: chmod it to 0700"
                              : "belongs to another user");
    return refuse(d, -EACCES, "");
}

static void lock_path(const struct rundir *d, char *file, size_t n)
{
    snprintf(file, n, "%s/lock", d->path);
}

/* A master that was killed just now holds it for some moments more. */
static int lock_patiently(int fd, struct flock *lock)
{
    struct timespec pause = {.tv_nsec = 20 * NS_PER_MS};
    uint64_t end = clock_boottime_ns() + LOCK_PATIENCE;

    for (;;) {
        if (fcntl(fd, F_SETLK, lock) == 0)
            return 0;
        if (errno != EACCES && errno != EAGAIN)
            return -errno;
        if (clock_boottime_ns() >= end)
            return -EBUSY;
        nanosleep(&pause, NULL);
    }
}

static int take_lock(struct rundir *d)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char file[sizeof(d->path) + 8];
    int err;

    lock_path(d, file, sizeof(file));
    d->lock_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->lock_fd < 0)
        return refuse(d, -errno, "cannot hold a lock file");
    err = lock_patiently(d->lock_fd, &lock);
    if (!err)
        return 0;
    if (err == -EBUSY && fcntl(d->lock_fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
        snprintf(d->error, sizeof(d->error), "'%s' is in use by process %ld", d->path,
                 (long)lock.l_pid);
    close(d->lock_fd);
    return refuse(d, err, "cannot be locked");
}

/* Also one that belongs to another user's server. */
static bool is_served(const struct rundir *d)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char file[sizeof(d->path) + 8];
    bool held;
    int fd;

    lock_path(d, file, sizeof(file));
    fd = open(file, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    held = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    close(fd);
    return held;
}

int rundir_open(struct rundir *d, const char *path, uid_t uid, gid_t gid)
{
    bool served;
    int err;

    memset(d, 0, sizeof(*d));
    if (strlen(path) >= sizeof(d->path)) {
        snprintf(d->error, sizeof(d->error), "its path is longer than %zu bytes",
                 sizeof(d->path) - 1);
        return -ENAMETOOLONG;
    }
    strcpy(d->path, path);
    served = is_served(d);
    err = make_safe(d, uid, gid);
    if (err == -EACCES && served)
        return -EBUSY; /* whoever's it is, nobody has died and left workers in it */
    return err ? err : take_lock(d);
}
