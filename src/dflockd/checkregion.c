/*
 * dflockd/checkregion.c - see checkregion.h. Changes nothing.
 */
#include "dflockd/checkregion.h"

#include "base/err.h"
#include "base/num.h"
#include "config/exitcode.h"
#include "shm/dump.h"
#include "shm/dumpfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* A descriptor of its own in both cases. */
static int open_it(const char *what)
{
    int64_t fd;

    if (num_parse_i64(what, strlen(what), &fd) == 0 && fd >= 0 && fd <= INT_MAX)
        return dup((int)fd);
    return open(what, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

static const char *why_not(int err)
{
    switch (err) {
    case -ENOEXEC:
        return "another version or build made this lock table, and its dumps cannot be read: stop "
               "that one, then start this one";
    case ERR_STALE:
        return "this lock table is of an earlier boot of the machine: it means nothing any more";
    default:
        return region_error_text(err);
    }
}

static int try_dump(int fd, const char *what, const struct region_limits *limits, FILE *out,
                    FILE *err)
{
    struct dump_result result;
    int status = EXITCODE_FAIL;

    if (dump_try(fd, limits, &result) == 0) {
        fprintf(out,
                "dflockd: --check-region %s: this dump can be read: %" PRIu64 " keys, %" PRIu64
                " holders, %" PRIu64 " waiters, %u connections\n",
                what, result.resources, result.holders, result.waiters, result.conns);
        status = EXITCODE_IMPORT;
    } else {
        fprintf(err, "dflockd: --check-region %s: %s\n", what, result.why);
    }
    dump_forget(&result);
    return status;
}

int checkregion_run(const char *what, const struct region_limits *limits, FILE *out, FILE *err)
{
    int fd = open_it(what);
    uint32_t dump_version;
    int status = EXITCODE_FAIL;
    int found;

    if (fd < 0) {
        fprintf(err, "dflockd: --check-region %s: %s\n", what, strerror(errno));
        return EXITCODE_FAIL;
    }
    found = region_look(fd, &dump_version);
    if (found == 0) {
        fprintf(out, "dflockd: --check-region %s: this lock table can be served as it is\n", what);
        status = EXITCODE_OK;
    } else if (found == -EINVAL) {
        status = try_dump(fd, what, limits, out, err);
    } else if (found == -ENOEXEC && dump_version >= DUMP_VERSION_OLDEST &&
               dump_version <= DUMP_VERSION) {
        fprintf(out,
                "dflockd: --check-region %s: the program that made this lock table writes dumps "
                "of version %u, which this one reads\n",
                what, dump_version);
        status = EXITCODE_IMPORT;
    } else {
        fprintf(err, "dflockd: --check-region %s: %s\n", what, why_not(found));
    }
    close(fd);
    return fflush(out) == 0 ? status : EXITCODE_FAIL;
}
