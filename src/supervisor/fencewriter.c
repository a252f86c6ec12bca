/*
 * supervisor/fencewriter.c - see fencewriter.h. A process of its own; takes no mutex.
 *
 * In each state of the file and of the words in the region that a death can leave, what the words
 * allow is on disk: a record is written, then published. The words are this process's alone while
 * it runs, and it puts them right whenever it is rung: a worker that crashed may have written over
 * them.
 */
#include "supervisor/fencewriter.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/point.h"
#include "config/exitcode.h"
#include "shm/fences.h"
#include "supervisor/fencefile.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define AGAIN_NS NS_PER_SEC               /* after a failure */
#define LOCK_PATIENCE_NS (2 * NS_PER_SEC) /* a predecessor may still be dying */
#define LOCK_LOOK_NS (20 * NS_PER_MS)
#define NEXT_MARGIN (UINT64_C(1) << 21) /* region_mend_fences() raises the next fence by less */

struct writer {
    const struct fencewriter_args *args;
    struct region *r;
    int fd; /* locked; -1 = not open */
    dev_t dev;
    ino_t ino;
    struct fencefile_record rec; /* what is on disk */
    bool found;                  /* the region has words of an earlier writer, or of this one */
    bool published;              /* the words are this process's */
    bool failing;
    const char *what; /* went wrong last */
    pid_t holder;     /* of the lock, if that is what */
};

static int fail(struct writer *w, int err, const char *what)
{
    w->what = what;
    return err;
}

static void close_file(struct writer *w)
{
    if (w->fd >= 0)
        SYS(FENCE_CLOSE, close(w->fd));
    w->fd = -1;
}

static void note_now(const struct writer *w, struct fencefile_now *now)
{
    _Static_assert(sizeof(now->boot_id) == sizeof(w->r->boot_id), "boot id");

    memcpy(now->boot_id, w->r->boot_id, sizeof(now->boot_id));
    now->boottime = clock_boottime_ns();
    now->realtime = clock_realtime_ns();
}

/* Whether `name` is still the file that is open. */
static bool still_named(const struct writer *w, const char *name)
{
    struct stat st;

    return SYS(FENCE_STAT, stat(name, &st)) == 0 && st.st_dev == w->dev && st.st_ino == w->ino;
}

/* The lock goes with this process: no child inherits it, and no death leaves it behind. */
static int lock(struct writer *w)
{
    uint64_t patience = clock_boottime_ns() + LOCK_PATIENCE_NS;

    for (;;) {
        struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

        if (SYS(FENCE_LOCK, fcntl(w->fd, F_SETLK, &all)) == 0)
            return 0;
        if (errno != EACCES && errno != EAGAIN)
            return fail(w, -errno, "cannot be locked");
        if (clock_boottime_ns() >= patience) {
            w->holder = SYS(FENCE_HOLDER, fcntl(w->fd, F_GETLK, &all)) == 0 && all.l_type != F_UNLCK
                            ? all.l_pid
                            : 0;
            return fail(w, -EAGAIN, "is in use by another server: each needs a file of its own");
        }
        fences_wait(w->r, fences_asked(w->r), LOCK_LOOK_NS);
    }
}

/* Opens and locks. -ESTALE: it was renamed or removed meanwhile, again. */
static int open_locked(struct writer *w, const char *name, int flags)
{
    struct stat st;
    int err;

    w->fd = SYS(FENCE_OPEN, open(name, flags | O_RDWR | O_CLOEXEC | O_NONBLOCK, 0600));
    if (w->fd < 0)
        return fail(w, -errno, "cannot be opened for writing");
    err = SYS(FENCE_LOOK, fstat(w->fd, &st)) < 0 ? -errno : 0;
    if (!err && !S_ISREG(st.st_mode))
        err = fail(w, -EINVAL, "is no regular file");
    if (!err) {
        w->dev = st.st_dev;
        w->ino = st.st_ino;
        err = lock(w);
    }
    if (!err && !still_named(w, name))
        err = fail(w, -ESTALE, "was replaced while it was opened");
    if (err)
        close_file(w);
    return err;
}

static int write_copy(struct writer *w, const unsigned char *bytes, unsigned copy)
{
    size_t done = 0;

    while (done < FENCEFILE_COPY) {
        ssize_t n = SYS(FENCE_WRITE, pwrite(w->fd, bytes + done, FENCEFILE_COPY - done,
                                            (off_t)(copy * FENCEFILE_COPY + done)));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(w, n < 0 ? -errno : -EIO, "cannot be written");
        done += (size_t)n;
    }
    return SYS(FENCE_SYNC, fdatasync(w->fd)) < 0 ? fail(w, -errno, "cannot be written") : 0;
}

/* The other copy follows when the record has been published. */
static int write_first(struct writer *w, struct fencefile_record *rec, unsigned char *bytes)
{
    int err;

    rec->sequence = w->rec.sequence + 1;
    note_now(w, &rec->written);
    fencefile_encode(rec, bytes);
    err = write_copy(w, bytes, (unsigned)(rec->sequence % FENCEFILE_COPIES));
    if (!err)
        w->rec = *rec;
    return err;
}

static int write_second(struct writer *w, const unsigned char *bytes)
{
    return write_copy(w, bytes, (unsigned)((w->rec.sequence + 1) % FENCEFILE_COPIES));
}

static int write_both(struct writer *w, struct fencefile_record *rec)
{
    unsigned char bytes[FENCEFILE_COPY];
    int err = write_first(w, rec, bytes);

    return err ? err : write_second(w, bytes);
}

static void warn_of_memory(const struct writer *w)
{
    struct statfs fs;

    if (SYS(FENCE_STATFS, fstatfs(w->fd, &fs)) == 0 &&
        (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC))
        log_warn(
            "the fence state file is in memory and does not survive a reboot: name one on a disk",
            log_str("path", w->args->path));
}

static int sync_directory(struct writer *w, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    int fd = dir ? SYS(FENCE_OPEN_DIR, open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) : -1;
    int err = fd < 0 || SYS(FENCE_SYNC_DIR, fsync(fd)) < 0 ? -errno : 0;

    if (fd >= 0)
        SYS(FENCE_CLOSE_DIR, close(fd));
    free(dir);
    return err ? fail(w, err, "is new, and its directory cannot be written") : 0;
}

/* Makes the file under another name, whole, before it gets its own: -ESTALE when somebody else has
   made it meanwhile. Its first fence is that of the region: the clock's, or further. */
static int create(struct writer *w, const char *path)
{
    struct fencefile_record rec = {0};
    char *name = NULL;
    int err;

    if (asprintf(&name, "%s.new", path) < 0)
        return fail(w, -ENOMEM, "cannot be made");
    err = open_locked(w, name, O_CREAT);
    if (err)
        goto out;
    w->rec.sequence = 0;
    rec.ceiling = __atomic_load_n(&w->r->fence_next, __ATOMIC_SEQ_CST);
    err = write_both(w, &rec);
    if (!err && SYS(FENCE_LINK, link(name, path)) < 0)
        err = fail(w, errno == EEXIST ? -ESTALE : -errno, "cannot be made");
    SYS(FENCE_UNLINK, unlink(name));
    if (!err)
        err = sync_directory(w, path);
    if (err)
        close_file(w);
    else
        log_warn("the fence state file is new, fences start at the clock: if this server has given "
                 "out higher ones, they could repeat",
                 log_str("path", path));
out:
    free(name);
    return err;
}

static int read_record(struct writer *w)
{
    unsigned char bytes[FENCEFILE_BYTES];
    size_t n = 0;
    int whole;

    for (ssize_t got = 1; got > 0 && n < sizeof(bytes); n += (size_t)got) {
        got = SYS(FENCE_READ, pread(w->fd, bytes + n, sizeof(bytes) - n, (off_t)n));
        if (got < 0)
            return fail(w, -errno, "cannot be read");
    }
    whole = fencefile_decode(bytes, n, &w->rec);
    if (whole == ERR_VERSION)
        return fail(w, whole, "was written by a later version of dflockd: start that one");
    if (whole < 0)
        return fail(
            w, whole,
            "is damaged, and fences that were given out could be given out again: restore it; "
            "or, if nobody remembers a fence of this server, remove it");
    if (whole < FENCEFILE_COPIES)
        log_warn("one of the two copies in the fence state file is damaged, the other is whole",
                 log_str("path", w->args->path));
    return 0;
}

static int open_file(struct writer *w)
{
    const char *path = w->args->path;
    int err = -ESTALE;

    /* Several servers may be told to make the same file: one does, the others find it. */
    for (unsigned tries = 0; tries < 10 && err == -ESTALE; tries++) {
        err = open_locked(w, path, 0);
        if (err == -ENOENT)
            err = create(w, path);
        else if (!err)
            err = read_record(w);
    }
    if (err)
        close_file(w);
    return err;
}

static uint64_t latest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* On the first record of this process nothing of an earlier one may be lost, and nothing repeated.
 */
static int begin(struct writer *w)
{
    struct region *r = w->r;
    struct fencefile_record rec = w->rec;
    struct fencefile_now now;
    uint64_t next = __atomic_load_n(&r->fence_next, __ATOMIC_SEQ_CST);
    int err;

    note_now(w, &now);
    rec.until = fencefile_until(&w->rec, &now);
    if (!w->found) {
        next = rec.ceiling;
        __atomic_store_n(&r->fence_next, next, __ATOMIC_SEQ_CST);
        __atomic_store_n(&r->grants_from,
                         fencefile_grants_from(rec.until, now.boottime, w->args->delay),
                         __ATOMIC_SEQ_CST);
    } else if (rec.ceiling > __atomic_load_n(&r->fence_limit, __ATOMIC_SEQ_CST)) {
        /* Somebody else may have used it in between. */
        while (next < rec.ceiling &&
               !__atomic_compare_exchange_n(&r->fence_next, &next, rec.ceiling, false,
                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            ;
    }
    if (w->found)
        rec.until = latest(latest(rec.until, __atomic_load_n(&r->asks.until, __ATOMIC_SEQ_CST)),
                           __atomic_load_n(&r->promise_until, __ATOMIC_SEQ_CST));
    if (next > rec.ceiling)
        rec.ceiling = next;
    rec.ceiling = rec.ceiling > UINT64_MAX - FENCES_RANGE ? UINT64_MAX : rec.ceiling + FENCES_RANGE;
    err = write_both(w, &rec);
    if (!err)
        w->found = w->published = true;
    return err;
}

/* What is on disk becomes what is allowed. True when that is not what was. */
static bool publish(struct writer *w)
{
    struct region *r = w->r;
    uint64_t next = __atomic_load_n(&r->fence_next, __ATOMIC_SEQ_CST);
    bool more = __atomic_load_n(&r->fence_limit, __ATOMIC_SEQ_CST) != w->rec.ceiling ||
                __atomic_load_n(&r->promise_until, __ATOMIC_SEQ_CST) != w->rec.until;

    /* No fence at or above the ceiling was ever given out: written over. */
    if (next > w->rec.ceiling && next - w->rec.ceiling > NEXT_MARGIN)
        __atomic_compare_exchange_n(&r->fence_next, &next, w->rec.ceiling, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
    fences_publish(r, w->rec.ceiling, w->rec.until);
    return more;
}

static void set_state(struct writer *w, enum fences_state state)
{
    if (__atomic_exchange_n(&w->r->fences, state, __ATOMIC_SEQ_CST) != state)
        fences_tell(w->r);
}

/* Writes more when somebody needs it, and goes on until nobody does. */
static int serve(struct writer *w)
{
    struct fencefile_record rec = w->rec;

    while (fences_need(w->r, &rec.ceiling, &rec.until)) {
        unsigned char bytes[FENCEFILE_COPY];
        int err = still_named(w, w->args->path) ? write_first(w, &rec, bytes)
                                                : fail(w, -ESTALE, "has been removed or replaced");

        if (err)
            return err;
        if (publish(w))
            fences_tell(w->r);
        POINT(FENCE_PUBLISHED);
        err = write_second(w, bytes);
        if (err)
            return err;
        rec = w->rec;
    }
    return 0;
}

/* One look at everything. */
static int work(struct writer *w)
{
    int err = w->fd < 0 ? open_file(w) : 0;

    if (!err && !w->published)
        err = begin(w);
    if (err)
        return err;
    if (publish(w))
        fences_tell(w->r);
    err = serve(w);
    if (err == -ESTALE) {
        close_file(w); /* the next one may be another server's, or must be made */
        w->published = false;
    }
    return err;
}

/* The end: what was reserved ahead is not needed any more. */
static int leave(struct writer *w)
{
    struct fencefile_record rec = w->rec;
    uint64_t last = __atomic_load_n(&w->r->asks.last, __ATOMIC_SEQ_CST);
    int err = w->fd < 0 || !w->published ? -EBADF : 0;

    if (!err && last < rec.until) {
        rec.until = last > clock_boottime_ns() ? last : 0;
        err = write_both(w, &rec);
    }
    if (err)
        log_error(
            "the fence state file could not be brought up to date: the next start waits longer "
            "than it needs to",
            log_str("path", w->args->path));
    return err ? EXITCODE_FAIL : EXITCODE_OK;
}

static void judge(struct writer *w, int err)
{
    if (err) {
        log_error(
            "the fence state file fails, new locks and longer leases are refused until it works",
            log_str("path", w->args->path), log_str("what", w->what), log_err("error", err));
        w->failing = true;
        set_state(w, FENCES_FAILING);
        return;
    }
    if (w->failing)
        log_audit("the fence state file works again", log_str("path", w->args->path));
    w->failing = false;
    set_state(w, FENCES_KEPT);
}

static void refuse(const struct writer *w, int err)
{
    fprintf(stderr, "dflockd: --fence-state-file '%s' %s", w->args->path, w->what);
    if (err == -EAGAIN && w->holder)
        fprintf(stderr, " (process %d has it)", (int)w->holder);
    else if (err == -ENOENT)
        fprintf(stderr,
                ": its directory does not exist: make it, for the user that dflockd runs as");
    else if (err < 0 && err > -4000 && err != -EAGAIN && err != -EINVAL)
        fprintf(stderr, ": %s", err_text(err));
    fprintf(stderr, "\n");
}

int fencewriter_run(const struct fencewriter_args *args)
{
    struct writer w = {.args = args, .r = args->region, .fd = -1, .found = args->found};
    int report = args->report;

    for (;;) {
        uint32_t asked = fences_asked(w.r);
        int err;

        if (__atomic_load_n(&w.r->asks.leave, __ATOMIC_SEQ_CST))
            return leave(&w);
        err = work(&w);
        if (err && report >= 0) {
            refuse(&w, err);
            return EXITCODE_FAIL;
        }
        judge(&w, err);
        __atomic_store_n(&w.r->asks.heard, asked, __ATOMIC_SEQ_CST);
        if (report >= 0) {
            warn_of_memory(&w);
            if (SYS(FENCE_REPORT, write(report, "", 1)) < 1)
                return EXITCODE_FAIL;
            SYS(FENCE_REPORTED, close(report));
            report = -1;
        }
        fences_wait(w.r, asked, err ? AGAIN_NS : 0);
    }
}
