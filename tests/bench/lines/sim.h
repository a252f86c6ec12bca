/*
 * tests/bench/lines/sim.h - what the processes of one simulation share, and the parts they are made
 * of.
 *
 * Each worker is a process that runs the server's own worker_run(), compiled so that every load and
 * store calls trace.c. One of them runs at a time, the one that has the baton. So the simulation
 * needs no locks, and is the same each time.
 *
 *   trace   loads and stores of the region, from the compiler's calls and around the C library's
 *   cache   which worker's cache has which line, and what moves
 *   baton   who runs next, and what time it is
 *   client  the worker's connections: what they ask for, without sockets
 *   fields  what lies at an offset of the region
 */
#ifndef LINES_SIM_H
#define LINES_SIM_H

#include "shm/region.h"

#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    SIM_FDS = 1000
}; /* a connection's descriptor is its slot and so much; none of them exists */

enum workload {
    WORKLOAD_RANDOM, /* keys of the connection's own, anywhere */
    WORKLOAD_OWN,    /* the same, in shards that no other worker uses */
    WORKLOAD_HOT,    /* one key, which everybody waits for */
    WORKLOAD_NEW,    /* keys that were never there before */
    WORKLOADS,
};

enum schedule {
    SCHEDULE_TURN,  /* a worker's turn of its loop, then the next worker's: no two at a time */
    SCHEDULE_CLOCK, /* all at once: who is behind by the simulated clock runs */
};

/* What things take by the simulated clock, ns. */
struct costs {
    uint64_t access; /* a load or store that stays in the cache, with the instructions around it */
    uint64_t transfer; /* of a line from another core's cache, or of the right to write to it */
    uint64_t receive, send, wait; /* system calls */
    uint64_t wake; /* who wakes, for the call, and as long again until who is woken runs */
    uint64_t pause; /* of who waits for a mutex awake, between two looks at it */
};

enum runner { RUNNER_READY, RUNNER_IDLE, RUNNER_LOCKED, RUNNER_ENDED };

struct seat {
    sem_t baton;
    enum runner state;
    bool rung;             /* since it went idle */
    uint64_t time;         /* ns since the simulation began */
    const void *waits_for; /* RUNNER_LOCKED: the mutex */
    uint64_t requests;     /* that it received, counted or not */
    uint64_t locked_out;   /* ns spent waiting for mutexes */
    uint64_t sleeps;       /* for a mutex */
};

struct sim {
    uint32_t workers;
    uint32_t connections; /* of each worker */
    uint32_t keys;        /* of each connection */
    enum workload workload;
    enum schedule schedule;
    struct costs costs;
    bool spoil;
    uint64_t warm;     /* requests of each worker that are not counted */
    uint32_t cold;     /* workers that have not had so many; then counting begins */
    uint64_t requests; /* counted so far */
    uint64_t end;      /* the simulation ends at so many */
    uint64_t clock;    /* BOOTTIME ns at which it began */
    uint64_t started;  /* simulated ns at which counting began */
    uint64_t next_key; /* WORKLOAD_NEW */
    struct seat seat[WORKER_MAX];
};

/* Of this process; set before the first fork but for the worker's number. */
extern struct sim *sim;
extern struct region *sim_region;
extern uint32_t sim_worker;

/* main.c */
void sim_fail(const char *what, int err) __attribute__((noreturn));

/* world.c */
uint64_t world_run(void); /* the whole simulation; lines that were written to unseen by the trace */
/* The n-th key of a connection, in `room` bytes. */
void world_key(uint32_t worker, uint32_t connection, uint32_t n, char *key, size_t room);

/* trace.c */
void trace_start(void);           /* in a worker: from now on it is traced */
void trace_count(uint64_t *word); /* adds 1, seen like all else */

/* cache.c */
enum cache_event { CACHE_READ, CACHE_WRITE, CACHE_UPGRADE, CACHE_EVENTS };
int cache_init(uint64_t region_size);
/* One access, all in one line. Returns what it takes, ns. */
uint64_t cache_touch(uint32_t worker, uint64_t offset, unsigned size, bool write, uint32_t site,
                     uint64_t now);
void cache_count_from_now(void);
void cache_print(void);          /* JSON: what was counted, by field and place in the program */
bool cache_wrote(uint64_t line); /* some worker has written to it */

/* baton.c */
int baton_init(void);
void baton_wait(uint32_t worker);     /* until it is given to this worker for the first time */
void baton_start(void);               /* to the first worker */
void baton_pass(enum runner state);   /* this worker's turn is over, or it has to wait */
void baton_spend(uint64_t ns);        /* and lets those go first who are behind */
void baton_ring(uint32_t worker);     /* it is woken from RUNNER_IDLE */
void baton_unlock(const void *mutex); /* one who waits for it is woken */

/* client.c */
void client_init(void);

/* fields.c */
void fields_init(const struct region *r);
unsigned fields_at(uint64_t offset); /* a number below FIELDS_MAX */
void fields_name(unsigned field, char *text, size_t room);
enum { FIELDS_MAX = 512 };

#endif
