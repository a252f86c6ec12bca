/*
 * worker/inquest.c - what the slot's last worker died of, and what it may have damaged in its
 * connections. The heir's, before it adopts anything.
 *
 * Poison: the connection that a worker is running is named in its slot, and a request is known by
 * its place in the stream. Two crashes while the connection is run, whatever it is doing, or three
 * deaths of any kind while a request is executed, and the connection is lost. (Who kills workers from
 * outside will not hit the same request three times.) Its bytes are shown, not parsed: the parser may
 * be what they kill.
 */
#include "base/log.h"
#include "worker/worker.h"

#include <string.h>

enum { CRASHES_MAX = 2, DEATHS_MAX = 3, SHOWN_BYTES = 128 };

static uint8_t one_more(uint8_t n)
{
    return n < UINT8_MAX ? (uint8_t)(n + 1) : n;
}

static void blame(struct worker *w, struct conn *c, bool crash)
{
    struct journal *j = &w->sh.slot->journal;
    char *base = region_base(w->r);
    bool again = c->blamed_at == c->in_head + 1;
    uint8_t deaths = again ? c->deaths : 0, crashes = again ? c->crashes : 0;

    JOURNAL_SET(j, base, c->blamed_at, c->in_head + 1);
    JOURNAL_SET(j, base, c->deaths, one_more(deaths));
    JOURNAL_SET(j, base, c->crashes, crash ? one_more(crashes) : crashes);
}

void inquest_count(struct worker *w)
{
    struct worker_slot *s = w->sh.slot;
    struct journal *j = &s->journal;
    char *base = region_base(w->r);
    uint32_t slot = s->serving & ~SERVING_EXECUTES;
    bool crash = s->died == DIED_CRASHED;

    if (s->died != DIED_COUNTED && slot >= 1 && slot <= w->r->max_conns) {
        struct conn *c = conns_slot(w->r, slot);

        if (conns_state(c) == CONN_OPEN && conns_is_of(c, w->sh.worker) &&
            (crash || (s->serving & SERVING_EXECUTES)))
            blame(w, c, crash);
    }
    /* One transaction: a death is counted once, however often its heirs die. */
    JOURNAL_SET(j, base, s->died, DIED_COUNTED);
    JOURNAL_SET(j, base, s->serving, 0);
    JOURNAL_SET(j, base, s->counted, s->generation);
    journal_commit(j);
}

/* The first two lines: command and key. The third may be a token, or a secret. */
static size_t shown(const char *bytes, size_t n)
{
    const char *command_end = memchr(bytes, '\n', n), *key_end;

    if (!command_end || (n >= 4 && memcmp(bytes, "auth", 4) == 0))
        return command_end ? (size_t)(command_end - bytes) : n < 16 ? n : 16;
    n -= (size_t)(command_end + 1 - bytes);
    key_end = memchr(command_end + 1, '\n', n);
    return (size_t)((key_end ? key_end : command_end + 1 + n) - bytes);
}

void inquest_cut_off(struct worker *w, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);
    const char *view = "?";
    size_t n = 1;
    char peer[64];

    if (c->blamed_at == 0 || (c->crashes < CRASHES_MAX && c->deaths < DEATHS_MAX))
        return;
    /* Who has not authenticated may have sent a secret in any place. */
    if (c->iobuf && !session_must_authenticate(w, c)) {
        n = conns_view(w->r, c, w->scratch, SHOWN_BYTES, &view);
        n = shown(view, n);
    }
    /* Never rate-limited. */
    LOG_WRITE(NULL, LVL_ERROR,
              "poison: this request was being served when its workers died, its connection is "
              "closed, its slots are kept",
              log_uint("conn", c->id), log_str("peer", conns_peer_text(c, peer, sizeof(peer))),
              log_uint("crashes", c->crashes), log_uint("deaths", c->deaths),
              log_bytes("request", view, n));
    tally_add(&w->sh.slot->counters.poisoned, 1);
    c->flags |= CONN_LOST;
    c->blamed_at = 0;
    c->in_head = c->in_tail;
    c->phase = PHASE_DROP;
}

/* A slot that cannot be true was written over: nothing is known of the stream any more. */
void inquest_mend(struct worker *w, uint32_t slot)
{
    if (conns_possible(w->r, slot))
        return;
    LOG_WRITE(NULL, LVL_ERROR,
              "a connection's record was damaged, it is closed, its slots are kept",
              log_uint("conn", conns_slot(w->r, slot)->id), log_uint("slot", slot));
    conns_give_up(w->r, slot);
}
