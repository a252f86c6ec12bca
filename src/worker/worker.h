/*
 * worker/worker.h - one lock worker: what its files share.
 *
 * Everything here is private memory and can be lost at any instruction; what must survive is in
 * the connection slots and the table, in the region.
 *
 *   loop     epoll, the order of a turn           timers   deadlines of connections
 *   conn     a connection's states                transfer bytes between sockets and rings
 *   session  request → table → reply              deliver  grants made by others
 *   expire   leases and idle resources            takeover what a predecessor left
 *   inquest  what it died of                      orphan   when the master is dead
 *   adjust   other settings                       handover connections that go to another worker
 *   job      long answers: who asked (serving/report.h has what they say)
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "base/num.h"
#include "config/settings.h"
#include "net/stream.h"
#include "proto/request.h"
#include "serving/lifeline.h"
#include "shm/conns.h"
#include "shm/heritage.h"
#include "shm/shared.h"

/* A connection as this process sees it; by slot. */
struct peer {
    struct stream stream; /* without a socket: not here */
    uint32_t timer_pos; /* in the heap, + 1; 0 = not in it */
    uint64_t timer_due;
    int unacked; /* bytes in the send queue when a write last found it full, or looked again */
    /* Edge-triggered: what epoll said and no call has refuted since. */
    bool readable, writable;
    bool rdhup; /* FIN seen by epoll */
    bool hup;   /* both ways shut, or reset */
    bool eof;   /* recv said so */
    bool dead;  /* reset, or an error */
    uint8_t queued; /* where it waits for its turn: a bit for each enum queue */
    uint64_t greedy_until; /* it asked for more than a turn's share just before */
};

/* Connections that are to be run, first come first. */
enum queue {
    QUEUE_READY,   /* something may go on */
    QUEUE_GREEDY,  /* the same, of those that ask for more than their share of a turn */
    QUEUE_LEAVING, /* its client has gone */
    QUEUE_SENDING, /* a long answer goes on, and its socket has room */
    QUEUES,
};

struct queues {
    uint32_t slots; /* of the region, and one more */
    struct queue_ring {
        uint32_t *slot;
        uint32_t head, n;
        uint64_t taken; /* ever */
    } queue[QUEUES];
};

struct timers {
    uint32_t *heap; /* slots, earliest first */
    uint32_t n;
};

struct job;
struct ssl_ctx_st;

/* A connection that asked for a long answer; its slot may be somebody else's by now. */
struct asker {
    uint32_t slot;
    uint64_t id;
};

struct jobs {
    struct job *active;
    struct asker *queue; /* those that no job serves yet, first come first */
    uint32_t n, room;
    unsigned users[HERITAGE_DOCS]; /* connections being sent each document */
    uint64_t made[HERITAGE_DOCS];
};

struct worker {
    const struct heritage *heritage;
    const struct settings *settings;
    struct ssl_ctx_st *tls; /* of handshakes to come; NULL: new connections are plain */
    struct region *r;
    struct shared sh;
    struct iobufs bufs;
    struct peer *peers; /* by slot */
    struct timers timers;
    struct jobs jobs;
    struct queues queues;
    unsigned budget; /* requests of one connection in this turn: others wait */
    unsigned served; /* requests of all in this turn */
    bool piece; /* the connection that runs now may send one of its long answer */
    struct channel_message closed; /* not yet told to the master */
    struct lifeline life; /* to the master */
    uint64_t now; /* BOOTTIME ns of this turn, refreshed for each connection */
    uint64_t read_timeout, write_timeout, default_lease, max_lease; /* ns */
    uint64_t next_gc;
    uint64_t next_tick;
    /* This turn: what had come by then is served before its expiry, but for what those who ask without
       end have sent beyond their share. */
    uint64_t began;
    bool catches_up; /* it is marked as silent: until as many have been taken from the queues */
    uint64_t caught_up[QUEUES];
    uint64_t expire_at; /* nothing to do in expire_turn() before */
    uint64_t handover_at; /* TIME_NEVER: this worker is not surplus */
    int events;           /* of the last turn */
    unsigned asked;       /* of them, of connections that ask for something, it seems */
    unsigned crowd;       /* turns for which many clients are taken to ask */
    struct settings *own_settings; /* after a reload: w->settings, to be freed with the next */
    int new_settings; /* a memfd that came by the channel, 0 = none */
    uint32_t new_generation;
    int epfd, efd;
    bool draining;
    bool deaf;    /* no master, and where the next one calls, or speaks, could not be watched */
    bool starved; /* some connection found no buffer, or nothing could be promised to it */
    uint32_t fences_turn; /* of the region, as last seen */
    char *scratch; /* REQUEST_AUTH_BYTES_MAX bytes */
};

/* epoll data of what is not a connection: slot 0. */
enum { SOURCE_BELL = 1, SOURCE_CHANNEL = 2, SOURCE_RENDEZVOUS = 3 };

/* loop.c: the process's whole life; returns its exit status. */
int worker_run(const struct heritage *heritage);
void loop_times(struct worker *w); /* what it keeps of the settings in ns */
bool loop_watch(struct worker *w, int fd, uint32_t source);
void loop_ready(struct worker *w, uint32_t slot); /* run this connection again in the next turn */
void loop_tell_closed(struct worker *w, uint32_t slot);
void loop_flush_closed(struct worker *w);
/* The socket cannot be had now: the master, which has a duplicate, hands it over again. */
void loop_return(struct worker *w, uint32_t slot);

/* queues.c */
int queues_init(struct queues *q, uint32_t slots);
void queues_put(struct worker *w, enum queue which, uint32_t slot); /* unless it is there already */
uint32_t queues_take(struct worker *w, enum queue which); /* the first, or 0 */

static inline uint32_t queues_length(const struct worker *w, enum queue which)
{
    return w->queues.queue[which].n;
}

static inline bool queues_has(const struct worker *w, enum queue which, uint32_t slot)
{
    return w->peers[slot].queued >> which & 1;
}

/* timers.c */
int timers_init(struct timers *t, uint32_t slots);
void timers_set(struct worker *w, uint32_t slot, uint64_t due); /* never moves to a later time */
void timers_remove(struct worker *w, uint32_t slot);
uint32_t timers_pop(struct worker *w); /* a slot that is due at w->now, or 0 */
uint64_t timers_next(const struct worker *w);

/* conn.c */
/* `look`: something may be there to read already, so do not wait for epoll to say so. */
void conn_adopt(struct worker *w, uint32_t slot, int fd, bool look);
void conn_note(struct worker *w, uint32_t slot, uint32_t events);
void conn_run(struct worker *w, uint32_t slot);
void conn_timeout(struct worker *w, uint32_t slot);
void conn_drop(struct worker *w, uint32_t slot, const char *why);
/* It ends by the server's fault: what it holds is kept to the end of its leases. */
void conn_lost(struct worker *w, uint32_t slot, const char *why);
/* A CONN_ORPHANED slot, which has no socket here: the same, step by step in this turn and the next. */
void conn_orphan(struct worker *w, uint32_t slot);
/* Consumes, answers and ends the connection: `error`, or `error_auth` to who has not authenticated,
   and that later if its address has failed often. `code` is a request_error, or 0; `why`, for the log,
   may be NULL with one. */
void conn_fail(struct worker *w, uint32_t slot, enum request_row row, int code, const char *why,
               uint64_t consumed);
/* Others wait: ends it if it is a stranger that has been silent for STRANGER_SILENT_NS. */
void conn_make_room(struct worker *w, uint32_t slot);
/* The last reply has been written: send it, then close. */
void conn_last(struct worker *w, uint32_t slot);
void conn_give_up(struct worker *w, uint32_t shard); /* it is lost: who waits there hears `error` */
void conn_drain(struct worker *w); /* the server is ending: blocked waits end with `error` */

/* session.c: serves one whole request of a connection in PHASE_READY. False: it must wait for a
   fence, or for a lease that long, to be written down, and is to be served again. */
bool session_serve(struct worker *w, uint32_t slot, const struct request *req);
/* Answers a request that was not understood; `req->consumed` bytes go. */
void session_bad(struct worker *w, uint32_t slot, const struct request *req);
/* A blocked request's time is up, or (draining) all waits end. */
void session_unblock(struct worker *w, uint32_t slot, bool draining);
/* Counts and logs it, and takes a comparison's time. */
void session_refuse_stranger(struct worker *w, uint32_t slot, const char *why);
/* Overwrites what was read and served: it may have been a secret. */
void session_scrub(struct worker *w, uint32_t slot);
bool session_must_authenticate(const struct worker *w, const struct conn *c);
/* Consumes and answers in one transaction of journal j. */
void session_answer(struct worker *w, struct journal *j, struct conn *c, uint64_t consumed,
                    const char *reply, size_t n);
/* One transaction of the worker's own journal: consumes, answers with a bare word. */
void session_word(struct worker *w, struct conn *c, const struct request *req, int reply);
/* A request has been answered. */
static inline void session_count(struct worker *w, enum request_row row, int reply)
{
    tally_add(&w->sh.slot->counters.commands[row][reply], 1);
}
/* What waits by this node, whose shard is locked. */
enum request_row session_blocked_row(const struct worker *w, uint32_t shard, uint32_t node);
/* ok/acquired TOKEN LEASE for a grant; returns the length. */
size_t session_grant_text(char *buf, int reply, const struct grant *g);

/* deliver.c: grants to connections of this worker, in the shards of `mask`. */
void deliver_shards(struct worker *w, uint64_t mask);

/* expire.c */
void expire_starved(struct worker *w); /* its shards: more may be promised now */
void expire_turn(struct worker *w); /* leases of its shards; call each turn, free until expire_at */

/* job.c: stats, list, show. */
int jobs_init(struct jobs *j, uint32_t slots);
void job_request(struct worker *w, uint32_t slot); /* enters PHASE_JOB */
bool job_turn(struct worker *w);                   /* one bounded step; true: there is more to do */
void job_stream_done(struct worker *w, uint32_t slot); /* sent whole: PHASE_READY again */
void job_release_doc(struct worker *w, uint32_t slot); /* the connection closes meanwhile */
void job_adopt(struct worker *w, uint32_t slot); /* a successor counts a document's users */
int job_doc_fd(const struct worker *w, uint32_t doc);

/* inquest.c, the heir's: who the slot's last worker died of, and what it may have damaged. */
void inquest_count(struct worker *w);
/* What this worker runs from here on, for its heir's inquest: a connection's slot, 0 = nothing; with
   SERVING_EXECUTES a request of it is being parsed or executed. */
static inline void inquest_name(struct worker *w, uint32_t slot)
{
#ifndef UNGUARDED
    *(volatile uint32_t *)&w->sh.slot->serving = slot;
#else
    (void)w, (void)slot;
#endif
}
void inquest_cut_off(struct worker *w, uint32_t slot); /* if it is poison: PHASE_DROP */
void inquest_mend(struct worker *w, uint32_t slot); /* after a crash, before its rings are used */

/* adjust.c */
void adjust_came(struct worker *w, int fd, uint32_t generation);
void adjust_turn(struct worker *w); /* between two turns: what came takes effect */

/* handover.c: while this worker is surplus, what it serves goes to others; each turn. */
void handover_turn(struct worker *w);
/* A connection that is about to be watched may have been another worker's. False: not now. */
bool handover_take(struct worker *w, uint32_t slot);
/* orphan.c */
bool orphan_begin(struct worker *w); /* the master is gone; false: this worker ends too */
void orphan_attend(struct worker *w); /* watches for the next master; each turn while w->deaf */
void orphan_answer(struct worker *w); /* somebody is at the rendezvous */
void orphan_tell(struct worker *w);   /* each turn while lifeline_telling() */

/* takeover.c: adopts what the slot's last worker left. 0 or a negative error. */
int takeover(struct worker *w);
void takeover_orphans(struct worker *w); /* the master has made some of its slots CONN_ORPHANED */
/* This worker itself did not run for `gap` ns: its connections' leases are extended by that. */
void takeover_after_silence(struct worker *w, uint64_t gap);

#endif
