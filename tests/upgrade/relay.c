/*
 * tests/upgrade/relay.c - relay MAX_LOCKS MAX_CONNS <dump >dump: a program of another layout that
 * takes a dump in and gives it out again. Exit status 0, or 1 with a word on why not.
 */
#include "core/check.h"
#include "shm/dump.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int whole(struct region *r)
{
    struct check_report report;
    struct table t;

    memset(&t, 0, sizeof(t));
    table_attach(&t, r, &r->geo);
    t.fence_next = &r->fence_next;
    t.fence_limit = &r->fence_limit;
    t.down_since = r->down_since;
    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        if (check_shard(&t, i, &report) != 0) {
            fprintf(stderr, "relay: I%d at %u: %s\n", report.invariant, report.index, report.what);
            return 0;
        }
    }
    return 1;
}

int main(int argc, char **argv)
{
    struct region_limits limits = {0};
    struct dump_result result;
    struct region *r;
    int err = 0;

    if (argc != 3)
        return 1;
    limits.max_locks = (uint32_t)strtoul(argv[1], NULL, 10);
    limits.max_conns = (uint32_t)strtoul(argv[2], NULL, 10);
    r = region_create(&limits, &err);
    if (!r)
        return 1;
    if (dump_read(r, 0, &result) != 0) {
        fprintf(stderr, "relay: %s\n", result.why);
        return 1;
    }
    dump_forget(&result);
    return whole(r) && dump_write(r, 1) == 0 ? 0 : 1;
}
