/*
 * worker/loop.c - a worker's life: one epoll loop.
 *
 * A turn: sleep until something happens, deliver grants made by others, run connections that have
 * events or were put off, then some of those that ask without end, some pieces of long answers,
 * deadlines, leases, one step in the making of a long answer, tell the master what was closed.
 * Everything in a turn is bounded, so that no connection waits long for another.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/point.h"
#include "config/exitcode.h"
#include "net/pass.h"
#include "serving/certificate.h"
#include "serving/repairs.h"
#include "serving/sandbox.h"
#include "serving/silence.h"
#include "shm/bell.h"
#include "worker/calls.h"
#include "worker/transfer.h"
#include "worker/worker.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 256,
    NEW_A_TURN = 16, /* connections that the master hands over */
    TIMEOUTS_A_TURN = 32,
    LEAVES_A_TURN = 16,
    LEAVES_A_BUSY_TURN = 4, /* when there are more events than a turn takes */
    PIECES_A_TURN = 4, /* of long answers: each costs as much as a dozen requests */
    SERVE_A_TURN = 2048, /* requests of all, about */
    SERVE_MOST = 128, /* of one connection in one turn */
    SERVE_LEAST = 4,
    GREEDY_A_TURN = 256, /* requests of those that always have more */
    GREEDY_RUNS = 8, /* see catch_up() */
    CROWD = 3,       /* connections that asked in one turn */
    CROWD_TURNS = 8, /* after such a turn */
};

#define DEAF_NS (10 * NS_PER_MS)

void loop_ready(struct worker *w, uint32_t slot)
{
    queues_put(w, w->now < w->peers[slot].greedy_until ? QUEUE_GREEDY : QUEUE_READY, slot);
}

static void run_ready(struct worker *w)
{
    for (uint32_t n = queues_length(w, QUEUE_READY); n > 0; n--)
        conn_run(w, queues_take(w, QUEUE_READY));
}

/*
 * When hundreds ask as fast as they can, each gets its share in turn, and after some of them who asks
 * for something now and then is looked for again: it waits for a fraction of a millisecond, not for
 * everything that all the others have sent.
 */
static void run_greedy(struct worker *w)
{
    uint32_t n = queues_length(w, QUEUE_GREEDY);

    w->served = 0;
    for (; n > 0 && w->served < GREEDY_A_TURN; n--) {
        w->served++; /* a run that serves nothing costs something, too */
        conn_run(w, queues_take(w, QUEUE_GREEDY));
    }
}

/* Before the end: answers that were put off because more was asked for. */
static void flush_greedy(struct worker *w)
{
    uint32_t slot;

    while ((slot = queues_take(w, QUEUE_GREEDY)) != 0)
        if (w->peers[slot].stream.fd > 0)
            transfer_flush(w, slot);
}

/*
 * Whose client has gone waits behind those who ask for something: thousands may go at once, and
 * each costs more than a request. The kernel tells of all in the order in which it happened, so
 * what others ask for is found behind them; to note each on the way there costs next to nothing.
 */
static void run_leaving(struct worker *w, uint32_t most)
{
    uint32_t slot;

    while (most-- > 0 && (slot = queues_take(w, QUEUE_LEAVING)) != 0)
        conn_run(w, slot);
}

/*
 * A thousand readers of long answers may have room in their sockets at once. Each is sent a piece in
 * its turn, and few of them in one turn of the loop: who asks for something little comes in between.
 */
static void run_sending(struct worker *w)
{
    uint32_t slot;

    for (unsigned i = 0; i < PIECES_A_TURN && (slot = queues_take(w, QUEUE_SENDING)) != 0; i++) {
        w->piece = true;
        conn_run(w, slot);
        w->piece = false;
    }
}

void loop_flush_closed(struct worker *w)
{
    int err;

    if (w->closed.n == 0)
        return;
    /* Should the channel be full, the slots stay CONN_CLOSED and the master finds them on its own
       tick: the truth is the slot's state, the message only makes it quick. */
    w->closed.type = CHANNEL_CLOSED;
    err = pass_send(w->life.channel, &w->closed,
                    offsetof(struct channel_message, slot) + w->closed.n * sizeof(uint32_t), -1);
    if (err == -ENOMEM || err == -ENOBUFS)
        log_warn("the master is told late of connections that ended",
                 log_uint("connections", w->closed.n), log_err("error", err));
    w->closed.n = 0;
}

void loop_tell_closed(struct worker *w, uint32_t slot)
{
    /* A new master hears who this worker is before it hears anything else. */
    if (w->life.channel < 0 || lifeline_telling(&w->life))
        return;
    w->closed.slot[w->closed.n++] = slot;
    if (w->closed.n == CHANNEL_SLOTS)
        loop_flush_closed(w);
}

void loop_return(struct worker *w, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);

    log_error("no resources for a connection, the master will hand it over again",
              log_uint("conn", c->id));
    __atomic_store_n(&c->state, CONN_RETURNED, __ATOMIC_RELEASE);
}

bool loop_watch(struct worker *w, int fd, uint32_t source)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = source};

    return SYS(LOOP_WATCH, epoll_ctl(w->epfd, EPOLL_CTL_ADD, fd, &ev)) == 0;
}

/* The socket that came for slot `m->slot[0]`, unless that connection was dealt with already. */
static void accept_conn(struct worker *w, const struct channel_message *m, int fd)
{
    uint32_t slot = m->slot[0];
    struct conn *c;

    if (slot < 1 || slot > w->r->max_conns)
        return;
    c = conns_slot(w->r, slot);
    if (conns_state(c) != CONN_OPEN || __atomic_load_n(&c->id, __ATOMIC_RELAXED) != m->id ||
        !conns_is_of(c, w->sh.worker) || w->peers[slot].stream.fd > 0) {
        if (fd >= 0)
            SYS(LOOP_DUPLICATE, close(fd));
        return;
    }
    if (fd < 0) {
        loop_return(w, slot);
        return;
    }
    POINT(LOOP_ADOPT);
    conn_adopt(w, slot, fd, true);
}

static void make_room(struct worker *w, const struct channel_message *m)
{
    for (uint32_t i = 0; i < m->n && i < CHANNEL_SLOTS; i++)
        if (m->slot[i] >= 1 && m->slot[i] <= w->r->max_conns)
            conn_make_room(w, m->slot[i]);
}

/* False when it is time to go: told so, or the master is gone. All that an heir needs lies in the
   region at any time. */
static bool read_channel(struct worker *w)
{
    for (unsigned i = 0; i < NEW_A_TURN; i++) {
        struct channel_message m = {0};
        int fd;
        ssize_t n = pass_recv(w->life.channel, &m, sizeof(m), &fd);

        if (n == -EAGAIN)
            return true;
        if (pass_recv_again(n)) {
            log_error("the master cannot be heard, will try again", log_err("error", (int)n));
            return true;
        }
        if (n == 0 || (n < 0 && n != -EMFILE))
            return orphan_begin(w);
        if (m.type == CHANNEL_LEAVE)
            return false;
        if (m.type == CHANNEL_CONN)
            accept_conn(w, &m, fd);
        else if (m.type == CHANNEL_ORPHANS)
            takeover_orphans(w);
        else if (m.type == CHANNEL_ROOM)
            make_room(w, &m);
        else if (m.type == CHANNEL_SETTINGS)
            adjust_came(w, fd, (uint32_t)m.id);
    }
    return true;
}

static void ring_heard(struct worker *w)
{
    uint64_t rings;

    if (SYS(BELL_READ, read(w->efd, &rings, sizeof(rings))) < 0 && errno != EAGAIN)
        log_error("bell cannot be read", log_err("error", -errno));
}

static bool any_queued(const struct worker *w)
{
    for (unsigned i = 0; i < QUEUES; i++)
        if (queues_length(w, i) > 0)
            return true;
    return false;
}

/* How long the turn may sleep, ns. */
static uint64_t sleep_for(const struct worker *w, bool busy)
{
    uint64_t next = w->expire_at;

    if (busy || any_queued(w))
        return 0;
    /* Marked while this turn ran: the ring that followed may have been heard with an earlier one,
       and somebody waits for a whole turn. A mark set after this look is followed by its ring. */
    if (silence_marked(&w->sh))
        return 0;
    if (timers_next(w) < next)
        next = timers_next(w);
    if (w->handover_at < next)
        next = w->handover_at;
    if (w->deaf && w->now + DEAF_NS < next)
        next = w->now + DEAF_NS;
    if (lifeline_telling(&w->life) && w->now + NS_PER_MS < next)
        next = w->now + NS_PER_MS; /* the channel was full */
    return next > w->now ? next - w->now : 0;
}

/*
 * A turn begins. After a silence (asleep, stopped, starved) renews may lie unread: this worker's
 * mark, its own or another's, says so until they have been served. Returns whether it is marked.
 */
static bool beat(struct worker *w)
{
    uint64_t gap = silence_beat(&w->sh, w->now);

    w->began = w->now;
    if (gap) {
        log_warn("did not run for a while", log_ms("gap", gap));
        takeover_after_silence(w, gap);
    }
    return silence_marked(&w->sh);
}

static bool only_put_off(const struct worker *w)
{
    return queues_length(w, QUEUE_READY) == 0 && queues_length(w, QUEUE_LEAVING) == 0 &&
           (queues_length(w, QUEUE_GREEDY) > 0 || queues_length(w, QUEUE_SENDING) > 0);
}

static bool many_ask(struct worker *w)
{
    if (w->asked >= CROWD)
        w->crowd = CROWD_TURNS;
    else if (w->crowd > 0)
        w->crowd--;
    return w->crowd > 0 && w->asked > 0;
}

/*
 * Many clients ask, and all that has come is served. The processor goes to who else wants it before
 * this worker falls asleep on it: it is often they whose next requests would wake it, one by one, and
 * a sleep and a wake-up cost as much as a request. With few clients there is little to gain, and each
 * look costs something (docs/internals/wakeups.md). Or something was put off, which can wait a moment
 * more. True: look again, more may have come.
 */
static bool others_go_first(struct worker *w, uint64_t ns)
{
    if (ns > 0 ? !many_ask(w) : !only_put_off(w))
        return false;
    SYS(LOOP_YIELD, sched_yield());
    return true;
}

static int wait_for_events(struct worker *w, struct epoll_event *ev, bool busy)
{
    uint64_t ns = sleep_for(w, busy);
    struct timespec ts;
    bool parked = !others_go_first(w, ns) && ns > 0 && bell_park(w->r, w->sh.worker);
    int n;

    if (!parked)
        ns = 0;
    /* Round up, or the last microseconds before a deadline would be a busy loop. */
    ts.tv_sec = (time_t)(ns / NS_PER_SEC);
    ts.tv_nsec = (long)(ns % NS_PER_SEC);
    n = SYS(LOOP_WAIT, epoll_pwait2(w->epfd, ev, EVENTS, &ts, NULL));
    if (parked)
        bell_unpark(w->r, w->sh.worker);
    w->now = clock_boottime_ns();
    w->events = n > 0 ? n : 0;
    return n;
}

/* How many requests of one connection are served in this turn. */
static unsigned budget(const struct worker *w)
{
    uint32_t active = (uint32_t)w->events + queues_length(w, QUEUE_READY) +
                      queues_length(w, QUEUE_GREEDY);
    unsigned share = active ? SERVE_A_TURN / active : SERVE_MOST;

    return share > SERVE_MOST ? SERVE_MOST : share < SERVE_LEAST ? SERVE_LEAST : share;
}

/* Whose turn it is not now is queued. */
static void conn_event(struct worker *w, uint32_t slot, uint32_t events)
{
    conn_note(w, slot, events);
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        queues_put(w, QUEUE_LEAVING, slot);
        return;
    }
    w->asked++;
    if (w->now < w->peers[slot].greedy_until)
        queues_put(w, QUEUE_GREEDY, slot);
    else
        conn_run(w, slot);
}

static void handle_event(struct worker *w, const struct epoll_event *ev)
{
    uint32_t slot = (uint32_t)(ev->data.u64 >> 32);

    if (slot == 0) {
        if (ev->data.u64 == SOURCE_RENDEZVOUS)
            orphan_answer(w);
        else
            ring_heard(w);
        return;
    }
    /* An event of a connection that was closed in this very turn, and its slot perhaps reused. */
    if (w->peers[slot].stream.fd <= 0 || (uint32_t)conns_slot(w->r, slot)->id != (uint32_t)ev->data.u64)
        return;
    conn_event(w, slot, ev->events);
}

/*
 * A silence is over when all that had come by then has had its turn, but for long answers. Those who
 * ask without end are never done: they have had some of their shares then.
 */
static void catch_up(struct worker *w)
{
    static const unsigned runs[QUEUES] = {
        [QUEUE_READY] = 1, [QUEUE_GREEDY] = GREEDY_RUNS, [QUEUE_LEAVING] = 1};
    bool behind = false;

    for (unsigned i = 0; i < QUEUES; i++) {
        const struct queue_ring *q = &w->queues.queue[i];

        if (!w->catches_up)
            w->caught_up[i] = q->taken + (uint64_t)q->n * runs[i];
        behind |= runs[i] > 0 && q->n > 0 && q->taken < w->caught_up[i];
    }
    w->catches_up = behind;
    if (!behind)
        silence_over(&w->sh);
}

static void starved_again(struct worker *w)
{
    w->starved = false;
    for (uint32_t slot = 1; slot <= w->r->max_conns; slot++)
        if (w->peers[slot].stream.fd > 0)
            loop_ready(w, slot);
    deliver_shards(w, UINT64_MAX);
    if (w->draining)
        conn_drain(w);
}

/* What was put off because nothing could be promised may be possible now, or never. */
static void notice_fences(struct worker *w)
{
    uint32_t turn = __atomic_load_n(&w->r->fences_turn, __ATOMIC_ACQUIRE);

    if (turn == w->fences_turn)
        return;
    w->fences_turn = turn;
    if (w->starved)
        starved_again(w);
    expire_starved(w);
}

static void notice_drain(struct worker *w)
{
    if (w->draining || !__atomic_load_n(&w->r->draining, __ATOMIC_RELAXED))
        return;
    w->draining = true;
    conn_drain(w);
}

static int turns(struct worker *w)
{
    struct epoll_event ev[EVENTS];
    bool busy = false;

    for (;;) {
        int n = wait_for_events(w, ev, busy);
        bool silent = beat(w);
        uint64_t mask = bell_drain(w->r, w->sh.worker);
        bool newcomers = false;
        uint32_t slot;

        w->budget = budget(w);
        w->asked = 0;
        POINT(LOOP_TURN);
        if (mask)
            deliver_shards(w, mask);
        notice_drain(w); /* before requests are served that came after it began */
        for (int i = 0; i < n; i++) {
            if (ev[i].data.u64 == SOURCE_CHANNEL)
                newcomers = true;
            else
                handle_event(w, &ev[i]);
        }
        notice_fences(w);
        run_leaving(w, n == EVENTS ? LEAVES_A_BUSY_TURN : LEAVES_A_TURN);
        run_ready(w);
        run_greedy(w);
        run_sending(w);
        /* Those who are there already go before those who come. */
        if (newcomers && !read_channel(w)) {
            flush_greedy(w);
            return EXITCODE_OK;
        }
        for (unsigned i = 0; i < TIMEOUTS_A_TURN && (slot = timers_pop(w)) != 0; i++)
            conn_timeout(w, slot);
        if (w->starved && w->now >= w->next_tick)
            starved_again(w);
        if (!silent)
            w->catches_up = false;
        else if (w->catches_up || n < EVENTS)
            catch_up(w);
        expire_turn(w);
        mask = bell_drain(w->r, w->sh.worker);
        if (mask)
            deliver_shards(w, mask);
        busy = job_turn(w);
        handover_turn(w);
        loop_flush_closed(w);
        if (w->deaf)
            orphan_attend(w);
        if (lifeline_telling(&w->life))
            orphan_tell(w);
        silence_ring(&w->sh);
        repairs_log(&w->sh);
        adjust_turn(w);
    }
}

void loop_times(struct worker *w)
{
    const struct settings *s = w->settings;

    w->read_timeout = seconds_to_ns(s->read_timeout);
    w->write_timeout = seconds_to_ns(s->write_timeout);
    w->default_lease = seconds_to_ns(s->default_lease_ttl);
    w->max_lease = seconds_to_ns(s->max_lease_ttl);
    w->next_gc = w->now + seconds_to_ns(s->gc_interval);
}

static int prepare(struct worker *w, const struct heritage *heritage)
{
    uint32_t slots = heritage->region->max_conns + 1;
    int err, landlock;

    w->heritage = heritage;
    lifeline_init(&w->life, heritage);
    w->settings = heritage->settings;
    w->r = heritage->region;
    w->now = w->began = clock_boottime_ns();
    w->budget = SERVE_MOST;
    w->handover_at = TIME_NEVER;
    loop_times(w);
    shared_attach(&w->sh, w->r, heritage->worker);
    w->peers = calloc(slots, sizeof(*w->peers));
    w->scratch = malloc(REQUEST_AUTH_BYTES_MAX);
    if (!w->peers || !w->scratch || queues_init(&w->queues, slots) != 0)
        return -ENOMEM;
    err = certificate_use(&w->tls, w->r, heritage->tls_files);
    if (!err)
        err = timers_init(&w->timers, slots);
    if (!err)
        err = jobs_init(&w->jobs, slots);
    if (err)
        return err;
    w->epfd = SYS(LOOP_EPOLL, epoll_create1(EPOLL_CLOEXEC));
    w->efd = SYS(LOOP_EVENTFD, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (w->epfd < 0 || w->efd < 0 || !loop_watch(w, w->efd, SOURCE_BELL) ||
        !loop_watch(w, w->life.channel, SOURCE_CHANNEL))
        return -errno;
    landlock = sandbox_start();
    err = bell_start_thread(w->r, heritage->worker, w->efd);
    /* Before the takeover, which serves requests already: one may be what its predecessor died of. */
    return err ? err : sandbox_seal(landlock, worker_calls, worker_ncalls);
}

int worker_run(const struct heritage *heritage)
{
    struct worker *w = calloc(1, sizeof(*w)); /* the process's end frees it */
    int err = w ? prepare(w, heritage) : -ENOMEM;

    if (!err) {
        /* A successor serves nothing as if there were no drain; nobody is adopted yet. */
        notice_drain(w);
        err = takeover(w);
    }
    if (!err && w->draining)
        conn_drain(w);
    if (err) {
        log_error("worker cannot start", log_err("error", err));
        return EXITCODE_FAIL;
    }
    return turns(w);
}
