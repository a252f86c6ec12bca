/*
 * dflockd/fsck.c - see fsck.h. Works on a private copy: what a server would do to mend the table is
 * done there, to say whether it would succeed.
 */
#include "dflockd/fsck.h"

#include "base/err.h"
#include "config/exitcode.h"
#include "core/check.h"
#include "core/repair.h"
#include "shm/lock.h"
#include "shm/region.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

struct findings {
    unsigned broken;   /* shards */
    unsigned beyond;   /* of them, beyond repair */
    uint64_t resources, holders, waiters;
};

static struct region *load(const char *path, FILE *err_out)
{
    struct region *r;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int err = 0;

    r = fd < 0 ? NULL : region_load(fd, &err);
    if (!r)
        fprintf(err_out, "dflockd: --fsck %s: %s\n", path,
                fd < 0 ? strerror(errno) : region_error_text(err));
    if (fd >= 0)
        close(fd);
    return r;
}

static void count(const struct table *t, uint32_t shard, struct findings *f)
{
    const struct shard *s = table_shard(t, shard);

    for (uint32_t i = 1; i <= s->res_bump; i++) {
        const struct resource *r = table_resource(t, shard, i);

        if (r->state == RES_FREE)
            continue;
        f->resources++;
        f->holders += r->nholders;
        f->waiters += r->nwaiters;
    }
}

/* What is broken in the shard; invariant 0 when nothing is. */
static struct check_report look(const struct region *r, struct table *t, uint32_t shard, FILE *out)
{
    struct shard *s = table_shard(t, shard);
    uint32_t open_changes = s->journal.count;
    struct check_report report;

    if (!repair_rollback(t, shard))
        return (struct check_report){9, open_changes, "the journal names what it may not"};
    if (open_changes)
        fprintf(out, "shard %u: a transaction was open, its %u changes are not counted\n", shard,
                open_changes);
    if (check_shard(t, shard, &report) == 0)
        lock_keys_whole(r, t, shard, &report);
    return report;
}

static void judge(const struct region *r, struct table *t, uint32_t shard, struct findings *f,
                  FILE *out)
{
    struct shard *s = table_shard(t, shard);
    struct check_report found = look(r, t, shard, out), rest;

    if (found.invariant == 0 && s->state == SHARD_OK) {
        count(t, shard, f);
        return;
    }
    f->broken++;
    if (found.invariant)
        fprintf(out, "shard %u: invariant I%d does not hold at %u: %s\n", shard, found.invariant,
                found.index, found.what);
    if (s->state == SHARD_QUARANTINED) {
        fprintf(out, "shard %u: is quarantined, its keys answer error\n", shard);
        f->beyond++;
    } else if (!lock_keys_whole(r, t, shard, &rest) || repair_rebuild(t, shard, &rest) != 0) {
        fprintf(out, "shard %u: beyond repair, I%d at %u: %s\n", shard, rest.invariant, rest.index,
                rest.what);
        f->beyond++;
    } else {
        fprintf(out, "shard %u: can be rebuilt, no holder is lost\n", shard);
        count(t, shard, f);
    }
}

int fsck_run(const char *path, FILE *out, FILE *err)
{
    struct region *r = load(path, err);
    struct findings f = {0};
    struct table t;

    if (!r)
        return EXITCODE_FAIL;
    memset(&t, 0, sizeof(t));
    table_attach(&t, r, &r->geo);
    t.fence_next = &r->fence_next;
    t.fence_limit = &r->fence_limit;
    for (uint32_t i = 0; i < SHARD_COUNT; i++)
        judge(r, &t, i, &f, out);
    fprintf(out,
            "%d shards, %u broken, %u beyond repair; %" PRIu64 " keys, %" PRIu64 " holders, %" PRIu64
            " waiters, next fence %" PRIu64 "\n",
            SHARD_COUNT, f.broken, f.beyond, f.resources, f.holders, f.waiters, r->fence_next);
    region_destroy(r);
    return f.broken == 0 && fflush(out) == 0 ? EXITCODE_OK : EXITCODE_FAIL;
}
