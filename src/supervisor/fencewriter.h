/*
 * supervisor/fencewriter.h - the fence writer: the process that keeps the fence state file. It
 * alone may wait for the disk; the master and the workers never do. See shm/fences.h for how it is
 * asked, and docs/internals/fences.md.
 */
#ifndef SUPERVISOR_FENCEWRITER_H
#define SUPERVISOR_FENCEWRITER_H

#include "shm/region.h"

struct fencewriter_args {
    struct region *region;
    const char *path;
    bool found;     /* the region is that of an earlier life of the server, or in use */
    uint64_t delay; /* --cold-start-delay, ns */
    int report;     /* at the start: a byte goes there when the file is right and its first record
                       is on disk; -1: the server runs already, so what is wrong is tried again */
};

/* The process's whole life, in a child that has closed what is not its own; its exit status. What
   is wrong at the start is said on stderr. */
int fencewriter_run(const struct fencewriter_args *args);

#endif
