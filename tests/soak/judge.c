/*
 * tests/soak/judge.c - the rules about one reply: its form, tokens and fences, leases and timeouts.
 */
#include "check.h"

#include <stdlib.h>
#include <string.h>

bool parse_token(const char *s, uint64_t *fence, uint64_t *salt)
{
    char half[17];

    if (strspn(s, "0123456789abcdef") != 32)
        return false;
    memcpy(half, s, 16);
    half[16] = 0;
    *fence = strtoull(half, NULL, 16);
    *salt = strtoull(s + 16, NULL, 16);
    return true;
}

const char *key_name(uint32_t want)
{
    return want ? keys[wants[want].key].name : "-";
}

/* TOKEN LEASE, for the want of p. */
static void granted(const struct event *ev, const struct pending *p, const char *text)
{
    struct want *w = &wants[p->want];
    uint64_t fence, salt, lease;
    char *at = (char *)text + 33;
    uint32_t *place;

    if (!parse_token(text, &fence, &salt) || text[32] != ' ' || !history_number(&at, &lease) ||
        *at || lease * NS_PER_SEC != w->lease) {
        object("form", line_n, ev->t, w->conn, key_name(p->want), "%s of %s, lease %llu s", text,
               cmd_name[p->cmd], (unsigned long long)(w->lease / NS_PER_SEC));
        return;
    }
    if (w->outcome == GRANTED) { /* w after acquired */
        if (fence != w->fence || salt != w->salt)
            object("form", line_n, ev->t, w->conn, key_name(p->want), "w changed the token");
    } else {
        place = find_fence(fence);
        if (*place)
            object("fence-unique", line_n, ev->t, w->conn, key_name(p->want),
                   "fence %llu was given before, for line %llu", (unsigned long long)fence,
                   (unsigned long long)wants[*place].line);
        if (fence <= w->floor)
            object("fence-order", line_n, ev->t, w->conn, key_name(p->want),
                   "fence %llu, although %llu had been received before line %llu",
                   (unsigned long long)fence, (unsigned long long)w->floor,
                   (unsigned long long)w->line);
        w->fence = fence;
        w->salt = salt;
        w->outcome = GRANTED;
        w->received = ev->t;
        *place = p->want;
        grants++;
        if (fence > highest)
            highest = fence;
    }
    w->lease_from = p->sent + w->lease;
    w->lease_seen = ev->t;
}

static void answered_release(const struct event *ev, const struct pending *p, bool ok)
{
    struct want *w = &wants[p->want];

    if (ok && (w->over < p->sent || w->held_until))
        object("released-twice", line_n, ev->t, w->conn, key_name(p->want),
               "line %llu is answered ok, but it was not held any more",
               (unsigned long long)p->line);
    if (ok && !w->held_until)
        w->held_until = p->sent;
    if (!ok && ev->t < w->lease_from && w->release_sent == p->sent && w->gone == NEVER &&
        !w->half && !w->held_until && !w->refused)
        object("lease-early", line_n, ev->t, w->conn, key_name(p->want),
               "line %llu, a release, is refused %.3f s before the lease can end",
               (unsigned long long)p->line, (double)(w->lease_from - ev->t) * 1e-9);
    if (w->over > ev->t)
        w->over = ev->t;
}

static void answered_renew(const struct event *ev, const struct pending *p, const char *text)
{
    struct want *w = &wants[p->want];
    char *at = (char *)text + 3;
    uint64_t seconds;

    if (strcmp(text, "error") == 0) {
        if (ev->t < p->bound && w->release_sent == NEVER && w->gone == NEVER && !w->half)
            object("lease-early", line_n, ev->t, w->conn, key_name(p->want),
                   "line %llu, a renewal, is refused %.3f s before the lease can end",
                   (unsigned long long)p->line, (double)(p->bound - ev->t) * 1e-9);
        w->refused = true;
        w->lease_from = p->bound < p->sent ? p->bound : p->sent;
        if (w->over > ev->t)
            w->over = ev->t;
        return;
    }
    if (!history_number(&at, &seconds) || *at || seconds != p->lease)
        object("form", line_n, ev->t, w->conn, key_name(p->want), "%s to a renewal by %llu s", text,
               (unsigned long long)p->lease);
    if (w->over < p->sent)
        object("released-twice", line_n, ev->t, w->conn, key_name(p->want),
               "line %llu is answered ok, but it was not held any more",
               (unsigned long long)p->line);
    w->lease = p->lease * NS_PER_SEC;
    w->lease_from = p->sent + w->lease;
    w->lease_seen = ev->t;
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

bool answered(const struct event *ev, const struct pending *p)
{
    struct want *w = p->want ? &wants[p->want] : NULL;
    const char *text = ev->text;
    bool two = p->cmd == CMD_W || p->cmd == CMD_SW;

    switch (p->cmd) {
    case CMD_PING:
        return strcmp(text, "ok") == 0;
    case CMD_STATS:
        return starts(text, "ok {") && text[strlen(text) - 1] == '}';
    case CMD_R:
    case CMD_SR:
        if (strcmp(text, "ok") != 0 && strcmp(text, "error") != 0)
            return false;
        answered_release(ev, p, *text == 'o');
        return true;
    case CMD_N:
    case CMD_SN:
        if (!starts(text, "ok ") && strcmp(text, "error") != 0)
            return false;
        answered_renew(ev, p, text);
        return true;
    case CMD_E:
    case CMD_SE:
        if (strcmp(text, "queued") == 0) {
            w->queued = ev->t;
            return true;
        }
        if (!starts(text, "acquired "))
            return false;
        w->acquired = true;
        granted(ev, p, text + 9);
        return true;
    default:
        break;
    }
    if (starts(text, "ok ")) {
        granted(ev, p, text + 3);
        return true;
    }
    if (strcmp(text, "error_lease_expired") == 0) {
        uint64_t bound = w->outcome == GRANTED ? w->lease_from : w->sent + w->lease;

        if (ev->t < bound)
            object("lease-early", line_n, ev->t, w->conn, key_name(p->want),
                   "line %llu: it says so %.3f s before the lease can end",
                   (unsigned long long)p->line, (double)(bound - ev->t) * 1e-9);
        if (w->outcome != GRANTED)
            w->outcome = REFUSED;
        w->refused = true;
        w->over = ev->t;
    } else if (strcmp(text, "timeout") == 0 && w->outcome != GRANTED) {
        if (ev->t < p->sent + w->timeout)
            object("timeout-early", line_n, ev->t, w->conn, key_name(p->want),
                   "line %llu, after %.3f s of %.0f", (unsigned long long)p->line,
                   (double)(ev->t - p->sent) * 1e-9, (double)w->timeout * 1e-9);
        w->outcome = TIMED_OUT;
    } else {
        return false;
    }
    if (two && w->outcome == GRANTED)
        return true;
    w->ended = ev->t;
    return true;
}
