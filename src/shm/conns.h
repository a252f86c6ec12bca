/*
 * shm/conns.h - connection slots and their buffers.
 *
 * A connection is what its slot says; the process that serves it keeps nothing that it cannot
 * lose. Slot 0 is unused. The slot's number is also its owner number in the lock table.
 *
 * The rings have absolute byte counts: in_tail is what was received from the peer since the
 * connection began, in_head what requests have consumed, out_tail what replies were written,
 * out_head what the kernel has taken. A ring's place in memory is the count modulo its size. An
 * idle connection has no buffer: it is attached when bytes come and detached when both rings are
 * empty, so that few buffers, warm in the cache, serve many connections.
 *
 * The slots behind r->max_conns are HTTP sessions: connections without a socket, made and freed by
 * the HTTP worker, never by the master. Of the fields below they use who and when, `blocked…` of a
 * long poll, `enqueues` and the id.
 */
#ifndef SHM_CONNS_H
#define SHM_CONNS_H

#include "shm/region.h"

enum conn_state {
    CONN_FREE = 0,
    CONN_OPEN = 1,   /* a worker's */
    CONN_CLOSED = 2, /* the worker is done; the master frees the slot */
    CONN_RETURNED = 3, /* the worker has closed its copy of the socket, or could not take it; the
                          master hands it over again, perhaps to another */
    CONN_ORPHANED = 4, /* its socket is gone by the server's fault, the master says; its worker's heir
                          deals with its things in the table: held slots are kept */
};

/* What the connection is doing; worker/conn.c has the table of what may follow what. */
enum conn_phase {
    PHASE_READY = 0, /* reads and serves requests */
    PHASE_BLOCKED,   /* a request waits for a grant: conn->blocked */
    PHASE_JOB,       /* a long answer is being built; its request is still in the ring */
    PHASE_STREAM,    /* a long answer is being sent from a document */
    PHASE_SKIP,      /* discarding an over-long line */
    PHASE_LAST,      /* the last answer is on its way out; then close */
    PHASE_PENALTY,   /* answered; closes at close_at, discards what comes */
    PHASE_DROP,      /* gone; its things in the table are being dealt with */
    PHASE_LATE,      /* refused; says so at close_at, discards what comes */
};

enum conn_flag {
    CONN_AUTHENTICATED = 1,
    CONN_ADMIN = 2,
    CONN_HALF_CLOSED = 4, /* the peer has sent FIN */
    CONN_LOST = 8,        /* it ends by the server's fault: its slots are kept */
    CONN_DROPPED = 16,    /* its things in the table are dealt with */
    CONN_TUNED = 32,      /* its socket has the options of stream_tune() */
    CONN_TLS = 64,        /* served over TLS: no heir can go on with it. Set before its first byte */
    CONN_ADMITTED = 128,  /* it came when no secret was configured: none is asked of it later */
};

/* A stranger is who has to authenticate and has not. One that has said nothing at all for so long
   since it was accepted may have to make room for others. */
#define STRANGER_SILENT_NS UINT64_C(1000000000)

struct conn {
    LAYOUT_SHIFT
    uint64_t id; /* never reused; 0 in a free slot */
    uint32_t worker;
    uint8_t state;
    uint8_t phase;
    uint8_t flags;
    uint8_t family; /* AF_INET, AF_INET6, AF_UNIX */
    uint64_t in_head, in_tail;
    uint64_t out_head, out_tail;
    uint32_t iobuf;  /* buffer + 1, 0 = none */
    uint32_t bigbuf; /* input ring while an `auth` line is long, + 1 */
    uint32_t blocked; /* node */
    uint32_t blocked_shard;
    uint64_t blocked_since; /* BOOTTIME ns, as all times here */
    uint64_t blocked_until; /* TIME_NEVER after saturation */
    /* An incomplete request began to arrive, or a stranger's handshake; 0 = none. Of a session: its
       idle time was put off then, and its client has not been heard since; 0 = it has. */
    uint64_t request_since;
    uint64_t idle_since;
    uint64_t write_since; /* output has not moved since; 0 = none pending */
    uint64_t close_at;    /* PHASE_PENALTY, PHASE_LATE */
    uint64_t accepted;
    uint64_t doc_pos; /* PHASE_STREAM: sent so far, and in all */
    uint64_t doc_len;
    uint32_t doc;     /* which document of the worker, + 1 */
    uint16_t port;
    uint16_t enqueues; /* `e` and `se` served, saturating: how many tombstones there may be */
    uint8_t addr[16];
    uint32_t in_call; /* a Unix socket's recv or send is between the call and its record */
    uint8_t deaths;   /* of workers while they executed the request at blamed_at, */
    uint8_t crashes;  /* and how many of them were crashes; see worker/inquest.c */
    uint16_t reserved0;
    uint64_t blamed_at; /* in_head of that request + 1; 0 = none */
    uint64_t session_high, session_low; /* the id of an HTTP session, random; both 0: a connection */
};

/*
 * Who looks at a slot that may be another's looks at its state first: what was stored before it is
 * seen from then on. Id, worker and buffer may change even so, when the slot is given to another
 * connection: whole words.
 */
static inline uint8_t conns_state(const struct conn *c)
{
    return __atomic_load_n(&c->state, __ATOMIC_ACQUIRE);
}

static inline bool conns_is_of(const struct conn *c, uint32_t worker)
{
    return __atomic_load_n(&c->worker, __ATOMIC_RELAXED) == worker;
}

static inline struct conn *conns_slot(struct region *r, uint32_t slot)
{
    return (struct conn *)(region_base(r) + r->conns) + slot;
}

static inline char *conns_in(struct region *r, const struct conn *c)
{
    if (c->bigbuf)
        return region_base(r) + r->bigbufs + (uint64_t)(c->bigbuf - 1) * BIGBUF_SIZE;
    return region_base(r) + r->iobufs + (uint64_t)(c->iobuf - 1) * (IOBUF_IN + IOBUF_OUT);
}

static inline uint32_t conns_in_size(const struct conn *c)
{
    return c->bigbuf ? BIGBUF_SIZE : IOBUF_IN;
}

static inline char *conns_out(struct region *r, const struct conn *c)
{
    return region_base(r) + r->iobufs + (uint64_t)(c->iobuf - 1) * (IOBUF_IN + IOBUF_OUT) +
           IOBUF_IN;
}

static inline uint32_t conns_in_used(const struct conn *c)
{
    return (uint32_t)(c->in_tail - c->in_head);
}

static inline uint32_t conns_out_used(const struct conn *c)
{
    return (uint32_t)(c->out_tail - c->out_head);
}

static inline uint32_t conns_out_free(const struct conn *c)
{
    return IOBUF_OUT - conns_out_used(c);
}

/* Copies a reply into the output ring beyond out_tail: invisible until the caller moves out_tail.
   The caller made sure that it fits. */
void conns_put(struct region *r, struct conn *c, const char *bytes, uint32_t n);

/*
 * One contiguous view of at most `max` unconsumed input bytes; when they wrap around the ring's
 * end they are copied to `scratch` (of max bytes). Returns its length.
 */
uint32_t conns_view(struct region *r, const struct conn *c, char *scratch, uint32_t max,
                    const char **view);

/* The master's, and for sessions the HTTP worker's: makes a free slot, which says who it is (address,
   session), an open connection of `worker`, or frees a closed one. */
void conns_open(struct region *r, uint32_t slot, uint64_t id, uint32_t worker, uint64_t now);
void conns_free(struct region *r, uint32_t slot);

/* False: what the slot says cannot be true, it was written over. Its owner's slot agrees, too. */
bool conns_possible(struct region *r, uint32_t slot);
/* Such a connection is given up, its slots are kept: nothing is known of its stream any more. */
void conns_give_up(struct region *r, uint32_t slot);

/* "192.0.2.7:4711", "[2001:db8::7]:4711", "unix": for logs and people. */
const char *conns_peer_text(const struct conn *c, char *buf, size_t n);

/*
 * A worker's free buffers. Private memory, made from the region: what the worker's chunks have and
 * no connection of its uses.
 */
struct iobufs {
    struct region *r;
    uint32_t worker;
    uint32_t *free; /* stack */
    uint32_t nfree;
    bool lent; /* connections that were handed over may have used buffers of this worker */
};

int iobufs_init(struct iobufs *b, struct region *r, uint32_t worker); /* 0 or -ENOMEM */
void iobufs_destroy(struct iobufs *b);

/*
 * False when there is none: leave the bytes in the socket and come back. A connection that another
 * worker handed over keeps that worker's buffer until both rings are empty; detaching it then is all
 * that is done, its owner finds it when it looks for free ones.
 */
bool iobufs_attach(struct iobufs *b, struct conn *c);
void iobufs_detach(struct iobufs *b, struct conn *c);

/* The master's: a worker that is gone for good leaves its chunks to others, as soon as no connection
   uses them. 1, 0 if some are used still, or a negative error. */
int iobufs_disown(struct region *r, uint32_t worker);

/* Moves the input ring to a big buffer; false when all are in use. */
bool conns_grow(struct region *r, uint32_t slot);
/* Wipes and returns the big buffer; what is unconsumed moves back to the small ring, where the
   caller made sure that it fits. */
void conns_shrink(struct region *r, uint32_t slot);

#endif
