/*
 * worker/transfer.c - bytes between a connection's socket and its rings in the region.
 *
 * Never through a private buffer on the way in, and counted by one store after each call: an heir
 * must be able to tell how far the stream got.
 */
#include "worker/transfer.h"

#include "base/point.h"

#include <sys/socket.h>
#include <unistd.h>

enum { STREAM_CHUNK = 65536 };

static void cannot_write(struct peer *p)
{
    p->writable = false;
    p->unacked = stream_unacked(p->stream.fd);
}

/* The kernel says "writable" only when a third of the queue is free, which may be a megabyte: a
   slow reader makes progress long before. */
bool transfer_reads_slowly(struct peer *p)
{
    int before = p->unacked;

    p->unacked = stream_unacked(p->stream.fd);
    return p->unacked < before;
}

void transfer_full(struct worker *w, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);

    cannot_write(&w->peers[slot]);
    if (c->write_since == 0)
        c->write_since = w->now;
}

/*
 * The kernel counts a TCP stream's bytes, and an heir asks it. It does not count a Unix socket's:
 * there a mark says that a call was made whose result may not be recorded.
 */
static void call_begins(struct conn *c)
{
    if (c->family == AF_UNIX)
        *(volatile uint32_t *)&c->in_call = 1;
}

static void call_recorded(struct conn *c)
{
    JOURNAL_BARRIER();
    if (c->family == AF_UNIX)
        *(volatile uint32_t *)&c->in_call = 0;
}

void transfer_flush(struct worker *w, uint32_t slot)
{
    struct peer *p = &w->peers[slot];
    struct conn *c = conns_slot(w->r, slot);

    while (conns_out_used(c) > 0 && p->writable && !p->dead) {
        uint32_t pos = (uint32_t)(c->out_head & (IOBUF_OUT - 1));
        uint32_t n = conns_out_used(c);
        ssize_t sent;

        if (n > IOBUF_OUT - pos)
            n = IOBUF_OUT - pos;
        call_begins(c);
        sent = p->stream.ops->send(&p->stream, conns_out(w->r, c) + pos, n);
        if (sent > 0) {
            *(volatile uint64_t *)&c->out_head = c->out_head + (uint64_t)sent;
            POINT(TRANSFER_SENT);
            c->write_since = 0;
            p->readable |= p->stream.recv_awaits_room;
            if ((uint32_t)sent < n)
                cannot_write(p);
        } else if (sent == STREAM_AGAIN) {
            cannot_write(p);
        } else {
            p->dead = true;
        }
        call_recorded(c);
    }
    if (conns_out_used(c) > 0 && c->write_since == 0)
        c->write_since = w->now;
}

/* Reads into the ring, never through a private buffer. True when something changed. */
bool transfer_read(struct worker *w, uint32_t slot)
{
    struct peer *p = &w->peers[slot];
    struct conn *c = conns_slot(w->r, slot);
    uint32_t size, pos, n;
    bool open = p->stream.open;
    ssize_t got;

    if (!p->readable || p->eof || p->dead)
        return false;
    if (!iobufs_attach(&w->bufs, c)) {
        w->starved = true;
        return false;
    }
    size = conns_in_size(c);
    pos = (uint32_t)(c->in_tail & (size - 1));
    n = size - conns_in_used(c);
    if (n > size - pos)
        n = size - pos;
    if (n == 0)
        return false;
    call_begins(c);
    got = p->stream.ops->recv(&p->stream, conns_in(w->r, c) + pos, n);
    if (got > 0)
        *(volatile uint64_t *)&c->in_tail = c->in_tail + (uint64_t)got;
    POINT(TRANSFER_RECEIVED);
    if (!open && p->stream.open)
        tally_add(&w->sh.slot->counters.handshakes, 1);
    call_recorded(c);
    if (got > 0) {
        /* A short read has emptied the socket; only a FIN that epoll has already told of may
           still be there, and no new edge would tell of it again. */
        if ((uint32_t)got < n && !p->stream.more && !p->rdhup && !p->hup)
            p->readable = false;
        p->writable |= p->stream.send_awaits_bytes;
        return true;
    }
    p->readable = p->stream.more;
    if (p->stream.more)
        loop_ready(w, slot); /* others first */
    if (got == STREAM_END) {
        p->eof = true;
        c->flags |= CONN_HALF_CLOSED;
        return true;
    }
    if (got == STREAM_RESET)
        p->dead = true;
    return false;
}

bool transfer_document(struct worker *w, uint32_t slot)
{
    struct peer *p = &w->peers[slot];
    struct conn *c = conns_slot(w->r, slot);
    char chunk[STREAM_CHUNK];
    uint64_t left = c->doc_len - c->doc_pos;
    ssize_t n, sent;

    if (left == 0) {
        job_stream_done(w, slot); /* a predecessor sent the last byte and could not say so */
        return true;
    }
    /* What was answered before goes first; and now, for if the kernel takes it all, no edge comes. */
    transfer_flush(w, slot);
    if (conns_out_used(c) > 0 || !p->writable || p->dead)
        return false;
    n = SYS(DOC_READ, pread(job_doc_fd(w, c->doc), chunk, left < sizeof(chunk) ? left : sizeof(chunk),
                            (off_t)c->doc_pos));
    if (n <= 0) {
        conn_lost(w, slot, "a long answer cannot be read back");
        return true;
    }
    call_begins(c);
    sent = p->stream.ops->send(&p->stream, chunk, (size_t)n);
    if (sent > 0)
        *(volatile uint64_t *)&c->doc_pos = c->doc_pos + (uint64_t)sent;
    call_recorded(c);
    if (sent > 0) {
        c->write_since = w->now;
        if (sent < n)
            cannot_write(p);
    } else if (sent == STREAM_AGAIN) {
        cannot_write(p);
    } else {
        p->dead = true;
    }
    if (c->doc_pos == c->doc_len) {
        job_stream_done(w, slot);
        c->write_since = 0;
        c->idle_since = w->now;
    }
    return sent > 0;
}

