/*
 * dflock.h - libdflock, the client library of dflockd: locks and semaphores held on a server.
 *
 * High level: a `dflock` is one lock or one semaphore slot. It finds its server, connects,
 * authenticates, keeps the lease renewed in the background and says when the lock is lost.
 *
 *     dflock *l = dflock_lock_new("my-key", NULL);
 *
 *     if (dflock_acquire(l) == DFLOCK_HELD) {
 *         work();
 *         dflock_release(l);
 *     }
 *     dflock_free(l);
 *
 * Low level: a `dflock_conn` is one connection; its calls are the commands of the protocol,
 * dflockd-protocol(7). Who uses it renews for himself.
 *
 * Both block, and both can be driven by an event loop of the caller's instead (…_fd, …_events,
 * …_timeout_ms, …_process).
 *
 * Errors: a call that can fail returns a negative enum dflock_error; dflock_error_text() says more,
 * in words, for the last failure in the calling thread. Nothing is ever printed, no signal is
 * touched or raised, the process is never ended.
 *
 * Threads: every function may be called from any thread at any time, on the same handle too, unless
 * it says otherwise. Two calls that block on one connection take turns; a second blocking call on one
 * `dflock` while the first is under way is DFLOCK_ERR_STATE. The library keeps one thread of its own
 * while any `dflock` is held that is not driven by an event loop. It blocks all signals.
 *
 * fork: a child must not use handles of its parent. All descriptors are close-on-exec.
 *
 * Times are in seconds. A timeout is a double >= 0, at most 9223372036, and may have a fraction; a
 * lease is a whole number. Clocks that are set do not matter, time asleep (suspend) counts.
 *
 * A key is 1 to 256 bytes without space, tab, LF, CR; a token 32 lower-case hex digits.
 * Each page of libdflock(3) has an example for each function.
 */
#ifndef DFLOCK_H
#define DFLOCK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* All else in the library is hidden. */
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

#define DFLOCK_VERSION "0.1.0"

/* The version of the library that runs, as DFLOCK_VERSION is that of this header. Static. */
const char *dflock_version(void);

/* What calls return when they succeed with more than one meaning. */
enum dflock_result {
    DFLOCK_TIMED_OUT = 0, /* not got within the timeout; nothing is held, no place is kept */
    DFLOCK_HELD = 1,
    DFLOCK_QUEUED = 2,  /* a place in the queue */
    DFLOCK_PENDING = 3, /* dflock_process: what was started is under way */
    DFLOCK_IDLE = 4     /* dflock_process: nothing is under way */
};

enum dflock_error {
    DFLOCK_ERR_TIMEOUT = -1,        /* low level: not got in time */
    DFLOCK_ERR_MAX_LOCKS = -2,      /* the server's table is full */
    DFLOCK_ERR_MAX_WAITERS = -3,    /* the key's queue is full */
    DFLOCK_ERR_LIMIT_MISMATCH = -4, /* others use this semaphore with another limit */
    DFLOCK_ERR_NOT_QUEUED = -5,     /* wait without enqueue */
    DFLOCK_ERR_ALREADY_QUEUED = -6, /* this connection has enqueued for this key already */
    DFLOCK_ERR_LEASE_EXPIRED = -7,  /* it was granted, and its lease ended before it was fetched or
                                       could be renewed */
    DFLOCK_ERR_AUTH = -8,           /* the server wants another secret, or one at all */
    DFLOCK_ERR_DRAINING = -9,       /* the server is about to stop */
    DFLOCK_ERR_SERVER = -10,        /* it answered "error"; a renew or release: the lock is not held */
    DFLOCK_ERR_PROTOCOL = -11,      /* it answered what no dflockd answers */
    DFLOCK_ERR_CONNECT = -12,       /* no connection, or it ended, or no answer in time */
    DFLOCK_ERR_TLS = -13,           /* a certificate, a handshake, a file for them */
    DFLOCK_ERR_CANCELLED = -14,     /* dflock_cancel(), dflock_conn_cancel() */
    DFLOCK_ERR_INVALID = -15,       /* an argument; nothing was sent */
    DFLOCK_ERR_STATE = -16,         /* not now: held already, not held, busy in another thread */
    DFLOCK_ERR_CLOSED = -17,        /* the handle was closed */
    DFLOCK_ERR_SYSTEM = -18         /* no memory, no descriptors, no thread */
};

/* What went wrong in this thread's last call that failed, or timed out: the call, what it was about,
   why. Valid until this thread's next call. "" if nothing has. Never NULL. */
const char *dflock_error_text(void);

/* The name of an error, such as "max_locks". Static; "unknown" for other numbers. */
const char *dflock_error_name(int error);

/* ---- Options: how to connect, and what locks are like ---------------------------------------- */

typedef struct dflock_options dflock_options;
typedef struct dflock dflock;
typedef struct dflock_conn dflock_conn;

/* The index of the server, 0 to n - 1, that a key belongs to; anything else makes the call fail. */
typedef size_t dflock_shard_fn(const char *key, size_t n, void *arg);

/*
 * The lock is lost: the server said so (DFLOCK_ERR_SERVER), or its lease has ended by this machine's
 * clock without a renewal (DFLOCK_ERR_LEASE_EXPIRED, or why the last try failed). Called once a loss,
 * in a thread of its own that blocks all signals (in dflock_process() for a handle driven by an event
 * loop), with nothing locked: it may call anything on the handle but dflock_free(). `text` is valid
 * during the call. Never called after dflock_release(), dflock_close() or dflock_free() has returned.
 */
typedef void dflock_renew_error_fn(dflock *l, int error, const char *text, void *arg);

/* Defaults. NULL if there is no memory. */
dflock_options *dflock_options_new(void);

/* A copy is taken by whoever is made with them: may be freed or changed at once. NULL is ignored. */
void dflock_options_free(dflock_options *o);

/* All return 0, or DFLOCK_ERR_INVALID (DFLOCK_ERR_SYSTEM without memory) and change nothing. */

/* "host:port", "[ipv6]:port" or "unix:/path"; several with commas: shards, in the order in which all
   clients have them. A host without port: 6388. Default "127.0.0.1:6388". */
int dflock_options_set_servers(dflock_options *o, const char *servers);
/* NULL: the default, CRC-32 of the key modulo n, as in the clients of all other languages. */
int dflock_options_set_shard(dflock_options *o, dflock_shard_fn *fn, void *arg);
/* How long dflock_acquire() waits. Default 10; 0 tries. */
int dflock_options_set_acquire_timeout(dflock_options *o, double seconds);
/* 1 to 9223372036; 0: the server's default, which is the default. */
int dflock_options_set_lease(dflock_options *o, uint64_t seconds);
/* Renew after ratio × lease (0 < ratio < 1, default 0.5), at most 15 s after the last time, and
   earlier by a random part of that, up to jitter of it (0 <= jitter < 1, default 0.1). */
int dflock_options_set_renew(dflock_options *o, double ratio, double jitter);
int dflock_options_set_on_renew_error(dflock_options *o, dflock_renew_error_fn *fn, void *arg);
/* For name look-up excepted, all of connecting: TCP, TLS, authentication. Default 10; > 0. It is
   also how long an answer that does not wait for anybody may take. */
int dflock_options_set_connect_timeout(dflock_options *o, double seconds);
/* The shared secret, 1 to 65,536 bytes without CR and LF; NULL: none. */
int dflock_options_set_auth_token(dflock_options *o, const char *token);
/* The same from the first line of a file, which is read now. */
int dflock_options_set_auth_token_file(dflock_options *o, const char *path);
/* 1: TLS, the server's certificate is checked against the system's authorities and its name. The
   other TLS options imply it. */
int dflock_options_set_tls(dflock_options *o, int on);
/* PEM file with the authorities to trust instead of the system's. It is read now, as are: */
int dflock_options_set_tls_ca_file(dflock_options *o, const char *path);
/* PEM files with a certificate (and its intermediates) and its key, to show to the server. */
int dflock_options_set_tls_client_cert(dflock_options *o, const char *cert, const char *key);
/* The name that the certificate must have. Default: the host of the address; "localhost" for a Unix
   socket. */
int dflock_options_set_tls_server_name(dflock_options *o, const char *name);
/* 1: any certificate will do. Who is in the middle reads and changes everything. */
int dflock_options_set_tls_insecure(dflock_options *o, int on);

/* ---- High level: a lock, or a slot of a semaphore -------------------------------------------- */

/* NULL if an argument is bad or there is no memory; dflock_error_text() says which. `o` NULL:
   defaults. Does not connect. */
dflock *dflock_lock_new(const char *key, const dflock_options *o);
/* limit: how many may hold it at a time, 1 to 1048576, the same for all its users. */
dflock *dflock_semaphore_new(const char *key, uint32_t limit, const dflock_options *o);

/* Closes, if need be (see dflock_close), waits for a callback that runs, frees. NULL is ignored. No
   other thread may be using the handle, and not from within its callback. */
void dflock_free(dflock *l);

/* DFLOCK_HELD, DFLOCK_TIMED_OUT, or an error. */
int dflock_acquire(dflock *l);

/* First phase: DFLOCK_HELD, or DFLOCK_QUEUED: a place in the queue which lasts as long as the
   connection. Errors as dflock_acquire(). */
int dflock_enqueue(dflock *l);
/* Second phase, after either: DFLOCK_HELD or DFLOCK_TIMED_OUT (the place is given up). The lease
   begins now. */
int dflock_wait(dflock *l, double timeout);

/*
 * Gives the lock back, or leaves the queue. 0, or: DFLOCK_ERR_STATE if neither is the case,
 * DFLOCK_ERR_SERVER or DFLOCK_ERR_LEASE_EXPIRED if the lock was lost, DFLOCK_ERR_CONNECT if the
 * server was not heard within 2 s: it will release when it sees the connection closed, or when the
 * lease ends. Whatever it returns, the handle is idle after it, and may acquire again.
 */
int dflock_release(dflock *l);

/* From another thread: the blocking call under way returns DFLOCK_ERR_CANCELLED soon; a grant that
   comes at that moment is given back. 0; DFLOCK_ERR_STATE if nothing blocks. */
int dflock_cancel(dflock *l);

/* Ends a blocking call as dflock_cancel() does, closes the connection, upon which the server releases
   what it held; every later call but dflock_free() is DFLOCK_ERR_CLOSED. Does not wait for the
   server. */
void dflock_close(dflock *l);

/* Acquires, calls fn, releases. DFLOCK_HELD if fn was called (*result, if not NULL, is what it
   returned), else as dflock_acquire(). That the lock was lost meanwhile is for the callback, and
   dflock_is_held() in fn. */
int dflock_with_lock(dflock *l, int (*fn)(dflock *l, void *arg), void *arg, int *result);

/* 1 while the lock is held: its lease has not ended by this machine's clock, counted from when it
   was asked for, and the server has not said otherwise. */
int dflock_is_held(const dflock *l);
/* Seconds until that can end without another renewal; 0 if not held. */
double dflock_lease_left(const dflock *l);
/* The token; "" without a grant. After a loss or a release it stays, until the next try.
   Owned by the handle: copy it if another thread may acquire. */
const char *dflock_token(const dflock *l);
/* Its fence, a number that grows with every grant of the server; 0 without one. */
uint64_t dflock_fence(const dflock *l);
/* The lease in seconds as granted; 0 without a grant. */
uint64_t dflock_lease(const dflock *l);
const char *dflock_key(const dflock *l);
/* The address of the key's server, as configured. */
const char *dflock_server(const dflock *l);

/* The fence of any token; 0 if it is none. */
uint64_t dflock_token_fence(const char *token);

/* CRC-32 (IEEE, as zlib's) of the key modulo n: the default shard function. */
size_t dflock_shard_crc32(const char *key, size_t n, void *unused);

/*
 * An event loop instead of blocking. Start one, then poll(2) dflock_fd() for dflock_events(), for at
 * most dflock_timeout_ms(), and call dflock_process() whatever poll said; all three may be different
 * after each call. While held, go on with that: renewals happen in dflock_process(). A handle is
 * driven or blocking, from its first use: the other kind of call is DFLOCK_ERR_STATE. A handle is
 * driven by one thread at a time.
 *
 * Starting looks host names up, which may block; numeric addresses do not.
 */
int dflock_start_acquire(dflock *l); /* 0 or an error, like all of these */
int dflock_start_enqueue(dflock *l);
int dflock_start_wait(dflock *l, double timeout);
int dflock_start_release(dflock *l);

/* -1: none just now, only dflock_timeout_ms() counts. Not to be read, written or closed. */
int dflock_fd(const dflock *l);
/* POLLIN, POLLOUT or both. */
int dflock_events(const dflock *l);
/* Until dflock_process() has to be called at the latest; -1: only when there is an event. */
int dflock_timeout_ms(const dflock *l);
/* Never blocks. What was started has ended: its result, once (dflock_start_release: 0 is
   DFLOCK_TIMED_OUT's number, and success). Otherwise DFLOCK_PENDING, DFLOCK_IDLE, or, once, the error
   by which a held lock was lost; then the callback has been called, too. */
int dflock_process(dflock *l);

/* ---- Low level: one connection -------------------------------------------------------------- */

struct dflock_grant {
    char token[33];
    uint64_t fence;
    uint64_t lease; /* seconds */
};

/* Connects, with TLS and authentication if the options have them, to one address in the form of
   dflock_options_set_servers(); of the options only those that are about connecting count. 0 or an
   error, and *out is NULL. */
int dflock_dial(dflock_conn **out, const char *address, const dflock_options *o);

/* Closes the connection, upon which the server releases what it held; later calls are
   DFLOCK_ERR_CLOSED. */
void dflock_conn_close(dflock_conn *c);
/* Closes if need be. NULL is ignored. No other thread may be using it. */
void dflock_conn_free(dflock_conn *c);

/* From another thread: the call that blocks returns DFLOCK_ERR_CANCELLED; the connection is closed,
   and with it all that it held. */
int dflock_conn_cancel(dflock_conn *c);

/*
 * One command each: 0 or an error. After DFLOCK_ERR_CONNECT, DFLOCK_ERR_PROTOCOL and
 * DFLOCK_ERR_CANCELLED the connection is closed; so it is after DFLOCK_ERR_TIMEOUT of a timeout with a
 * fraction, which the server does not know: it is told the next whole second.
 * lease 0: the server's default.
 */
int dflock_conn_authenticate(dflock_conn *c, const char *token);
int dflock_conn_acquire(dflock_conn *c, const char *key, double timeout, uint64_t lease,
                        struct dflock_grant *grant);
int dflock_conn_release(dflock_conn *c, const char *key, const char *token);
/* *left, if not NULL: the new lease in seconds. */
int dflock_conn_renew(dflock_conn *c, const char *key, const char *token, uint64_t lease,
                      uint64_t *left);
/* DFLOCK_HELD and *grant, DFLOCK_QUEUED, or an error. */
int dflock_conn_enqueue(dflock_conn *c, const char *key, uint64_t lease,
                        struct dflock_grant *grant);
int dflock_conn_wait(dflock_conn *c, const char *key, double timeout, struct dflock_grant *grant);

int dflock_conn_sem_acquire(dflock_conn *c, const char *key, double timeout, uint32_t limit,
                            uint64_t lease, struct dflock_grant *grant);
int dflock_conn_sem_release(dflock_conn *c, const char *key, const char *token);
int dflock_conn_sem_renew(dflock_conn *c, const char *key, const char *token, uint64_t lease,
                          uint64_t *left);
int dflock_conn_sem_enqueue(dflock_conn *c, const char *key, uint32_t limit, uint64_t lease,
                            struct dflock_grant *grant);
int dflock_conn_sem_wait(dflock_conn *c, const char *key, double timeout,
                         struct dflock_grant *grant);

int dflock_conn_ping(dflock_conn *c);

/* *json: what the server says (dflockd-protocol(7)), NUL-terminated, at most 64 MiB; owned by the
   connection and valid until the next call on it. *len, if not NULL, its length. */
int dflock_conn_stats(dflock_conn *c, const char **json, size_t *len);
/* Keys with this prefix ("" or "*": all), a page; cursor NULL begins, then what the page before said. */
int dflock_conn_list(dflock_conn *c, const char *prefix, const char *cursor, const char **json,
                     size_t *len);
enum dflock_kind { DFLOCK_LOCK = 1, DFLOCK_SEMAPHORE = 2 };
/* DFLOCK_ERR_SERVER: there is no such key. */
int dflock_conn_show(dflock_conn *c, const char *key, enum dflock_kind kind, const char **json,
                     size_t *len);
/* Takes the lock from its holder, with fence 0 whoever that is. The connection must be authenticated
   with the server's admin token; DFLOCK_ERR_SERVER: it is not, or there is no such holder. */
int dflock_conn_evict(dflock_conn *c, const char *key, enum dflock_kind kind, uint64_t fence);

/*
 * An event loop, and pipelining: begin, submit any number of requests, poll as with dflock_fd(),
 * process, and take the replies, which come in the order of the requests. A request is sent by
 * dflock_conn_process(). Not together with the blocking calls while replies are outstanding
 * (DFLOCK_ERR_STATE).
 */
int dflock_dial_start(dflock_conn **out, const char *address, const dflock_options *o);
/* The three lines of a request, without their LF; no line is longer than 256 bytes or has CR, LF or
   NUL in it (DFLOCK_ERR_INVALID). Fields are not checked otherwise. */
int dflock_conn_submit(dflock_conn *c, const char *command, const char *key, const char *arg);

struct dflock_reply {
    int status;       /* 0, DFLOCK_HELD ("acquired"), DFLOCK_QUEUED, or an enum dflock_error:
                         DFLOCK_ERR_TIMEOUT to DFLOCK_ERR_PROTOCOL, what the server said */
    uint64_t seconds; /* a grant's lease, a renewal's new one; else 0 */
    char token[33];   /* a grant's; else "" */
    const char *text; /* the whole line, NUL-terminated, valid until the next call on c */
    size_t len;
};
/* 1 and *reply, 0: none has come, or why there will be none: DFLOCK_ERR_CONNECT, _TLS, _AUTH …. */
int dflock_conn_next(dflock_conn *c, struct dflock_reply *reply);

int dflock_conn_fd(const dflock_conn *c);
int dflock_conn_events(const dflock_conn *c);
int dflock_conn_timeout_ms(const dflock_conn *c);
/* 0, or why the connection has ended; replies that came before can still be taken. Never blocks. */
int dflock_conn_process(dflock_conn *c);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
