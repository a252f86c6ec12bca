/*
 * supervisor/accept.c - new connections: caps, distribution, hand-over. Runs in the master.
 *
 * Out of descriptors: a listener whose backlog is not empty stays readable, and accept(2) fails
 * before it looks at the backlog. So a spare descriptor is given up to accept and close one
 * connection (its client hears at once instead of waiting), and the listeners rest for a while.
 *
 * Too many that have not authenticated: the listeners rest as well, and some of those that have been
 * silent for long are ended, for a listener that is readable says that somebody needs the room.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/point.h"
#include "net/pass.h"
#include "supervisor/master_state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, PAUSE_MIN_MS = 5, PAUSE_MAX_MS = 1000 };

static void pause_accepting(struct master *m);

/* 0, or the last error. */
static int listeners(struct master *m, int op)
{
    struct listen_set *set = m->args->listeners;
    int err = 0;

    for (unsigned i = 0; i < set->n; i++) {
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &set->l[i]};

        if (SYS(ACCEPT_WATCH, epoll_ctl(m->epfd, op, set->l[i].fd, &ev)) < 0)
            err = -errno;
    }
    return err;
}

void accept_start(struct master *m)
{
    int err = listeners(m, EPOLL_CTL_ADD);

    m->accept_again = 0;
    m->accept_room = false;
    if (!err)
        return;
    log_error("listeners cannot be watched, will try again", log_err("error", err));
    pause_accepting(m);
}

void accept_stop(struct master *m)
{
    if (!m->accept_again)
        listeners(m, EPOLL_CTL_DEL);
}

/* Errors in a row: 5 ms, 10 ms … 1 s. */
static void pause_accepting(struct master *m)
{
    accept_stop(m);
    m->accept_pause = m->accept_pause ? m->accept_pause * 2 : PAUSE_MIN_MS;
    if (m->accept_pause > PAUSE_MAX_MS)
        m->accept_pause = PAUSE_MAX_MS;
    m->accept_again = m->now + m->accept_pause * NS_PER_MS;
}

static const char *caller_text(const struct address *c, char *buf, size_t n)
{
    if (!inet_ntop(c->family == AF_INET ? AF_INET : AF_INET6, c->addr, buf, (socklen_t)n))
        snprintf(buf, n, "?");
    return c->family == AF_UNIX ? "unix" : buf;
}

/* The least loaded worker that serves; one that is being replaced only if none does (its successor
   will find the connection). */
static uint32_t choose(const struct master *m)
{
    uint32_t best = 0;
    bool best_serves = false;

    for (uint32_t i = 0; i < m->nworkers; i++) {
        bool serves = m->child[i].state == CHILD_SERVING;

        if ((serves && !best_serves) ||
            (serves == best_serves && m->keeper.load[i] < m->keeper.load[best])) {
            best = i;
            best_serves = serves;
        }
    }
    return best;
}

static int send_conn(struct master *m, uint32_t slot)
{
    const struct conn *c = conns_slot(m->r, slot);
    struct channel_message msg = {.type = CHANNEL_CONN, .n = 1, .id = c->id};
    int channel = m->child[m->keeper.kept[slot].worker].channel;

    if (channel < 0)
        return 0; /* nobody there: the successor adopts what its slot has */
    msg.slot[0] = slot;
    return pass_send(channel, &msg,
                     offsetof(struct channel_message, slot) + sizeof(uint32_t),
                     m->keeper.fd[slot]);
}

/* A listener that nobody accepts from stays readable: the loop would spin. */
static void rest(struct master *m)
{
    if (m->accept_again || m->stage != STAGE_SERVING)
        return;
    accept_stop(m);
    m->accept_again = m->now + PAUSE_MIN_MS * NS_PER_MS;
}

static void hand_over(struct master *m, uint32_t slot)
{
    int err;

    POINT(ACCEPT_ADDED);
    err = send_conn(m, slot);

    /* Any other error: the worker is dead and not yet reaped; its successor adopts. */
    if (err != -EAGAIN && err != -ETOOMANYREFS && err != -ENOBUFS && err != -ENOMEM)
        return;
    if (err != -EAGAIN)
        log_warn("a connection cannot be handed over, will try again", log_err("error", err));
    m->unsent[(m->unsent_head + m->unsent_n++) % (m->r->max_conns + 1)] = slot;
    rest(m);
}

static void refuse(struct master *m, int fd, const struct address *from, enum keeper_refusal why)
{
    char text[INET6_ADDRSTRLEN];

    tally_add(&m->r->master.rejected[why == KEEPER_FULL ? LIMIT_CONNECTIONS
                                                        : LIMIT_CONNECTIONS_PER_IP],
              1);
    log_warn("connection refused",
             log_str("limit", why == KEEPER_FULL ? "max-connections" : "max-connections-per-ip"),
             log_uint("max", why == KEEPER_FULL ? m->keeper.max : m->keeper.max_per_ip),
             log_str("addr", caller_text(from, text, sizeof(text))));
    SYS(ACCEPT_REFUSE, close(fd));
}

static void no_descriptors(struct master *m, const struct listener *l, int err)
{
    int fd;

    log_error("cannot accept connections, will try again", log_err("error", -err),
              log_uint("open", m->keeper.open));
    if ((err == EMFILE || err == ENFILE) && m->spare >= 0) {
        SYS(SPARE_CLOSE, close(m->spare));
        fd = SYS(SPARE_ACCEPT, accept4(l->fd, NULL, NULL, SOCK_CLOEXEC));
        if (fd >= 0)
            SYS(SPARE_REFUSE, close(fd));
        m->spare = SYS(SPARE_OPEN, open("/dev/null", O_RDONLY | O_CLOEXEC));
    }
    pause_accepting(m);
}

/* What cannot be said to a worker now is said to it, or to its heir, later. */
static void make_room(struct master *m)
{
    uint32_t slot[STRANGERS_ROOM];
    uint32_t n = strangers_leave(&m->strangers, &m->keeper, m->now, slot);

    for (uint32_t i = 0; i < n; i++) {
        struct channel_message msg = {.type = CHANNEL_ROOM, .n = 1, .slot = {slot[i]}};
        int channel = m->child[m->keeper.kept[slot[i]].worker].channel;

        if (channel >= 0)
            pass_send(channel, &msg, offsetof(struct channel_message, slot) + sizeof(uint32_t), -1);
    }
}

/* Whoever wants in now has to wait until others have authenticated or gone. */
static void wait_for_room(struct master *m)
{
    log_warn("new connections wait: so many have not authenticated",
             log_uint("unauthenticated", m->strangers.n),
             log_uint("max", strangers_max(&m->keeper)));
    make_room(m);
    rest(m);
    m->accept_room = m->accept_again != 0;
}

void accept_room(struct master *m)
{
    if (m->accept_room)
        m->accept_again = m->now;
}

/* False when there is nothing more to accept now. */
static bool accept_one(struct master *m, const struct listener *l)
{
    struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(ss);
    struct address from;
    enum keeper_refusal why;
    uint32_t slot;
    int fd = SYS(ACCEPT, accept4(l->fd, (struct sockaddr *)&ss, &len,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC));

    if (fd < 0) {
        switch (errno) {
        case EAGAIN:
            return false;
        case EINTR:
        case ECONNABORTED:
        case EPERM: /* a firewall's word; other connections are fine */
            return true;
        default:
            no_descriptors(m, l, errno);
            return false;
        }
    }
    m->accept_pause = 0;
    address_from(&ss, &from);
    why = keeper_admits(&m->keeper, &from);
    if (why != KEEPER_OK) {
        refuse(m, fd, &from, why);
        return true;
    }
    /* What counts from here on must not count what kept this turn from coming to it. */
    slot = keeper_add(&m->keeper, fd, &from, choose(m), clock_boottime_ns());
    strangers_add(&m->strangers, &m->keeper, slot);
    hand_over(m, slot);
    return true;
}

void accept_ready(struct master *m, const struct listener *l)
{
    strangers_guard(&m->strangers, &m->keeper, m->settings->auth_token.count > 0);
    for (unsigned i = 0; i < BATCH && m->unsent_n == 0 && !m->accept_again; i++) {
        if (strangers_full(&m->strangers, &m->keeper)) {
            if (i == 0) /* else nobody may be there any more */
                wait_for_room(m);
            return;
        }
        if (!accept_one(m, l))
            return;
    }
}

void accept_resend(struct master *m, uint32_t worker)
{
    uint32_t n = m->unsent_n;

    for (; n > 0; n--) {
        uint32_t slot = m->unsent[m->unsent_head];

        m->unsent_head = (m->unsent_head + 1) % (m->r->max_conns + 1);
        m->unsent_n--;
        if (m->keeper.kept[slot].worker != worker)
            m->unsent[(m->unsent_head + m->unsent_n++) % (m->r->max_conns + 1)] = slot;
    }
}

void accept_returned(struct master *m, uint32_t slot)
{
    uint32_t worker;

    if (!keeper_is_returned(&m->keeper, slot))
        return;
    worker = m->keeper.kept[slot].worker;
    keeper_reopen(&m->keeper, slot, worker < m->nworkers ? worker : choose(m));
    hand_over(m, slot);
}

void accept_turn(struct master *m)
{
    for (uint32_t n = m->unsent_n; n > 0; n--) {
        uint32_t slot = m->unsent[m->unsent_head];

        m->unsent_head = (m->unsent_head + 1) % (m->r->max_conns + 1);
        m->unsent_n--;
        if (m->keeper.fd[slot] && conns_state(conns_slot(m->r, slot)) == CONN_OPEN)
            hand_over(m, slot);
    }
    if (m->accept_again && m->now >= m->accept_again && m->unsent_n == 0 &&
        m->stage == STAGE_SERVING)
        accept_start(m);
}
