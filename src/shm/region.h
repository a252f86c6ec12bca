/*
 * shm/region.h - the block of memory that all processes of one server share.
 *
 * One memfd, mapped once by the master before the first fork and never remapped or grown: robust
 * mutexes link themselves by virtual addresses. It holds offsets and indices, never pointers,
 * descriptors or pids that anything but a log line relies on.
 *
 * Who writes what:
 *   shards, nodes, resources, owners' lists   under the shard's mutex (core/)
 *   worker slots                              their worker, or its heir after it was reaped
 *   connection slots                          the master until it hands the connection over, then
 *                                             the worker that serves it, then the master again
 *   words below marked atomic                 anybody
 */
#ifndef SHM_REGION_H
#define SHM_REGION_H

#include "base/siphash.h"
#include "core/journal.h"
#include "core/table.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    REGION_VERSION = 11 + 1000 * LAYOUT_TEST,
    REGION_SEALED = 4096, /* a page */
    IOBUF_IN = 4096,  /* input ring, bytes; a power of two, > REQUEST_BYTES_MAX */
    IOBUF_OUT = 4096, /* output ring */
    IOBUF_CHUNK = LAYOUT_TEST ? 8 : 16, /* buffers a worker claims at a time */
    BIGBUF_COUNT = LAYOUT_TEST ? 12 : 8, /* for `auth` lines that do not fit an input ring */
    BIGBUF_SIZE = 131072, /* a power of two, > REQUEST_AUTH_BYTES_MAX */
    CACHE_LINE = 64,
    /* Between what one writes and another reads or writes: processors fetch lines in pairs. */
    LINES_APART = 2 * CACHE_LINE,
    REGION_SESSIONS_MAX = 1 << 20,
    HTTP_WORKER = WORKER_MAX - 1, /* the slot of the worker that serves HTTP */
    OFFENDERS = 4096, /* addresses: see serving/offenders.h */
};

#define REGION_MAGIC "dflockd\n"

struct __attribute__((aligned(LINES_APART))) shard_mutex {
    pthread_mutex_t mutex;
};

/* What was refused because there was enough of it; the numbers are in dumps. */
enum limit_hit {
    LIMIT_LOCKS = 0,
    LIMIT_WAITERS = 1,
    LIMIT_CONNECTIONS = 2,
    LIMIT_CONNECTIONS_PER_IP = 3,
    LIMIT_SESSIONS = 4,
    LIMIT_SESSIONS_PER_IP = 5,
    LIMIT_HTTP_CONNECTIONS_PER_IP = 6,
    LIMIT_HTTP_RATE = 7,
    LIMITS,
};

enum {
    COUNTERS_COMMANDS = 24, /* rows of proto/command.def, and one for what is none; with room */
    COUNTERS_RESULTS = 16,  /* words of proto/reply.def; with room */
};

/* Statistics of one process; only it adds, anybody reads. Never set back, and dumped: an heir goes on
   with what its slot has counted. */
struct counters {
    LAYOUT_SHIFT
    uint64_t requests;
    uint64_t bad_requests;
    uint64_t timeouts;
    uint64_t auth_failures;
    uint64_t repairs;     /* shards rolled back after a death */
    uint64_t rebuilt;     /* shards made anew from their ground truth */
    uint64_t quarantined; /* shards found beyond repair */
    uint64_t poisoned;    /* connections cut off because their request killed workers */
    uint64_t handshakes;  /* of TLS */
    uint64_t handshakes_failed;
    uint64_t reloads; /* of the settings, the master's; and those that changed nothing */
    uint64_t reloads_failed;
    uint64_t restarts; /* workers that were replaced after their death, the master's */
    uint64_t rejected[LIMITS];
    uint64_t commands[COUNTERS_COMMANDS][COUNTERS_RESULTS];
    struct tally tally;
    uint64_t strangers_ended; /* to make room for others: see docs/internals/processes.md */
};

enum {
    HTTP_ROUTES = 40, /* of http/routes.def, and one for what is none of them; with room */
    HTTP_METHODS = 6,
    HTTP_STATUSES = 16,
};

/*
 * Requests of HTTP, by the program's table of routes. The HTTP worker's; not dumped, and set to zero
 * by a worker with another table: for whoever reads them that is a counter that begins anew.
 */
struct __attribute__((aligned(CACHE_LINE))) http_counters {
    uint64_t table; /* which one: a hash */
    uint64_t requests[HTTP_ROUTES][HTTP_METHODS][HTTP_STATUSES];
    uint64_t took[HTTP_ROUTES][HTTP_METHODS]; /* ns, of all statuses */
};

/* What region->stopping says. */
enum stopping {
    STOPPING_NOT = 0,
    STOPPING_END = 1,     /* the server ends, and the table with it */
    STOPPING_RESTART = 2, /* the server ends, the table stays for the next one */
};

/* How the slot's last worker ended, for its heir; see takeover.c. */
enum verdict_of_death { DIED_COUNTED = 0, DIED_KILLED = 1, DIED_CRASHED = 2 };

#define SERVING_EXECUTES (UINT32_C(1) << 31)

/* A worker as the others see it: by slot, not by pid. A replacement inherits the slot. */
struct __attribute__((aligned(LINES_APART))) worker_slot {
    /* Units of max-locks: see caps.h. One 8-byte word, `reserved` is its low half. */
    union {
        struct {
            uint32_t reserved;
            uint32_t done_seq;
        };
        uint64_t hand;
    } units;
    LAYOUT_SHIFT
    uint32_t unit_seq;
    uint32_t unit_give; /* the transfer in progress: 1 gives, 0 takes */
    uint32_t pid;
    uint32_t generation; /* counts its lives */
    uint32_t settled;    /* generation whose takeover is complete */
    uint64_t started;    /* BOOTTIME ns */
    uint64_t deaths;     /* of workers in this slot; the master's */
    /* Poison: the connection it is running (0 = none), how the one that ran it died (the master
       says), and the last generation that has dealt with both. */
    uint32_t serving; /* with SERVING_EXECUTES a request of it is being parsed or executed */
    uint32_t died;
    uint32_t counted;
    uint32_t http;    /* the master's: it is the one that serves HTTP */
    uint32_t suspect; /* the master's: it crashed, what it wrote to may be damaged */
    uint64_t fence_seen; /* its highest fence and one more: see region_mend_fences() */
    struct journal journal; /* of changes that touch no shard */

    /* What is above only its worker writes while it serves. What others write as well: */
    __attribute__((aligned(LINES_APART))) uint32_t unit_seen; /* atomic: the last transfer of this
                                                                 worker that somebody saw done */

    /* Wake-ups: see bell.h. All atomic. */
    __attribute__((aligned(LINES_APART))) uint64_t mask; /* shards with grants to tell */
    uint32_t parked;
    uint32_t bell;
    uint64_t beat; /* BOOTTIME ns of its last turn; atomic */
    uint32_t configured; /* atomic: generation of the settings that it serves with */

    __attribute__((aligned(LINES_APART))) struct counters counters;
};

/* What the fence writer is asked for: see fences.h. All atomic. */
struct __attribute__((aligned(CACHE_LINE))) fence_asks {
    uint64_t until; /* the latest end of a lease that somebody asked for */
    uint64_t limit; /* fence_limit for which somebody asked for more */
    uint64_t last;  /* with `leave`: when the last lease ends, TIME_NEVER = not known */
    uint32_t bell;  /* counts asks; the writer sleeps on it */
    uint32_t heard; /* the writer's: asks that it has dealt with */
    uint32_t leave; /* the master's: write down `last` and end */
};

struct region {
    char magic[8];
    uint32_t version;
    uint32_t ready; /* stored last, by region_create() */
    uint64_t fingerprint; /* of the layout and the libc's mutex */
    uint32_t dump_version; /* what its program writes for those who cannot share it: see dump.h */
    uint32_t reserved0;
    /* What is above lies there in every version: by it strangers know each other. */
    uint64_t size;
    struct geometry geo;
    uint64_t workers; /* offsets from the start of the region */
    uint64_t conns;
    uint64_t iobuf_owner; /* atomic; worker slot + 1 of each chunk of buffers, 0 = free */
    uint64_t iobufs;
    uint64_t bigbufs;
    uint32_t max_conns;
    uint32_t max_sessions; /* of HTTP: connection slots behind max_conns */
    uint32_t niobuf_chunks;
    struct siphash_key hash_key;
    uint64_t max_nodes; /* as region_create() was told; with the two above all places follow */
    uint64_t created; /* Unix ns; no fence was ever below */
    char boot_id[40];

    /* What is above never changes and is read-only for all: REGION_SEALED bytes. */
    __attribute__((aligned(REGION_SEALED))) uint64_t fence_next; /* atomic; each grant writes it */

    /* Read for each request, and hardly ever written. */
    __attribute__((aligned(LINES_APART))) uint64_t fence_limit; /* atomic */
    uint64_t promise_until; /* atomic; no lease may be promised beyond, BOOTTIME ns */
    uint64_t grants_from;   /* atomic; nothing is granted before, BOOTTIME ns: a cold start */
    uint32_t fences;        /* atomic; enum fences_state, see fences.h */
    uint32_t fences_turn;   /* atomic; counts changes of the words above */
    uint32_t draining; /* atomic; set once by the master */
    uint32_t nworkers; /* who takes connections and looks after shards; the master's. A worker
                          whose slot is not below it hands its connections over */
    uint32_t crashes;  /* atomic; counted before the next word is set */
    uint32_t stopping; /* atomic; the master's: a worker without a master ends, see enum stopping */
    LAYOUT_SHIFT
    uint64_t suspect;  /* atomic; shards to be validated before they are used: a worker crashed */
    uint64_t served_since; /* atomic; the master's: when it began, BOOTTIME ns */
    uint32_t units_kept; /* atomic; the master's: of max-locks, see caps.h */
    uint32_t nslots;     /* atomic; the master's: workers have slots below it, surplus ones too */

    /* Written for each new key. */
    __attribute__((aligned(LINES_APART))) uint64_t units; /* atomic: see caps.h */

    /* Written for each connection or session that comes or goes. */
    __attribute__((aligned(LINES_APART))) uint64_t nconns; /* atomic: open connections */
    uint64_t nsessions; /* atomic: HTTP sessions; the HTTP worker's */
    uint64_t conn_id_next; /* atomic: one counter for connections and sessions, from 1 */
    uint32_t bigbuf_owner[BIGBUF_COUNT]; /* atomic; connection slot, 0 = free */
    uint64_t tickets[32]; /* net/tickets.h: keys of TLS sessions */
    uint64_t down_since[WORKER_MAX];     /* atomic; BOOTTIME ns, 0 = serving */
    struct fence_asks asks;
    __attribute__((aligned(CACHE_LINE))) uint64_t offenders[OFFENDERS]; /* atomic: see
                                                                    serving/offenders.c */
    __attribute__((aligned(CACHE_LINE))) struct counters master; /* the master's */
    struct http_counters http;
    struct shard_mutex mutex[SHARD_COUNT];
};

struct region_limits {
    uint32_t max_locks;
    uint32_t max_conns;
    uint32_t max_sessions; /* 0 … REGION_SESSIONS_MAX */
    uint64_t max_nodes; /* 0 = derived */
};

/* Bytes the limits ask for; 0 when they are out of range. */
uint64_t region_size(const struct region_limits *limits);

/*
 * Makes and maps a region. Returns it, or NULL with a negative error in *err: -ERANGE (limits),
 * -ENOMEM (the mapping), or what memfd_create(2) or ftruncate(2) said. The mapping stays for the
 * life of the process and is inherited by fork(2).
 */
struct region *region_create(const struct region_limits *limits, int *err);
/* The same, and its memfd stays open: by it the region can be saved, see docs/internals/table.md. */
struct region *region_create_fd(const struct region_limits *limits, int *fd, int *err);
void region_destroy(struct region *r); /* for tests, and a start that failed */

/*
 * Maps the region of an earlier master, shared with whoever still has it. The errors are those of
 * region_load(); fd stays open.
 */
struct region *region_adopt(int fd, int *err);

/*
 * Maps a copy of a region that was saved to a file: what is done to it stays private. NULL with a
 * negative error in *err: -errno, -EINVAL (no region at all), -ENOEXEC (another version's or another
 * build's), -ENODATA (cut off, or never finished), -EUCLEAN (its places contradict its limits).
 */
struct region *region_load(int fd, int *err);
const char *region_error_text(int err); /* of either, for a person */

/*
 * Whether the file is a region that this program could share (0), or why not: as region_load() says,
 * or ERR_STALE (of an earlier boot). With -ENOEXEC *dump_version is what the region's own program
 * writes, if it is one that knows of dumps.
 */
int region_look(int fd, uint32_t *dump_version);

/* The table of an older region goes on in this one: so does its first fence. */
void region_inherit(struct region *r, uint64_t created);

uint64_t region_key_hash(const struct region *r, enum kind kind, const char *key, uint32_t len);

/*
 * After a crash, by the master: the next fence must be above all that were issued, whatever was
 * written over it. True when it had to be raised.
 */
bool region_mend_fences(struct region *r);

static inline char *region_base(struct region *r)
{
    return (char *)r;
}

static inline struct worker_slot *region_worker(struct region *r, uint32_t worker)
{
    return (struct worker_slot *)(region_base(r) + r->workers) + worker;
}

#endif
