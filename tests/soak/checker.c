/*
 * tests/soak/checker.c - says whether a history of clients (history.h) is one that the protocol
 * allows. check.h says what is taken for certain, docs/internals/testing.md what the rules are.
 *
 *   checker [--excuse N] [--unborn N] FILE
 *
 * How many connections the server may have ended: any, and those that were never answered.
 *
 * Prints a line for each violation, 20 of a rule at most, and then what it saw. Exit status: 0 none
 * found, 1 some, 2 the history cannot be read.
 */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HALF_CLOSE (240 * NS_PER_MS) /* 250 ms, and the clocks are read a moment apart */

enum { ASKS = 64, BUCKETS = 64 * 8 };

struct conn {
    enum { UNKNOWN, OPENING, OPEN, ENDED } state;
    bool half, late_half; /* later than what the server must wait for */
    uint32_t wants;       /* a list */
    unsigned at, n;
    struct pending *pending;  /* a ring of ASKS */
    uint64_t answered, asked; /* times of the last */
};

/* An answer that came more than SOON after its time. */
struct slow {
    uint64_t line, t, from;
    uint32_t conn;
    struct pending asked;
};

struct want *wants;
uint32_t wants_n = 1;
uint64_t line_n, highest, grants;
unsigned long violations;

static uint32_t wants_room, conns_n;
static struct conn *conns;
static struct slow *slow;
static size_t slow_n;
static uint64_t clock_now, excused, unborn, last_kill;
static uint64_t counts[CMD_COUNT], replies, kills, ends;
static uint64_t latency[2][BUCKETS], latency_n[2], latency_min[2], latency_max[2];

static struct conn *conn_of(uint64_t id)
{
    if (id == 0 || id > UINT32_MAX / 2)
        broken("no such connection");
    if (id >= conns_n) {
        uint32_t room = conns_n ? conns_n : 1024;

        while (room <= id)
            room *= 2;
        conns = grow(conns, room, sizeof(*conns));
        memset(conns + conns_n, 0, (room - conns_n) * sizeof(*conns));
        conns_n = room;
    }
    return &conns[id];
}

static uint32_t new_want(struct conn *c, const struct event *ev, uint64_t limit)
{
    struct want *w;

    if (wants_n + 1 > wants_room) {
        wants_room = wants_room ? wants_room * 2 : 1 << 16;
        wants = grow(wants, wants_room, sizeof(*wants));
    }
    w = &wants[wants_n];
    memset(w, 0, sizeof(*w));
    w->key = find_key(ev->cmd, ev->key, limit);
    w->conn = (uint32_t)ev->conn;
    w->line = line_n;
    w->sent = ev->t;
    w->floor = highest;
    w->release_sent = w->gone = w->over = NEVER;
    w->two_phase = ev->cmd == CMD_E || ev->cmd == CMD_SE;
    w->next = c->wants;
    c->wants = wants_n;
    return wants_n++;
}

static void sent(const struct event *ev)
{
    struct conn *c = conn_of(ev->conn);
    struct pending p = {.cmd = ev->cmd, .line = line_n, .sent = ev->t};
    char *at = ev->text;
    uint64_t limit = 1, lease = DEFAULT_LEASE, fence, salt;
    bool sem = ev->cmd == CMD_SL || ev->cmd == CMD_SE;

    if (c->state != OPEN || c->half || c->n == ASKS)
        broken("a request on a connection that can have none");
    if (!c->pending)
        c->pending = grow(NULL, ASKS, sizeof(*c->pending));
    counts[ev->cmd]++;
    switch (ev->cmd) {
    case CMD_L:
    case CMD_SL:
        if (!history_number(&at, &p.timeout))
            broken("no timeout");
        __attribute__((fallthrough));
    case CMD_E:
    case CMD_SE:
        if (sem && !history_number(&at, &limit))
            broken("no limit");
        history_number(&at, &lease);
        p.want = new_want(c, ev, limit);
        wants[p.want].timeout = p.timeout * NS_PER_SEC;
        break;
    case CMD_W:
    case CMD_SW: {
        uint32_t key = find_key(ev->cmd, ev->key, 1);

        if (!history_number(&at, &p.timeout))
            broken("no timeout");
        p.want = c->wants; /* the last of this key: mostly the first in the list */
        while (p.want && !(wants[p.want].two_phase && wants[p.want].key == key))
            p.want = wants[p.want].next;
        if (!p.want)
            broken("w without e");
        wants[p.want].wait_sent = ev->t;
        wants[p.want].timeout = p.timeout * NS_PER_SEC;
        lease = 0; /* that of the e */
        break;
    }
    case CMD_R:
    case CMD_SR:
    case CMD_N:
    case CMD_SN: {
        struct want *w;

        if (!parse_token(at, &fence, &salt) || !(p.want = *find_fence(fence)) ||
            wants[p.want].salt != salt)
            broken("a token that nobody was given");
        w = &wants[p.want];
        p.bound = w->lease_from;
        if (ev->cmd == CMD_R || ev->cmd == CMD_SR) {
            if (w->release_sent == NEVER)
                w->release_sent = ev->t;
        } else {
            at += 32;
            at += *at == ' ';
            history_number(&at, &lease);
            if (w->lease_from > ev->t + lease * NS_PER_SEC)
                w->lease_from = ev->t + lease * NS_PER_SEC; /* it may shorten */
        }
        break;
    }
    default:
        break;
    }
    if (p.want && lease &&
        (ev->cmd == CMD_E || ev->cmd == CMD_SE || ev->cmd == CMD_L || ev->cmd == CMD_SL))
        wants[p.want].lease = lease * NS_PER_SEC;
    p.lease = lease;
    c->asked = ev->t;
    c->pending[(c->at + c->n++) % ASKS] = p;
}

static void count_latency(uint64_t from, uint64_t to)
{
    int disturbed = last_kill + 100 * NS_PER_MS > from;
    uint64_t us = (to - from) / 1000 + 8;
    int top = 63 - __builtin_clzll(us);

    latency[disturbed][top * 8 + (int)(us >> (top - 3) & 7)]++;
    if (latency_n[disturbed]++ == 0 || to - from < latency_min[disturbed])
        latency_min[disturbed] = to - from;
    if (to - from > latency_max[disturbed])
        latency_max[disturbed] = to - from;
}

static void received(const struct event *ev)
{
    struct conn *c = conn_of(ev->conn);
    struct pending p;
    uint64_t from;

    replies++;
    if (c->state != OPEN || c->n == 0) {
        object("reply-surplus", line_n, ev->t, (uint32_t)ev->conn, NULL, "%s", ev->text);
        return;
    }
    p = c->pending[c->at];
    c->at = (c->at + 1) % ASKS;
    c->n--;
    from = p.sent > c->answered ? p.sent : c->answered;
    c->answered = ev->t;
    if (!answered(ev, &p)) {
        object("form", line_n, ev->t, (uint32_t)ev->conn, key_name(p.want), "%s to %s of line %llu",
               ev->text, cmd_name[p.cmd], (unsigned long long)p.line);
        if (p.want && wants[p.want].outcome == WAITING) {
            wants[p.want].outcome = REFUSED;
            wants[p.want].ended = ev->t;
        }
        return;
    }
    if (p.timeout == 0)
        count_latency(from, ev->t);
    if (ev->t > from + p.timeout * NS_PER_SEC + SOON) {
        slow = grow(slow, slow_n + 1, sizeof(*slow));
        slow[slow_n++] = (struct slow){.line = line_n,
                                       .t = ev->t,
                                       .from = from + p.timeout * NS_PER_SEC,
                                       .conn = (uint32_t)ev->conn,
                                       .asked = p};
    }
}

/* When all is known that may have slowed them down. */
static void check_late(void)
{
    for (size_t i = 0; i < slow_n; i++) {
        const struct slow *s = &slow[i];

        if (s->t > late(s->from))
            object("late", s->line, s->t, s->conn, key_name(s->asked.want),
                   "the answer to %s of line %llu came after %.3f s", cmd_name[s->asked.cmd],
                   (unsigned long long)s->asked.line, (double)(s->t - s->asked.sent) * 1e-9);
    }
}

/* Its wants end; of a half-close those that are granted are held until the server ends it. */
static void end_wants(struct conn *c, uint64_t t, enum outcome outcome)
{
    for (uint32_t i = c->wants; i; i = wants[i].next) {
        struct want *w = &wants[i];

        if (w->gone > t)
            w->gone = t;
        if (w->outcome == WAITING) {
            w->outcome = outcome;
            w->ended = t;
        }
    }
}

static void conn_ended(const struct event *ev)
{
    struct conn *c = conn_of(ev->conn);
    bool ours = ev->what == 'X';
    uint32_t first = c->n ? c->pending[c->at].want : 0;
    bool unanswered = c->half && c->n > 0 && strcmp(ev->text, "eof") == 0;

    if (c->state == UNKNOWN || c->state == ENDED)
        broken("an end of what is not open");
    ends++;
    if (!ours && (unanswered ? !c->late_half : !c->half || strcmp(ev->text, "eof") != 0)) {
        /* A master that dies takes with it what it had accepted and not yet handed on. */
        uint64_t *most = c->answered == 0 && unborn ? &unborn : &excused;

        if (*most) {
            --*most;
            printf("excused: conn %llu, line %llu\n", (unsigned long long)ev->conn,
                   (unsigned long long)line_n);
        } else {
            object("connection-lost", line_n, ev->t, (uint32_t)ev->conn, key_name(first),
                   "%s, %u requests unanswered", ev->text, c->n);
        }
        end_wants(c, ev->t, LOST);
    } else {
        end_wants(c, ev->t, GONE);
    }
    c->state = ENDED;
    free(c->pending);
    c->pending = NULL;
}

static void half_closed(const struct event *ev)
{
    struct conn *c = conn_of(ev->conn);

    if (c->state != OPEN || c->half)
        broken("a half-close of what is not open");
    c->half = true;
    /* Later, the server may take it for the end of the client. */
    c->late_half = ev->extra && ev->t + ev->extra - c->asked > HALF_CLOSE;
    for (uint32_t i = c->wants; i; i = wants[i].next)
        wants[i].half = true;
}

static void take(struct event *ev)
{
    struct conn *c;

    if (ev->t < clock_now)
        broken("the clock runs backwards");
    clock_now = ev->t;
    switch (ev->what) {
    case 'B':
        highest = ev->conn;
        break;
    case 'O':
    case 'C':
        c = conn_of(ev->conn);
        if (c->state != UNKNOWN && !(ev->what == 'C' && c->state == OPENING))
            broken("a connection is made twice");
        c->state = ev->what == 'O' ? OPENING : OPEN;
        break;
    case 'S':
        sent(ev);
        break;
    case 'R':
        received(ev);
        break;
    case 'H':
        half_closed(ev);
        break;
    case 'X':
    case 'E':
        conn_ended(ev);
        break;
    case 'K':
        last_kill = ev->t;
        kills += ev->conn == 9 || ev->conn == 11;
        if (ev->conn == 19)
            away(ev->t, HANG);
        break;
    case 'P':
        away(ev->t > ev->conn ? ev->t - ev->conn : 0, ev->conn);
        break;
    default:
        break;
    }
}

/* Whatever was asked has been answered by now. */
static void check_end(void)
{
    for (uint32_t i = 1; i < conns_n; i++) {
        struct conn *c = &conns[i];

        if (c->state == OPEN && c->n) {
            const struct pending *p = &c->pending[c->at];

            object("reply-missing", p->line, p->sent, i, key_name(p->want),
                   "%s was never answered, nor %u after it", cmd_name[p->cmd], c->n - 1);
            end_wants(c, clock_now, WAITING);
        } else if (c->state == OPENING || (c->state == OPEN && c->half)) {
            object("end-missing", line_n, clock_now, i, NULL,
                   c->half ? "half-closed and answered, but not ended by the server"
                           : "never accepted");
        }
    }
}

static void summary(void)
{
    uint64_t requests = 0;

    for (int i = 0; i < CMD_COUNT; i++)
        requests += counts[i];
    printf("requests %llu replies %llu grants %llu keys %u ends %llu kills %llu highest %llu\n",
           (unsigned long long)requests, (unsigned long long)replies, (unsigned long long)grants,
           keys_n, (unsigned long long)ends, (unsigned long long)kills,
           (unsigned long long)highest);
    for (int d = 0; d < 2; d++) {
        uint64_t sum = 0, at[2] = {0, 0}, part[2] = {latency_n[d] / 2, latency_n[d] * 99 / 100};

        for (int i = 24; i < BUCKETS; i++) {
            for (int k = 0; k < 2; k++) {
                if (sum <= part[k] && sum + latency[d][i] > part[k])
                    at[k] = ((uint64_t)(8 + i % 8) << (i / 8 - 3)) - 8;
            }
            sum += latency[d][i];
        }
        printf("latency-us %s n %llu min %llu median %llu p99 %llu max %llu\n",
               d ? "disturbed" : "quiet", (unsigned long long)latency_n[d],
               (unsigned long long)latency_min[d] / 1000, (unsigned long long)at[0],
               (unsigned long long)at[1], (unsigned long long)latency_max[d] / 1000);
    }
    printf("violations %lu\n", violations);
}

int main(int argc, char **argv)
{
    struct event ev = {.what = 0};
    char *line = NULL;
    size_t room = 0;
    int at = 1;
    FILE *f;

    for (; at + 2 < argc; at += 2) {
        if (strcmp(argv[at], "--excuse") == 0)
            excused = strtoull(argv[at + 1], NULL, 10);
        else if (strcmp(argv[at], "--unborn") == 0)
            unborn = strtoull(argv[at + 1], NULL, 10);
        else
            break;
    }
    f = at == argc - 1 ? fopen(argv[at], "r") : NULL;
    if (!f) {
        fprintf(stderr, "usage: checker [--excuse N] [--unborn N] FILE\n");
        return 2;
    }
    while (getline(&line, &room, f) > 0) {
        line_n++;
        if (ev.what == 'Z' || !history_parse(line, &ev) || (line_n == 1) != (ev.what == 'B'))
            broken("not of the form of a history");
        take(&ev);
    }
    if (ev.what != 'Z')
        broken("the history has no end");
    check_end();
    check_late();
    check_keys();
    summary();
    free(line);
    fclose(f);
    return violations > 0;
}
