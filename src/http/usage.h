/*
 * http/usage.h - what this process uses: processor, memory, descriptors. For process_… in /metrics.
 */
#ifndef HTTP_USAGE_H
#define HTTP_USAGE_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>

/* Opened before paths are forbidden; -1, NULL: it cannot be said. */
struct usage {
    int stat;         /* /proc/self/stat */
    DIR *fds;         /* /proc/self/fd */
    int64_t most_fds; /* may be open, -1: no limit */
};

struct usage_now {
    double cpu_s;              /* since it was born */
    double started_s;          /* Unix */
    uint64_t resident, mapped; /* bytes */
};

void usage_init(struct usage *u);

/* False: it cannot be said. */
bool usage_read(struct usage *u, struct usage_now *out);
int64_t usage_fds(struct usage *u); /* -1: it cannot be said */

#endif
