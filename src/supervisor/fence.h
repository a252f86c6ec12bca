/*
 * supervisor/fence.h - the master's side of the fence state file: starts the fence writer, restarts
 * and watches it, has it write the last record. Never waits for the disk but before it serves.
 *
 * The writer dies with its master (PR_SET_PDEATHSIG), whose heir starts one of its own; meanwhile
 * workers go on with what is reserved.
 */
#ifndef SUPERVISOR_FENCE_H
#define SUPERVISOR_FENCE_H

#include "shm/region.h"

#include <stdbool.h>
#include <sys/types.h>

struct settings;

struct fence {
    struct region *r;
    const char *path;     /* NULL: no state file */
    uint64_t delay;       /* --cold-start-delay, ns */
    uint64_t grants_from; /* the master's copy: the region may be written over */
    pid_t pid;            /* 0 = there is none now */
    uint64_t due;         /* then: when the next one starts */
    uint32_t heard;       /* asks that the writer had dealt with when it was last looked at … */
    uint64_t since; /* … which has not changed since, though there are more; 0 = there are none */
    bool waiting;   /* for a cold start to be over */
    bool leaving;
    uint64_t deadline; /* of that */
};

/*
 * Before the first worker. `found`: the region is an earlier server's, or in use; else what an
 * earlier one has promised is known from the file alone. 0 or a negative error, which has been told
 * on stderr.
 */
int fence_start(struct fence *f, struct region *r, const struct settings *s, bool found);

void fence_say(const struct fence *f); /* for the log's first lines: where fences come from */

void fence_tick(struct fence *f, uint64_t now, uint64_t late);
bool fence_died(struct fence *f, pid_t pid, uint64_t now); /* false: it is somebody else */
/* Before an exec: the next program starts a writer of its own. Does not wait. */
void fence_drop(const struct fence *f);
/* True while nothing more can be promised, because the file fails. */
bool fence_fails(const struct fence *f);
/* After a worker's crash: the words that may have been written over. */
void fence_mend(struct fence *f);

/*
 * The server ends, no worker runs any more; call until true. The file then says how long leases
 * still run, rather than how long they could.
 */
bool fence_end(struct fence *f, uint64_t now);

#endif
