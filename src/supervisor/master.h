/*
 * supervisor/master.h - the master: accepts connections, keeps workers alive, ends the server.
 *
 * It never parses a byte from the network and never takes a shard's mutex: whatever clients send
 * and however workers die, the master goes on.
 */
#ifndef SUPERVISOR_MASTER_H
#define SUPERVISOR_MASTER_H

#include "net/listen.h"
#include "supervisor/child.h"
#include "supervisor/fence.h"

struct config_sources;
struct legacy;
struct relaunch;
struct settings;
struct tls_files;

struct master_args {
    struct region *region;
    int region_fd;
    const struct legacy *legacy; /* NULL: the region is new */
    const char *run_dir;         /* "": none, and workers end with this master */
    int lock_fd;                 /* of the run directory */
    const struct relaunch *relaunch;
    const struct settings *settings;
    const struct tls_files *tls_files; /* what workers are to serve with */
    struct listen_set *listeners;
    struct listen_set *http; /* no addresses: HTTP is off */
    const struct config_sources *sources; /* of the settings, for a reload */
    uint32_t max_connections; /* decided by the caller from settings and descriptor limit */
    struct fence *fence; /* started */
    uint32_t descriptors;     /* that limit */
    child_main run, run_http;
};

/*
 * SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2 and SIGCHLD are blocked from here on. Call it before anything that takes
 * long, so that a signal that comes early is not lost.
 */
void master_block_signals(void);

/* Descriptors that the master needs for itself and its workers, beside those of connections. */
static inline uint64_t master_descriptors(uint32_t workers)
{
    return 32 + LISTEN_MAX + ((uint64_t)workers + 1) * (HERITAGE_DOCS + 2);
}

/* Serves until a signal ends it; returns the exit status. */
int master_run(const struct master_args *args);

#endif
