/*
 * tests/bench/lines/world.c - the region, as a master would have made it, and the workers'
 * processes.
 */
#include "sim.h"

#include "base/clock.h"
#include "base/log.h"
#include "config/settings.h"
#include "shm/conns.h"
#include "shm/fences.h"
#include "shm/heritage.h"
#include "worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct settings settings; /* too large for a stack */

/* WORKLOAD_OWN: names are tried until one falls into a shard of the worker. */
static bool own_shard(uint32_t worker, const char *key)
{
    uint64_t hash = region_key_hash(sim_region, KIND_LOCK, key, (uint32_t)strlen(key));

    return table_shard_of(hash) % sim->workers == worker;
}

void world_key(uint32_t worker, uint32_t connection, uint32_t n, char *key, size_t room)
{
    if (sim->workload == WORKLOAD_HOT) {
        snprintf(key, room, "hot");
    } else if (sim->workload == WORKLOAD_NEW) {
        snprintf(key, room, "new-%u", n);
    } else {
        unsigned attempt = 0;

        do
            snprintf(key, room, "key-%u-%u-%u-%u", worker, connection, n, attempt++);
        while (sim->workload == WORKLOAD_OWN && !own_shard(worker, key));
    }
}

static void make_settings(void)
{
    settings.workers = sim->workers;
    settings.default_lease_ttl = 33;
    settings.lease_sweep_interval = 1;
    settings.gc_interval = 5;
    settings.gc_max_idle = 60;
    settings.auto_release_on_disconnect = true;
    settings.read_timeout = 23;
    settings.write_timeout = 5;
    settings.log_level = LVL_WARN;
}

/* As a server with a state file has it, with much left of what may be promised. */
static void make_region(void)
{
    struct region_limits limits = {
        .max_locks = 1 << 16, .max_conns = sim->workers * sim->connections, .max_nodes = 1 << 16};
    struct region *r;
    int err;

    sim_region = r = region_create(&limits, &err);
    if (!r)
        sim_fail("region", err);
    r->fences = FENCES_KEPT;
    r->fence_limit = r->fence_next + FENCES_RANGE;
    r->promise_until = sim->clock + 3600 * NS_PER_SEC;
    r->nworkers = r->nslots = sim->workers;
    for (uint32_t i = 0; i < sim->workers; i++)
        region_worker(r, i)->generation = 1;
    for (uint32_t slot = 1; slot <= limits.max_conns; slot++) {
        struct conn *c = conns_slot(r, slot);

        c->family = AF_INET;
        conns_open(r, slot, slot, (slot - 1) / sim->connections, sim->clock);
        c->flags = CONN_TUNED;
    }
}

static void run_worker(uint32_t worker, int *conn_fd)
{
    struct heritage heritage = {
        .region = sim_region, .settings = &settings, .worker = worker, .conn_fd = conn_fd};
    int channel[2];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sim_worker = worker;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, channel) < 0)
        sim_fail("socketpair", errno);
    heritage.channel = channel[0];
    client_init();
    baton_wait(worker);
    trace_start();
    exit(worker_run(&heritage));
}

static void run_all(void)
{
    int *conn_fd = calloc(sim_region->max_conns + 1, sizeof(*conn_fd));
    pid_t pid[WORKER_MAX];
    bool failed = false;
    int status;

    if (!conn_fd)
        sim_fail("memory", ENOMEM);
    for (uint32_t slot = 1; slot <= sim_region->max_conns; slot++)
        conn_fd[slot] = SIM_FDS + (int)slot;
    fflush(stdout);
    for (uint32_t i = 0; i < sim->workers; i++) {
        pid[i] = fork();
        if (pid[i] < 0)
            sim_fail("fork", errno);
        if (pid[i] == 0)
            run_worker(i, conn_fd);
    }
    baton_start();
    for (uint32_t i = 0; i < sim->workers; i++)
        if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            if (!failed)
                fprintf(stderr, "lines: a worker failed, status %#x\n", (unsigned)status);
            /* The others wait for it, and would for ever. */
            for (uint32_t k = 0; !failed && k < sim->workers; k++)
                kill(pid[k], SIGKILL);
            failed = true;
        }
    free(conn_fd);
    if (failed)
        exit(EXIT_FAILURE);
}

/* Lines whose bytes have changed though nobody was seen to write to them: what the trace misses. */
static uint64_t unseen(const char *before, uint64_t size)
{
    uint64_t n = 0;

    for (uint64_t at = 0; at < size; at += CACHE_LINE)
        n += memcmp(before + at, region_base(sim_region) + at, CACHE_LINE) != 0 &&
             !cache_wrote(at / CACHE_LINE);
    return n;
}

uint64_t world_run(void)
{
    uint64_t size, missed;
    char *before;

    sim->clock = 1000 * NS_PER_SEC;
    log_init(LOG_FORMAT_TEXT, LVL_WARN);
    make_settings();
    make_region();
    fields_init(sim_region);
    size = sim_region->geo.size;
    before = malloc(size);
    if (!before || cache_init(sim_region->size) < 0 || baton_init() < 0)
        sim_fail("memory", errno);
    memcpy(before, sim_region, size);
    run_all();
    missed = unseen(before, size);
    free(before);
    return missed;
}
