/*
 * tests/fuzz/connection.c - the connections of a lock worker, on streams and a clock that are the
 * input's: bytes come in any pieces, ends and resets at any moment, clients do not read, time
 * passes, the server drains. After each turn the shards are valid, each answer is one that the
 * protocol has, none comes that was not asked for, and what closed connections had is nobody's.
 *
 * The worker is the real one, but for what its loop waits for: epoll, the channel, the thread of
 * its bell. Input: a byte of settings, then steps; see step().
 */
#include "worker/loop.c"

#include "base/random.h"
#include "core/check.h"
#include "proto/request.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

const char fuzz_target[] = "connection";

enum {
    CLIENTS = 5,     /* connection slots in use: 1 to CLIENTS */
    SENT_MAX = 200000, /* bytes of one connection */
    STEPS_MAX = 400,
    LINE_MAX_TEXT = 1 << 17,
    ROOM = 1 << 30,
};

/* Instead of base/clock.c and base/random.c: the same input always does the same. ------------- */

static uint64_t clock_now, random_state;

uint64_t clock_boottime_ns(void)
{
    return clock_now;
}

uint64_t clock_realtime_ns(void)
{
    return UINT64_C(1700000000000000000) + clock_now;
}

uint64_t clock_monotonic_ns(void)
{
    return clock_now;
}

void clock_test_offset_ns(const int64_t *boottime, const int64_t *realtime)
{
    (void)boottime;
    (void)realtime;
}

int random_bytes(void *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)out)[i] = (uint8_t)fuzz_random(&random_state);
    return 0;
}

/* Clients ------------------------------------------------------------------------------------ */

static struct client {
    int fd;
    uint8_t sent[SENT_MAX];
    size_t nsent, taken;   /* by the worker, of what was sent */
    size_t parsed;         /* of it: whole requests, so many: */
    unsigned requests, replies;
    bool eof, reset, refused; /* refused: a line was too long, nothing more is asked */
    size_t room;           /* that the worker may write */
    char line[LINE_MAX_TEXT];
    size_t nline;
    char token[33];        /* of the last grant */
} client[CLIENTS + 1];

static struct worker w;
static struct region *r;
static struct settings settings;
static struct heritage heritage;
static uint32_t slot_of_fd[1024];

static struct client *client_of(const struct stream *s)
{
    return &client[slot_of_fd[s->fd]];
}

static ssize_t fake_recv(struct stream *s, void *buf, size_t n)
{
    struct client *c = client_of(s);
    size_t left = c->nsent - c->taken;

    if (c->reset)
        return STREAM_RESET;
    if (left == 0)
        return c->eof ? STREAM_END : STREAM_AGAIN;
    n = n < left ? n : left;
    memcpy(buf, c->sent + c->taken, n);
    c->taken += n;
    return (ssize_t)n;
}

static bool is_word(const char *line, const char *word)
{
    return strcmp(line, word) == 0;
}

/* " TOKEN SECONDS" */
static bool is_grant(const char *line, char token[33])
{
    size_t digits = strspn(line + 1, "0123456789abcdef");

    if (line[0] != ' ' || digits != 32 || line[33] != ' ' || line[34] < '1' || line[34] > '9' ||
        strspn(line + 34, "0123456789") != strlen(line + 34))
        return false;
    memcpy(token, line + 1, 32);
    token[32] = '\0';
    return true;
}

static void check_line(struct client *c)
{
    static const char *const said[] = {
#define REPLY(name, word) word,
#include "proto/reply.def"
#undef REPLY
    };
    bool known = false;

    c->line[c->nline] = '\0';
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
        known |= is_word(c->line, said[i]);
    if (strncmp(c->line, "ok {", 4) == 0)
        known = c->line[c->nline - 1] == '}';
    else if (strncmp(c->line, "ok ", 3) == 0)
        known = is_grant(c->line + 2, c->token) ||
                strspn(c->line + 3, "0123456789") == c->nline - 3;
    else if (strncmp(c->line, "acquired ", 9) == 0)
        known = is_grant(c->line + 8, c->token);
    FUZZ_REQUIRE(known, "reply \"%.200s\"", c->line);
    c->replies++;
    fuzz_calls++;
    /* One more: `error` to who is late. */
    FUZZ_REQUIRE(c->replies <= c->requests + 1, "%u replies to %u requests", c->replies,
                 c->requests);
}

static ssize_t fake_send(struct stream *s, const void *buf, size_t n)
{
    struct client *c = client_of(s);

    if (c->reset)
        return STREAM_RESET;
    if (c->room == 0)
        return STREAM_AGAIN;
    n = n < c->room ? n : c->room;
    c->room -= n;
    for (size_t i = 0; i < n; i++) {
        char byte = ((const char *)buf)[i];

        if (byte == '\n') {
            check_line(c);
            c->nline = 0;
            continue;
        }
        FUZZ_REQUIRE(c->nline < sizeof(c->line) - 1, "a line without an end");
        c->line[c->nline++] = byte;
    }
    return (ssize_t)n;
}

static int fake_finish(struct stream *s)
{
    (void)s;
    return 0;
}

static void fake_close(struct stream *s)
{
    s->fd = 0;
}

static void fake_abandon(struct stream *s)
{
    (void)s;
}

static const struct stream_ops fake_ops = {.recv = fake_recv,
                                           .send = fake_send,
                                           .finish = fake_finish,
                                           .close = fake_close,
                                           .abandon = fake_abandon};

/* Counts what is whole by now, as the protocol says. */
static void count_requests(struct client *c)
{
    while (!c->refused) {
        struct request req;
        enum request_result got =
            request_parse((char *)c->sent + c->parsed, c->nsent - c->parsed, &req);

        if (got == REQUEST_MORE)
            return;
        c->requests++;
        c->parsed += req.consumed;
        c->refused = got == REQUEST_LONG;
    }
}

static void send_bytes(struct client *c, const void *bytes, size_t n)
{
    n = n < sizeof(c->sent) - c->nsent ? n : sizeof(c->sent) - c->nsent;
    if (c->eof || c->reset)
        return;
    memcpy(c->sent + c->nsent, bytes, n);
    c->nsent += n;
    count_requests(c);
}

/* The worker --------------------------------------------------------------------------------- */

/* Once; what a start of the process would do without its sandbox. */
static void prepare_all(void)
{
    static const struct region_limits limits = {
        .max_locks = 16, .max_conns = CLIENTS + 1, .max_nodes = 64};
    int fd, err, pair[2];
    struct region *shared = region_create_fd(&limits, &fd, &err);

    FUZZ_REQUIRE(shared && mprotect(shared, REGION_SEALED, PROT_READ | PROT_WRITE) == 0,
                 "no region");
    shared->hash_key = (struct siphash_key){7, 8};
    shared->fence_next = shared->created = UINT64_C(1700000000000000000);
    region_worker(shared, 0)->generation = 1;
    shared->nworkers = 1;
    region_destroy(shared);
    r = region_load(fd, &err);
    FUZZ_REQUIRE(r, "%s", region_error_text(err));
    log_set_level(LVL_ERROR);
    heritage = (struct heritage){.region = r, .settings = &settings};
    for (unsigned i = 0; i < HERITAGE_DOCS; i++)
        heritage.docs[i] = memfd_create("document", MFD_CLOEXEC);
    for (uint32_t i = 1; i <= CLIENTS; i++) {
        FUZZ_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 &&
                         pair[0] < 1024,
                     "no sockets");
        client[i].fd = pair[0];
        slot_of_fd[pair[0]] = i;
    }
    w.peers = calloc(r->max_conns + 1, sizeof(*w.peers));
    w.scratch = malloc(REQUEST_AUTH_BYTES_MAX);
    w.epfd = epoll_create1(EPOLL_CLOEXEC);
    FUZZ_REQUIRE(timers_init(&w.timers, r->max_conns + 1) == 0 &&
                     jobs_init(&w.jobs, r->max_conns + 1) == 0 &&
                     queues_init(&w.queues, r->max_conns + 1) == 0 && w.epfd >= 0,
                 "no memory");
}

static void begin(uint8_t how)
{
    struct worker fresh = {.peers = w.peers,
                           .queues = w.queues,
                           .scratch = w.scratch,
                           .timers = w.timers,
                           .jobs = w.jobs,
                           .epfd = w.epfd};

    FUZZ_REQUIRE(madvise(r, r->size, MADV_DONTNEED) == 0, "madvise");
    memset(w.peers, 0, (r->max_conns + 1) * sizeof(*w.peers));
    clock_now = 1000 * NS_PER_SEC;
    random_state = 1;
    settings.default_lease_ttl = 33;
    settings.max_lease_ttl = how & 1 ? 40 : 0;
    settings.gc_interval = 5;
    settings.gc_max_idle = 60;
    settings.read_timeout = 23;
    settings.write_timeout = 5;
    settings.auto_release_on_disconnect = !(how & 2);
    settings.max_waiters = how & 4 ? 2 : 0;
    w = fresh;
    w.heritage = &heritage;
    w.settings = &settings;
    w.r = r;
    w.now = w.began = clock_now;
    w.handover_at = TIME_NEVER;
    w.budget = how & 8 ? 128 : 4;
    w.life = (struct lifeline){.heritage = &heritage, .channel = -1, .next = LIFELINE_SAID};
    w.timers.n = 0;
    for (unsigned i = 0; i < QUEUES; i++)
        w.queues.queue[i].n = 0;
    loop_times(&w);
    shared_attach(&w.sh, r, 0);
    w.sh.slot->beat = clock_now;
    FUZZ_REQUIRE(iobufs_init(&w.bufs, r, 0) == 0, "no memory");
}

static void connect_client(uint32_t slot)
{
    struct client *c = &client[slot];

    if (conns_slot(r, slot)->state != CONN_FREE)
        return;
    c->nsent = c->taken = c->parsed = c->nline = 0;
    c->requests = c->replies = 0;
    c->eof = c->reset = c->refused = false;
    c->room = ROOM;
    c->token[0] = '\0';
    conns_slot(r, slot)->family = AF_UNIX;
    conns_open(r, slot, r->conn_id_next++, 0, clock_now);
    r->nconns++;
    /* Nothing is there to be read yet, so the stream is not touched before it is ours. */
    conn_adopt(&w, slot, c->fd, false);
    FUZZ_REQUIRE(w.peers[slot].stream.fd == c->fd, "not adopted");
    w.peers[slot].stream.ops = &fake_ops;
}

static uint32_t events[CLIENTS + 1]; /* by slot: what epoll would say */

/* As turns() in loop.c. True: it would not sleep. */
static bool turn(void)
{
    bool silent = beat(&w), busy;
    uint64_t mask = bell_drain(r, 0);
    uint32_t slot;

    w.now = clock_now;
    if (mask)
        deliver_shards(&w, mask);
    notice_drain(&w);
    for (slot = 1; slot <= CLIENTS; slot++) {
        if (!events[slot] || w.peers[slot].stream.fd <= 0)
            continue;
        conn_event(&w, slot, events[slot]);
        events[slot] = 0;
    }
    notice_fences(&w);
    run_leaving(&w, LEAVES_A_TURN);
    run_ready(&w);
    run_greedy(&w);
    run_sending(&w);
    for (unsigned i = 0; i < TIMEOUTS_A_TURN && (slot = timers_pop(&w)) != 0; i++)
        conn_timeout(&w, slot);
    if (w.starved && w.now >= w.next_tick)
        starved_again(&w);
    if (!silent)
        w.catches_up = false;
    else
        catch_up(&w);
    expire_turn(&w);
    mask = bell_drain(r, 0);
    if (mask)
        deliver_shards(&w, mask);
    busy = job_turn(&w);
    handover_turn(&w);
    loop_flush_closed(&w);
    silence_ring(&w.sh);
    return busy || any_queued(&w);
}

/* What holds between two turns. */
static void check_shards(void)
{
    struct check_report found;

    for (uint32_t s = 0; s < SHARD_COUNT; s++)
        FUZZ_REQUIRE(table_shard(&w.sh.table, s)->res_bump == 0 || /* never used */
                         check_shard(&w.sh.table, s, &found) == 0,
                     "shard %u: I%d at %u: %s", s, found.invariant, found.index, found.what);
}

static void check_client(uint32_t slot)
{
    const struct conn *conn = conns_slot(r, slot);
    const struct client *c = &client[slot];

    if (conn->state == CONN_OPEN) {
        FUZZ_REQUIRE(conns_possible(r, slot), "connection %u cannot be", slot);
        /* It reads, and has read, served and said all there is. */
        if (conn->phase == PHASE_READY && c->taken == c->nsent && !c->reset &&
            conns_in_used(conn) == c->nsent - c->parsed && conns_out_used(conn) == 0)
            FUZZ_REQUIRE(c->replies == c->requests, "%u replies to %u requests", c->replies,
                         c->requests);
    } else if (conn->state == CONN_CLOSED) {
        /* Here the master comes. */
        FUZZ_REQUIRE(!table_owns_any(&w.sh.table, slot), "closed connection %u has something",
                     slot);
        FUZZ_REQUIRE(w.peers[slot].stream.fd == 0 && conn->iobuf == 0 && conn->bigbuf == 0 &&
                         conn->doc == 0,
                     "closed connection %u has a socket, a buffer or a document", slot);
        conns_free(r, slot);
        r->nconns--;
    }
}

static void turns_until_quiet(void)
{
    unsigned n = 0;

    while (turn())
        FUZZ_REQUIRE(++n < 10000, "it is never quiet");
    for (uint32_t slot = 1; slot <= CLIENTS; slot++)
        check_client(slot);
    check_shards();
}

static void pass_time(uint64_t ns)
{
    clock_now += ns;
    w.now = clock_now;
    turns_until_quiet();
}

/* The input ---------------------------------------------------------------------------------- */

static void ask(struct fuzz_in *in, struct client *c)
{
    static const char *const word[] = {"l",  "l",  "e",  "w",    "r",     "n",    "sl",   "sr",
                                       "sn", "se", "sw", "ping", "stats", "list", "show", "evict"};
    static const char long_name[] = "a-key-that-is-so-long-that-it-does-not-fit-into-the-record-of-"
                                    "its-resource-at-all";
    static const char *const name[] = {"a", "b", "c", long_name};
    uint8_t how = fuzz_u8(in), arg = fuzz_u8(in);
    const char *command = word[how % 16], *last = command + strlen(command) - 1;
    char text[300], third[64];

    if (strcmp(command, "stats") == 0 || strcmp(command, "ping") == 0)
        third[0] = '\0';
    else if (strcmp(command, "list") == 0)
        third[0] = '\0';
    else if (strcmp(command, "show") == 0 || strcmp(command, "evict") == 0)
        snprintf(third, sizeof(third), "%s", arg & 1 ? "lock" : "sem");
    else if (*last == 'r')
        snprintf(third, sizeof(third), "%s", client[1 + arg % CLIENTS].token);
    else if (*last == 'n')
        snprintf(third, sizeof(third), "%s %u", client[1 + arg % CLIENTS].token, 1 + arg / 8);
    else if (*last == 'w')
        snprintf(third, sizeof(third), "%u", arg % 16);
    else if (strcmp(command, "se") == 0)
        snprintf(third, sizeof(third), "%u %u", 1 + arg % 3, 1 + arg / 4);
    else if (strcmp(command, "sl") == 0)
        snprintf(third, sizeof(third), "%u %u %u", arg % 8, 1 + arg / 8 % 3, 1 + arg / 8);
    else if (*last == 'e')
        snprintf(third, sizeof(third), "%u", 1 + arg);
    else
        snprintf(third, sizeof(third), "%u %u", arg % 8, 1 + arg / 8);
    snprintf(text, sizeof(text), "%s\n%s\n%s\n", command, name[how >> 4 & 3], third);
    send_bytes(c, text, strlen(text));
}

static void step(struct fuzz_in *in)
{
    uint8_t what = fuzz_u8(in);
    uint32_t slot = 1 + (what >> 4) % CLIENTS;
    struct client *c = &client[slot];
    uint8_t n;

    switch (what & 15) {
    case 0: /* what follows in the input, as it is */
    case 1:
        connect_client(slot);
        n = fuzz_u8(in);
        n = n < in->left ? n : (uint8_t)in->left;
        send_bytes(c, in->at, n);
        in->at += n;
        in->left -= n;
        events[slot] |= EPOLLIN;
        break;
    case 2:
    case 3:
    case 4:
    case 5: /* a request, and perhaps more before anybody looks */
        connect_client(slot);
        ask(in, c);
        events[slot] |= EPOLLIN;
        if ((what & 15) == 5)
            return;
        break;
    case 6:
        c->eof = true;
        events[slot] |= EPOLLIN | EPOLLRDHUP;
        break;
    case 7:
        c->reset = true;
        events[slot] |= EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
        break;
    case 8:
        c->room = fuzz_u8(in);
        break;
    case 9:
        c->room = ROOM;
        events[slot] |= EPOLLOUT;
        break;
    case 10:
        pass_time((uint64_t)fuzz_u8(in) * NS_PER_MS);
        return;
    case 11: /* as if nobody came */
        for (n = fuzz_u8(in) % 100; n > 0; n--)
            pass_time(400 * NS_PER_MS);
        return;
    case 12: /* the process was stopped */
        pass_time((uint64_t)(1 + fuzz_u8(in) % 64) * NS_PER_SEC);
        return;
    case 13: { /* many bytes of one sort */
        static char fill[70000];
        size_t len = (size_t)fuzz_u8(in) * 270;

        connect_client(slot);
        memset(fill, 'f', sizeof(fill));
        send_bytes(c, fill, len);
        events[slot] |= EPOLLIN;
        break;
    }
    case 14:
        turn(); /* one only */
        return;
    default:
        if (fuzz_u8(in) == 0xdd)
            r->draining = 1;
    }
    turns_until_quiet();
}

static bool anybody(void)
{
    for (uint32_t slot = 1; slot <= CLIENTS; slot++)
        if (conns_slot(r, slot)->state != CONN_FREE)
            return true;
    return false;
}

/* All leave; nothing of them stays, or not for longer than their leases. */
static void end(void)
{
    for (uint32_t slot = 1; slot <= CLIENTS; slot++) {
        client[slot].reset = true;
        events[slot] |= EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
    }
    for (unsigned n = 0; anybody(); n++) {
        FUZZ_REQUIRE(n < 1000, "connections that do not end");
        pass_time(100 * NS_PER_MS);
    }
    /* Without release on disconnect what they held stays to the end of its lease. */
    for (uint32_t s = 0; s < SHARD_COUNT; s++) {
        const struct shard *shard = table_shard(&w.sh.table, s);

        for (unsigned k = 0; k < SHARD_KINDS; k++) {
            FUZZ_REQUIRE(shard->nwaiting[k] == 0, "nobody is there, and waits in shard %u", s);
            FUZZ_REQUIRE(shard->nheld[k] == 0 || !settings.auto_release_on_disconnect,
                         "nobody is there, and holds in shard %u", s);
        }
    }
    memset(events, 0, sizeof(events));
    iobufs_destroy(&w.bufs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_in in = {data, size};

    if (!r)
        prepare_all();
    begin(fuzz_u8(&in));
    for (unsigned n = 0; n < STEPS_MAX && in.left; n++)
        step(&in);
    end();
    return 0;
}
