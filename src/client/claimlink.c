/*
 * client/claimlink.c - what all states of a claim use: the end of a call, words for what went
 * wrong, and the connection over which they ask. See claimstate.h.
 */
#include "client/claimstate.h"

#include "base/clock.h"
#include "base/num.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- Time ------------------------------------------------------------------------------------ */

uint64_t claim_after(uint64_t start, uint64_t ns)
{
    uint64_t sum;

    return __builtin_add_overflow(start, ns, &sum) ? NEVER : sum;
}

uint64_t claim_ns(double seconds)
{
    return seconds >= (double)SECONDS_MAX ? seconds_to_ns(SECONDS_MAX)
                                          : (uint64_t)(seconds * (double)NS_PER_SEC);
}

uint64_t claim_least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- The end of a call ----------------------------------------------------------------------- */

void claim_finish(struct claim *c, int result)
{
    c->working = false;
    c->done = true;
    c->result = result;
}

void claim_fail(struct claim *c, const struct failure *f)
{
    if (&c->why != f)
        c->why = *f;
    claim_finish(c, f->code);
}

/* A key may be too long to leave room for the reason. */
void claim_blame(const struct claim *c, struct failure *f, int code, const char *format, ...)
{
    char reason[FAILURE_TEXT_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    failure_clear(f);
    failure_set(f, code, "%.80s at %.100s: %s", c->key, c->server->text, reason);
}

/* ---- The connection -------------------------------------------------------------------------- */

void claim_hang_up(struct claim *c)
{
    if (c->linked)
        channel_close(c->channel);
    c->linked = c->ready = c->owning = false;
    c->nrequests = 0;
}

static int dial(struct claim *c, uint64_t now)
{
    claim_hang_up(c);
    if (c->channel == NULL)
        c->channel = channel_new(c->o);
    if (c->channel == NULL)
        return DFLOCK_ERR_SYSTEM;
    channel_dial(c->channel, c->server, c->to, now);
    c->linked = true;
    c->dials++;
    return 0;
}

static const char *const verbs[][2] = {
    [ASK_ACQUIRE] = {"l", "sl"}, [ASK_ENQUEUE] = {"e", "se"}, [ASK_WAIT] = {"w", "sw"},
    [ASK_RENEW] = {"n", "sn"},   [ASK_RELEASE] = {"r", "sr"},
};

enum { ARGUMENT_MAX = WIRE_TOKEN_LEN + 3 * (NUM_U64_DIGITS + 1) };

static char *field(char *out, char *at, uint64_t value)
{
    if (at > out)
        *at++ = ' ';
    return at + num_format_u64(at, value);
}

/* The third line. The server knows whole seconds only: the next one, and our own timer ends it. */
static void argument(const struct claim *c, enum claim_ask what, char out[ARGUMENT_MAX + 1])
{
    uint64_t whole = (uint64_t)c->timeout;
    char *at = out;

    if (what == ASK_RENEW || what == ASK_RELEASE)
        at = stpcpy(at, c->token);
    if (what == ASK_ACQUIRE || what == ASK_WAIT)
        at = field(out, at, whole + (c->timeout > (double)whole));
    if ((what == ASK_ACQUIRE || what == ASK_ENQUEUE) && c->limit != 0)
        at = field(out, at, c->limit);
    if (what != ASK_WAIT && what != ASK_RELEASE && c->o->lease != 0)
        at = field(out, at, c->o->lease);
    *at = '\0';
}

/* Over the connection that there is, or a new one. */
int claim_send(struct claim *c, enum claim_ask what, uint64_t now)
{
    char arg[ARGUMENT_MAX + 1];
    int error = c->linked ? 0 : dial(c, now);

    argument(c, what, arg);
    if (error == 0)
        error = channel_request(c->channel, verbs[what][c->limit != 0], c->key, arg);
    if (error != 0)
        return error;
    c->requests[c->nrequests++] =
        (struct claim_request){.what = what, .certain = c->owning || !c->ready};
    c->again = true;
    return 0;
}

void claim_no_memory(struct claim *c, struct failure *f)
{
    claim_blame(c, f, DFLOCK_ERR_SYSTEM, "no memory for a connection");
}

void claim_said(const struct claim *c, struct failure *f, const struct dflock_reply *r)
{
    int code = r->status < 0 ? r->status : DFLOCK_ERR_PROTOCOL;
    const char *what = wire_words(code);

    if (what)
        claim_blame(c, f, code, "%s", what);
    else
        claim_blame(c, f, code, "the server says \"%.*s\"", (int)(r->len < 100 ? r->len : 100),
                    r->text);
}
