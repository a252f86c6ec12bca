/*
 * worker/conn.c - a connection's states.
 *
 *   phase     reads            serves             leaves for
 *   READY     into the ring    whole requests     BLOCKED, JOB, SKIP, LAST, LATE, DROP
 *   BLOCKED   no               no                 READY (grant, timeout), DROP (client gone)
 *   JOB       no               no                 READY, STREAM, DROP
 *   STREAM    no               no                 READY, DROP
 *   SKIP      and discards     no                 LAST, LATE
 *   LATE      and discards     no                 LAST, DROP
 *   LAST      no               no                 PENALTY, closed, DROP
 *   PENALTY   and discards     no                 closed
 *   DROP      no               no                 closed
 * What is not in the table's last column traps in enter(). conn_run() drives a connection until
 * nothing moves; events, timers, grants and finished jobs only say that it is worth running it.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/point.h"
#include "net/tls.h"
#include "proto/reply.h"
#include "serving/holdings.h"
#include "serving/offenders.h"
#include "worker/transfer.h"
#include "worker/worker.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HALF_CLOSE_NS UINT64_C(250000000) /* semantics.md: a FIN within 250 ms is a half-close */
#define LOOK_NS UINT64_C(10000000)        /* the kernel is asked, and the clock, in less */
#define PENALTY_NS UINT64_C(100000000)    /* protocol.md, "Authentication" */
#define ATTACH_AGAIN_NS UINT64_C(20000000) /* when no buffer was free */
#define AUTHENTICATE_NS UINT64_C(5000000000) /* since it was accepted, the handshake included */
#define GREEDY_NS UINT64_C(100000000) /* for so long its requests come after those of others */
#define LINGER_NS UINT64_C(1000000000)    /* how long the last answer may need to be read */

#define BIT(phase) (1u << (phase))
static const unsigned may_follow[] = {
    [PHASE_READY] = BIT(PHASE_BLOCKED) | BIT(PHASE_JOB) | BIT(PHASE_SKIP) | BIT(PHASE_LAST) |
                    BIT(PHASE_LATE) | BIT(PHASE_DROP),
    [PHASE_BLOCKED] = BIT(PHASE_READY) | BIT(PHASE_DROP),
    [PHASE_JOB] = BIT(PHASE_READY) | BIT(PHASE_STREAM) | BIT(PHASE_DROP),
    [PHASE_STREAM] = BIT(PHASE_READY) | BIT(PHASE_DROP),
    [PHASE_SKIP] = BIT(PHASE_LAST) | BIT(PHASE_LATE) | BIT(PHASE_DROP),
    [PHASE_LATE] = BIT(PHASE_LAST) | BIT(PHASE_DROP),
    [PHASE_LAST] = BIT(PHASE_PENALTY) | BIT(PHASE_DROP),
    [PHASE_PENALTY] = BIT(PHASE_DROP),
    [PHASE_DROP] = 0,
};

static void enter(struct conn *c, unsigned phase)
{
    if (!(may_follow[c->phase] & BIT(phase)))
        __builtin_trap();
    *(volatile uint8_t *)&c->phase = (uint8_t)phase;
}

void conn_adopt(struct worker *w, uint32_t slot, int fd, bool look)
{
    struct peer *p = &w->peers[slot];
    struct conn *c = conns_slot(w->r, slot);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                             .data.u64 = (uint64_t)slot << 32 | (uint32_t)c->id};
    uint8_t queued = p->queued;
    int err = 0;

    memset(p, 0, sizeof(*p));
    p->queued = queued; /* the queues have slots, whoever's they are */
    p->readable = look; /* whatever is there already is an edge of the watch that begins now */
    p->writable = true;
    if (c->family != AF_UNIX && !(c->flags & CONN_TUNED)) {
        stream_tune(fd); /* options are the socket's: heirs find them */
        c->flags |= w->tls ? CONN_TUNED | CONN_TLS : CONN_TUNED;
    }
    if (w->settings->auth_token.count == 0)
        c->flags |= CONN_ADMITTED;
    if (c->flags & CONN_TLS)
        err = tls_open(&p->stream, fd, w->tls);
    else
        stream_plain(&p->stream, fd);
    if (err || !handover_take(w, slot) ||
        SYS(CONN_WATCH, epoll_ctl(w->epfd, EPOLL_CTL_ADD, fd, &ev)) < 0) {
        if (!err)
            p->stream.ops->abandon(&p->stream);
        p->stream.fd = 0;
        SYS(CONN_GIVE_UP, close(fd));
        loop_return(w, slot);
        return;
    }
    conn_run(w, slot);
}

/* Nothing to read or write is left: the buffer goes back. */
static void detach(struct worker *w, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);
    bool guarded = w->settings->auth_token.count > 0 || w->settings->admin_token.count > 0;

    /* A whole `auth` was overwritten when it was served; what ended in the middle was not. */
    if (guarded && (w->peers[slot].eof || w->peers[slot].dead || c->phase > PHASE_STREAM ||
                    session_must_authenticate(w, c)))
        session_scrub(w, slot);
    iobufs_detach(&w->bufs, c);
}

static void hang_up(struct worker *w, uint32_t slot)
{
    struct peer *p = &w->peers[slot];

    /* Who only looks whether the port is open has not begun one. */
    if (!p->stream.open && (p->stream.begun || p->stream.fault))
        tally_add(&w->sh.slot->counters.handshakes_failed, 1);
    /* In this order: a description that the master still holds would stay in the epoll set. */
    SYS(CONN_UNWATCH, epoll_ctl(w->epfd, EPOLL_CTL_DEL, p->stream.fd, NULL));
    p->stream.ops->close(&p->stream);
}

/* The slot goes back to the master. */
static void give_back(struct worker *w, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);

    timers_remove(w, slot);
    if (c->doc)
        job_release_doc(w, slot);
    c->in_head = c->in_tail;
    conns_shrink(w->r, slot);
    detach(w, slot);
    POINT(CONN_DONE);
    __atomic_store_n(&c->state, CONN_CLOSED, __ATOMIC_RELEASE);
    POINT(CONN_GIVEN);
    loop_tell_closed(w, slot);
}

/* Takes a leaving connection's things out of the table, in bounded turns. True: nothing is left. */
static bool leave_table(struct worker *w, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);
    bool kept = (c->flags & CONN_LOST) != 0;

    if (c->flags & CONN_DROPPED)
        return true;
    if (!holdings_drop(&w->sh, slot, w->settings->auto_release_on_disconnect && !kept, kept,
                       w->now))
        return false;
    c->flags |= CONN_DROPPED;
    return true;
}

/* PHASE_DROP, step by step. */
static void depart(struct worker *w, uint32_t slot)
{
    if (!leave_table(w, slot)) {
        loop_ready(w, slot);
        return;
    }
    if (w->peers[slot].stream.fd > 0)
        hang_up(w, slot);
    give_back(w, slot);
}

void conn_orphan(struct worker *w, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);

    c->flags |= CONN_LOST;
    c->out_head = c->out_tail;
    c->phase = PHASE_DROP; /* whatever it was */
    loop_ready(w, slot);
}

void conn_drop(struct worker *w, uint32_t slot, const char *why)
{
    struct conn *c = conns_slot(w->r, slot);
    char peer[64];

    if (c->phase == PHASE_DROP || c->state != CONN_OPEN)
        return;
    log_debug("connection ends", log_uint("conn", c->id), log_str("why", why),
              log_str("peer", conns_peer_text(c, peer, sizeof(peer))));
    enter(c, PHASE_DROP);
    loop_ready(w, slot);
}

void conn_last(struct worker *w, uint32_t slot)
{
    enter(conns_slot(w->r, slot), PHASE_LAST);
    loop_ready(w, slot);
}

void conn_lost(struct worker *w, uint32_t slot, const char *why)
{
    struct conn *c = conns_slot(w->r, slot);

    log_error("connection lost by the server's fault, its slots are kept", log_uint("conn", c->id),
              log_str("why", why));
    c->flags |= CONN_LOST;
    conn_drop(w, slot, why);
    loop_ready(w, slot); /* also when it was on its way out already */
}

/* Answers with a word and ends. False: there is no way to say it, it just ends. */
static bool say_last(struct worker *w, uint32_t slot, int reply, uint64_t consumed)
{
    struct conn *c = conns_slot(w->r, slot);
    struct journal *j = &w->sh.slot->journal;
    char text[REPLY_MAX];

    if (!w->peers[slot].stream.open) {
        conn_drop(w, slot, "no handshake in time");
        return false;
    }
    /* Without a buffer or room for one word there is a peer that does not read: just end. */
    if (!iobufs_attach(&w->bufs, c) || conns_out_free(c) < REPLY_MAX) {
        conn_drop(w, slot, "peer does not read");
        return false;
    }
    if (!(may_follow[c->phase] & BIT(PHASE_LAST)))
        __builtin_trap();
    /* One transaction: an heir must neither answer again nor go on serving. */
    session_answer(w, j, c, consumed, text, reply_word(text, (enum reply)reply));
    JOURNAL_SET(j, region_base(w->r), c->phase, PHASE_LAST);
    journal_commit(j);
    loop_ready(w, slot);
    return true;
}

/* How long a stranger's first request is not answered although it was refused. */
static uint64_t late_by(struct worker *w, uint32_t slot, int code)
{
    const struct conn *c = conns_slot(w->r, slot);
    struct address from = {.family = c->family};

    if (code == REQUEST_ERROR_DEADLINE || !w->peers[slot].stream.open)
        return 0; /* it asked for nothing */
    memcpy(from.addr, c->addr, sizeof(from.addr));
    return offenders_failed(w->r, &from, w->now);
}

/* The answer to the request comes later; what an heir must know of it is one transaction. */
static void put_off_answer(struct worker *w, uint32_t slot, uint64_t consumed, uint64_t delay)
{
    struct conn *c = conns_slot(w->r, slot);
    struct journal *j = &w->sh.slot->journal;
    char *base = region_base(w->r);

    if (!(may_follow[c->phase] & BIT(PHASE_LATE)))
        __builtin_trap();
    JOURNAL_SET(j, base, c->in_head, c->in_head + consumed);
    JOURNAL_SET(j, base, c->close_at, w->now + delay);
    JOURNAL_SET(j, base, c->request_since, 0); /* its big buffer goes */
    JOURNAL_SET(j, base, c->phase, PHASE_LATE);
    journal_commit(j);
    loop_ready(w, slot);
}

void conn_fail(struct worker *w, uint32_t slot, enum request_row row, int code, const char *why,
               uint64_t consumed)
{
    struct conn *c = conns_slot(w->r, slot);
    bool stranger = session_must_authenticate(w, c);
    int reply = stranger ? REPLY_AUTH : REPLY_ERROR;
    uint64_t delay = stranger ? late_by(w, slot, code) : 0;

    if (!why)
        why = request_error_text(code);
    log_debug("connection is closed", log_uint("conn", c->id), log_int("code", code),
              log_str("why", why));
    if (stranger)
        session_refuse_stranger(w, slot, why);
    if (delay)
        put_off_answer(w, slot, consumed, delay);
    else if (!say_last(w, slot, reply, consumed))
        return;
    session_count(w, row, reply);
}

/* Reads what may be there, and serves it: it has come in time, and many may have come at once. */
static void look_again(struct worker *w, uint32_t slot)
{
    w->peers[slot].readable = true;
    conn_run(w, slot);
}

static bool is_silent_stranger(const struct worker *w, uint32_t slot)
{
    const struct peer *p = &w->peers[slot];
    const struct conn *c = conns_slot(w->r, slot);

    return p->stream.fd > 0 && c->state == CONN_OPEN && c->phase == PHASE_READY &&
           session_must_authenticate(w, c) && c->in_tail == 0 && !p->stream.begun &&
           c->accepted + STRANGER_SILENT_NS <= w->now;
}

void conn_make_room(struct worker *w, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);
    char peer[64];

    if (!is_silent_stranger(w, slot))
        return;
    look_again(w, slot);
    if (!is_silent_stranger(w, slot))
        return;
    tally_add(&w->sh.slot->counters.strangers_ended, 1);
    log_warn("a client that does not authenticate makes room for others, who wait",
             log_uint("conn", c->id), log_str("peer", conns_peer_text(c, peer, sizeof(peer))),
             log_ms("silent", w->now - c->accepted));
    c->close_at = w->now; /* at once: it has not tried anything that a pause could slow */
    say_last(w, slot, REPLY_AUTH, 0);
}

static void skip_begin(struct worker *w, struct conn *c, size_t consumed)
{
    struct journal *j = &w->sh.slot->journal;

    JOURNAL_SET(j, region_base(w->r), c->in_head, c->in_head + consumed);
    JOURNAL_SET(j, region_base(w->r), c->phase, PHASE_SKIP);
    journal_commit(j);
}

/* An incomplete request: note when it began, and make room if it is a long `auth`. True when there
   is more room now: what lies in the socket raises no edge again. */
static bool wait_for_more(struct worker *w, uint32_t slot, const struct request *req)
{
    struct conn *c = conns_slot(w->r, slot);

    if (c->request_since == 0)
        c->request_since = w->now;
    if (conns_in_used(c) < conns_in_size(c) || req->room <= IOBUF_IN || c->bigbuf)
        return false;
    if (conns_grow(w->r, slot))
        return true;
    w->starved = true; /* all big buffers are in use; the deadline bounds the wait */
    return false;
}

static enum request_result parse(struct worker *w, const struct conn *c, struct request *req)
{
    const char *view;
    uint32_t n = conns_view(w->r, c, w->scratch, REQUEST_BYTES_MAX, &view);
    enum request_result result = request_parse(view, n, req);

    if (result == REQUEST_MORE && req->room > REQUEST_BYTES_MAX && conns_in_used(c) > n) {
        n = conns_view(w->r, c, w->scratch, (uint32_t)req->room, &view);
        result = request_parse(view, n, req);
    }
    return result;
}

/* A client that speaks TLS where none is, says so with its first bytes; it will wait in vain. */
static void notice_tls(struct worker *w, const struct conn *c)
{
    const char *view;
    uint32_t n = conns_view(w->r, c, w->scratch, 2, &view);
    char peer[64];

    if (n == 2 && memcmp(view, "\x16\x03", 2) == 0)
        log_warn("TLS on a plain-text address", log_uint("conn", c->id),
                 log_str("peer", conns_peer_text(c, peer, sizeof(peer))));
}

/* Serves whole requests. True when it consumed something. */
static bool serve_some(struct worker *w, uint32_t slot, unsigned *served)
{
    struct conn *c = conns_slot(w->r, slot);
    struct peer *p = &w->peers[slot];
    bool moved = false;

    while (c->phase == PHASE_READY && *served < w->budget && conns_in_used(c) > 0) {
        struct request req;
        enum request_result result;

        if (conns_out_free(c) < REPLY_MAX) {
            transfer_flush(w, slot);
            if (conns_out_free(c) < REPLY_MAX)
                return moved; /* the peer does not read: its write deadline runs */
        }
        inquest_name(w, slot | SERVING_EXECUTES);
        result = parse(w, c, &req);
        if (result != REQUEST_OK && c->in_head == 0 && c->request_since == 0)
            notice_tls(w, c);
        switch (result) {
        case REQUEST_MORE:
            inquest_name(w, slot);
            if (p->eof) {
                *(volatile uint64_t *)&c->in_head = c->in_tail; /* never to be completed */
                return true;
            }
            return wait_for_more(w, slot, &req) || moved;
        case REQUEST_LONG:
            if (c->request_since == 0)
                c->request_since = w->now;
            skip_begin(w, c, req.consumed);
            inquest_name(w, slot);
            return true;
        case REQUEST_BAD:
            session_bad(w, slot, &req);
            break;
        default:
            if (!session_serve(w, slot, &req)) {
                inquest_name(w, slot);
                return moved;
            }
            break;
        }
        inquest_name(w, slot);
        c->request_since = 0;
        c->idle_since = w->now;
        ++*served;
        moved = true;
    }
    return moved;
}

static bool skip_some(struct worker *w, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);
    bool moved = false, found = false;

    while (!found && conns_in_used(c) > 0) {
        const char *view;
        uint32_t n = conns_view(w->r, c, w->scratch, REQUEST_AUTH_BYTES_MAX, &view);
        size_t skipped = request_skip_line(view, n, &found);

        if (found) { /* the line's end goes with the answer: an heir would skip the next line too */
            conn_fail(w, slot, ROW_NONE, REQUEST_ERROR_LONG, NULL, skipped);
            return true;
        }
        *(volatile uint64_t *)&c->in_head = c->in_head + skipped;
        moved = true;
    }
    if (w->peers[slot].eof) {
        conn_fail(w, slot, ROW_NONE, REQUEST_ERROR_LONG, NULL, 0);
        return true;
    }
    return moved;
}

/* Bytes that nobody will ever look at are read, so that closing does not reset the connection
   before the peer has seen the last answer. */
static bool discard_some(struct worker *w, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);
    bool moved = transfer_read(w, slot);

    *(volatile uint64_t *)&c->in_head = c->in_tail;
    return moved;
}

/* One piece of a long answer, when it is this connection's turn. */
static bool stream_some(struct worker *w, uint32_t slot)
{
    if (!w->piece) {
        if (w->peers[slot].writable)
            queues_put(w, QUEUE_SENDING, slot);
        return false;
    }
    w->piece = false;
    return transfer_document(w, slot);
}

static bool whole_request_behind(struct worker *w, uint32_t slot)
{
    struct request req;

    while (transfer_read(w, slot))
        ;
    switch (parse(w, conns_slot(w->r, slot), &req)) {
    case REQUEST_OK:
    case REQUEST_BAD:
        return true;
    default:
        return false;
    }
}

/* When the FIN came that is seen now: this process may have been kept from looking. */
static uint64_t left_at(const struct worker *w, uint32_t slot)
{
    const struct conn *c = conns_slot(w->r, slot);
    uint64_t ago, before, now;
    unsigned looks = 0;

    if (c->family == AF_UNIX)
        return w->now;
    do {
        before = clock_boottime_ns();
        if (stream_last_heard(w->peers[slot].stream.fd, &ago) != 0)
            return w->now;
        now = clock_boottime_ns();
    } while (now - before > LOOK_NS && ++looks < 3); /* kept from running between the two */
    return ago < now ? now - ago : 0;
}

/* A blocked request's client that leaves: semantics.md, "A peer that closes while its request is
   blocked". */
static void watch_blocked(struct worker *w, uint32_t slot)
{
    struct peer *p = &w->peers[slot];
    struct conn *c = conns_slot(w->r, slot);
    bool known = c->flags & CONN_HALF_CLOSED;

    if (p->stream.ops->end_in_band)
        while (transfer_read(w, slot))
            ;
    if (p->dead || p->hup) {
        conn_drop(w, slot, "client gone while its request was blocked");
    } else if ((p->rdhup || p->eof) && !known) {
        if (left_at(w, slot) <= c->blocked_since + HALF_CLOSE_NS ||
            whole_request_behind(w, slot))
            c->flags |= CONN_HALF_CLOSED;
        else
            conn_drop(w, slot, "client gone while its request was blocked");
    }
}

/* LAST: everything is said. What the connection owned goes back, then the socket. */
static void finish(struct worker *w, uint32_t slot)
{
    struct peer *p = &w->peers[slot];
    struct conn *c = conns_slot(w->r, slot);

    if (conns_out_used(c) > 0)
        return;
    if (!leave_table(w, slot)) {
        loop_ready(w, slot);
        return;
    }
    /* A stranger that leaves unanswered has not failed: others may need its place. */
    if (p->eof && (!session_must_authenticate(w, c) || c->out_tail == 0)) {
        enter(c, PHASE_DROP);
        return;
    }
    if (session_must_authenticate(w, c)) {
        c->close_at = c->close_at ? c->close_at : w->now + PENALTY_NS;
    } else if (p->stream.ops->finish(&p->stream) == STREAM_AGAIN) {
        transfer_full(w, slot);
        return;
    } else {
        c->close_at = w->now + LINGER_NS;
    }
    enter(c, PHASE_PENALTY);
}

static uint64_t deadline(const struct worker *w, uint32_t slot)
{
    const struct conn *c = conns_slot(w->r, slot);
    uint64_t due = TIME_NEVER;

    switch (c->phase) {
    case PHASE_BLOCKED:
        due = c->blocked_until;
        break;
    case PHASE_READY:
    case PHASE_SKIP:
        if (conns_out_used(c) == 0)
            due = (c->request_since ? c->request_since : c->idle_since) + w->read_timeout;
        if (session_must_authenticate(w, c) && c->accepted + AUTHENTICATE_NS < due)
            due = c->accepted + AUTHENTICATE_NS;
        break;
    case PHASE_LATE:
        return w->draining ? 0 : c->close_at;
    case PHASE_PENALTY:
        return c->close_at;
    default:
        break;
    }
    if (c->write_since && w->write_timeout && c->write_since + w->write_timeout < due)
        due = c->write_since + w->write_timeout;
    return due;
}

/* After a run: the end of input, buffers, the next deadline. */
static void settle(struct worker *w, uint32_t slot)
{
    struct peer *p = &w->peers[slot];
    struct conn *c = conns_slot(w->r, slot);
    char peer[64];

    if (c->phase != PHASE_DROP && p->dead) {
        if (p->stream.fault)
            log_warn("connection failed", log_uint("conn", c->id), log_str("why", p->stream.fault),
                     log_str("peer", conns_peer_text(c, peer, sizeof(peer))));
        conn_drop(w, slot, "reset");
    }
    if (c->phase == PHASE_READY && p->eof && conns_in_used(c) == 0)
        conn_last(w, slot);
    if (c->bigbuf && c->request_since == 0 && conns_in_used(c) <= IOBUF_IN)
        conns_shrink(w->r, slot); /* the long request is done: others need the buffer */
    if (!c->bigbuf && conns_in_used(c) == 0 && conns_out_used(c) == 0)
        detach(w, slot);
    /* No byte of a request yet, but the master need not take it for a silent one. */
    if (p->stream.begun && c->request_since == 0 && c->phase == PHASE_READY &&
        session_must_authenticate(w, c))
        c->request_since = w->now;
    timers_set(w, slot, deadline(w, slot));
}

void conn_run(struct worker *w, uint32_t slot)
{
    struct peer *p = &w->peers[slot];
    struct conn *c = conns_slot(w->r, slot);
    unsigned served = 0;
    bool moved = true, late = true;

    if (p->stream.fd <= 0) {
        if (conns_state(c) == CONN_ORPHANED && conns_is_of(c, w->sh.worker))
            depart(w, slot);
        return;
    }
    inquest_name(w, slot);
    while (moved && !p->dead) {
        moved = c->phase == PHASE_READY && transfer_read(w, slot);
        /* A lease begins when its request has been sent, however late this runs. */
        if (moved || late)
            w->now = clock_boottime_ns();
        late = false;
        switch (c->phase) {
        case PHASE_READY:
            moved |= serve_some(w, slot, &served);
            break;
        case PHASE_BLOCKED:
            watch_blocked(w, slot);
            break;
        case PHASE_STREAM:
            moved = stream_some(w, slot);
            break;
        case PHASE_SKIP:
            moved = transfer_read(w, slot);
            moved |= skip_some(w, slot);
            break;
        case PHASE_PENALTY:
        case PHASE_LATE:
            moved = discard_some(w, slot);
            break;
        default:
            break;
        }
        if (served >= w->budget) {
            if (conns_in_used(c) > 0 || p->readable)
                p->greedy_until = w->now + GREEDY_NS;
            loop_ready(w, slot);
            break;
        }
        transfer_flush(w, slot);
    }
    w->served += served;
    /* Who asks for more is answered in one call for several turns. */
    if (conns_in_used(c) == 0 || c->phase != PHASE_READY || conns_out_used(c) >= IOBUF_OUT / 2)
        transfer_flush(w, slot);
    if (c->phase == PHASE_LAST && !p->dead)
        finish(w, slot);
    settle(w, slot);
    if (c->phase == PHASE_PENALTY && p->eof && !session_must_authenticate(w, c))
        enter(c, PHASE_DROP);
    if (c->phase == PHASE_DROP)
        depart(w, slot);
    inquest_name(w, 0);
}

void conn_note(struct worker *w, uint32_t slot, uint32_t events)
{
    struct peer *p = &w->peers[slot];

    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        p->readable = true;
        p->writable |= p->stream.send_awaits_bytes;
    }
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
        p->writable = true;
        p->readable |= p->stream.recv_awaits_room;
    }
    if (events & EPOLLRDHUP)
        p->rdhup = true;
    if (events & (EPOLLHUP | EPOLLERR))
        p->hup = true;
}

void conn_timeout(struct worker *w, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);
    const char *why = NULL;
    bool stranger;

    if (deadline(w, slot) > w->now) {
        settle(w, slot);
        return;
    }
    stranger = session_must_authenticate(w, c);
    /* Who waits for its turn is not to blame. */
    if ((c->phase == PHASE_READY || c->phase == PHASE_SKIP) && (stranger || w->peers[slot].queued)) {
        look_again(w, slot);
        if (w->peers[slot].stream.fd <= 0 || deadline(w, slot) > w->now)
            return;
        if (stranger && c->accepted + AUTHENTICATE_NS <= w->now)
            why = "not authenticated within 5 s";
    }
    inquest_name(w, slot);
    if (c->write_since && w->write_timeout && c->write_since + w->write_timeout <= w->now) {
        if (queues_has(w, QUEUE_SENDING, slot) || transfer_reads_slowly(&w->peers[slot]))
            c->write_since = w->now;
        else
            conn_drop(w, slot, "peer does not read its answers");
    } else if (c->phase == PHASE_BLOCKED) {
        if (!iobufs_attach(&w->bufs, c)) {
            timers_set(w, slot, w->now + ATTACH_AGAIN_NS);
            return;
        }
        session_unblock(w, slot, false);
    } else if (c->phase == PHASE_LATE) {
        if (!iobufs_attach(&w->bufs, c)) {
            timers_set(w, slot, w->now + ATTACH_AGAIN_NS);
            return;
        }
        c->close_at = 0; /* the pause after the answer */
        say_last(w, slot, REPLY_AUTH, 0);
    } else if (c->phase == PHASE_PENALTY) {
        enter(c, PHASE_DROP);
    } else if (c->phase == PHASE_SKIP || c->request_since) {
        conn_fail(w, slot, ROW_NONE, REQUEST_ERROR_DEADLINE, why, 0);
    } else if (table_owns_any(&w->sh.table, slot)) {
        c->idle_since = w->now; /* its leases bound it */
    } else {
        conn_fail(w, slot, ROW_NONE, REQUEST_ERROR_DEADLINE, why, 0);
    }
    conn_run(w, slot);
}

/* Ends the blocked requests of a shard, or (SHARD_COUNT) of all. */
static void end_waits(struct worker *w, uint32_t shard, bool draining)
{
    for (uint32_t slot = 1; slot <= w->r->max_conns; slot++) {
        struct conn *c = conns_slot(w->r, slot);

        if (draining && w->peers[slot].stream.fd > 0 && c->phase == PHASE_LATE)
            loop_ready(w, slot); /* it waits no longer */
        if (w->peers[slot].stream.fd <= 0 || c->phase != PHASE_BLOCKED ||
            (shard != SHARD_COUNT && c->blocked_shard != shard))
            continue;
        if (iobufs_attach(&w->bufs, c))
            session_unblock(w, slot, draining);
        else
            w->starved = true; /* again at the next tick */
        conn_run(w, slot);
    }
}

void conn_give_up(struct worker *w, uint32_t shard)
{
    end_waits(w, shard, false);
}

void conn_drain(struct worker *w)
{
    end_waits(w, SHARD_COUNT, true);
}
