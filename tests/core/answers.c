/*
 * tests/core/answers.c - see answers.h.
 */
#include "tests/core/answers.h"

#include <stdio.h>

static const char *const verdict_name[] = {
    "ok",
    "queued",
    "timeout",
    "not held",
    "limit mismatch",
    "need unit",
    "max locks",
    "max waiters",
    "no nodes",
    "no fence",
    "already enqueued",
    "not enqueued",
    "lease expired",
};

static const char *const trait_name[] = {
    "made",  "dropped", "claimed", "returned",  "passed",
    "ended", "moved",   "fed",     "two-phase", "told",
};

const struct answer answers[] = {
    {OP_ACQUIRE, VERDICT_OK, 0},
    {OP_ACQUIRE, VERDICT_OK, ENQUEUED},
    {OP_ACQUIRE, VERDICT_OK, MADE},
    {OP_ACQUIRE, VERDICT_OK, MADE | ENQUEUED},
    {OP_ACQUIRE, VERDICT_OK, CLAIMED},
    {OP_ACQUIRE, VERDICT_QUEUED, 0},
    {OP_ACQUIRE, VERDICT_QUEUED, ENQUEUED},
    {OP_ACQUIRE, VERDICT_QUEUED, CLAIMED},
    {OP_ACQUIRE, VERDICT_QUEUED, MADE},
    {OP_ACQUIRE, VERDICT_QUEUED, MADE | ENQUEUED},
    {OP_ACQUIRE, VERDICT_TIMEOUT, 0},
    {OP_ACQUIRE, VERDICT_LIMIT_MISMATCH, 0},
    {OP_ACQUIRE, VERDICT_NEED_UNIT, 0},
    {OP_ACQUIRE, VERDICT_MAX_LOCKS, 0},
    {OP_ACQUIRE, VERDICT_MAX_WAITERS, 0},
    {OP_ACQUIRE, VERDICT_NO_NODES, 0},
    {OP_ACQUIRE, VERDICT_NO_FENCE, 0},
    {OP_ACQUIRE, VERDICT_ALREADY_ENQUEUED, ENQUEUED},
    {OP_EXPIRE_KEY, true, ENDED},
    {OP_EXPIRE_KEY, true, ENDED | PASSED},
    {OP_EXPIRE_KEY, false, 0},
    {OP_WAIT, VERDICT_OK, 0},
    {OP_WAIT, VERDICT_QUEUED, 0},
    {OP_WAIT, VERDICT_TIMEOUT, 0},
    {OP_WAIT, VERDICT_NOT_ENQUEUED, 0},
    {OP_WAIT, VERDICT_NO_FENCE, 0},
    {OP_WAIT, VERDICT_LEASE_EXPIRED, 0},
    {OP_WAIT, VERDICT_LEASE_EXPIRED, ENDED},
    {OP_WAIT, VERDICT_LEASE_EXPIRED, ENDED | PASSED},
    {OP_RELEASE, VERDICT_OK, 0},
    {OP_RELEASE, VERDICT_OK, PASSED},
    {OP_RELEASE, VERDICT_OK, PASSED | TOLD},
    {OP_RELEASE, VERDICT_OK, RETURNED},
    {OP_RELEASE, VERDICT_NOT_HELD, 0},
    {OP_RENEW, VERDICT_OK, 0},
    {OP_RENEW, VERDICT_NO_FENCE, 0},
    {OP_RENEW, VERDICT_NOT_HELD, 0},
    {OP_RENEW, VERDICT_NOT_HELD, ENDED},
    {OP_RENEW, VERDICT_NOT_HELD, ENDED | PASSED},
    {OP_EVICT, VERDICT_OK, 0},
    {OP_EVICT, VERDICT_OK, PASSED},
    {OP_EVICT, VERDICT_OK, RETURNED},
    {OP_EVICT, VERDICT_NOT_HELD, 0},
    {OP_DELIVER, VERDICT_OK, 0},
    {OP_DELIVER, VERDICT_LEASE_EXPIRED, 0},
    {OP_DELIVER, VERDICT_NO_FENCE, 0},
    {OP_UNBLOCK, VERDICT_OK, 0},
    {OP_UNBLOCK, VERDICT_TIMEOUT, 0},
    {OP_UNBLOCK, VERDICT_TIMEOUT, PASSED},
    {OP_UNBLOCK, VERDICT_LEASE_EXPIRED, 0},
    {OP_LOSE_WAIT, VERDICT_OK, 0},
    {OP_LOSE_WAIT, VERDICT_OK, PASSED},
    {OP_DROP_OWNER, true, 0},
    {OP_DROP_OWNER, true, PASSED},
    {OP_DROP_OWNER, true, RETURNED},
    {OP_DROP_OWNER, false, 0},
    {OP_DROP_TOMBSTONE, true, 0},
    {OP_DROP_TOMBSTONE, false, 0},
    {OP_EXPIRE, true, ENDED},
    {OP_EXPIRE, true, ENDED | PASSED},
    {OP_EXPIRE, true, ENDED | RETURNED},
    {OP_EXPIRE, true, MOVED},
    {OP_EXPIRE, true, FED},
    {OP_EXPIRE, false, 0},
    {OP_COLLECT, true, DROPPED},
    {OP_COLLECT, false, 0},
    {OP_EXTEND, true, 0},
    {OP_EXTEND, false, 0},
};

const unsigned nanswers = sizeof(answers) / sizeof(answers[0]);

_Static_assert(sizeof(answers) / sizeof(answers[0]) <= ANSWERS_MAX, "ANSWERS_MAX");

static bool answers_with_bool(enum op_kind kind)
{
    return kind == OP_EXPIRE_KEY || kind >= OP_DROP_OWNER;
}

struct answer answer_of(const struct op *op, const struct outcome *out, const struct shard *s,
                        uint32_t resources, uint32_t nchunks)
{
    struct answer a = {.kind = op->kind,
                       .verdict = answers_with_bool(op->kind) ? out->more : out->verdict};
    bool expiry = op->kind == OP_EXPIRE && out->more && !out->expired;

    a.with = (s->res_count > resources ? MADE : 0u) | (s->res_count < resources ? DROPPED : 0u) |
             (s->nchunks > nchunks ? CLAIMED : 0u) | (s->nchunks < nchunks ? RETURNED : 0u) |
             (out->ngrants && op->kind != OP_ACQUIRE ? PASSED : 0u) | (out->expired ? ENDED : 0u) |
             (expiry && !out->ngrants ? MOVED : 0u) | (expiry && out->ngrants ? FED : 0u) |
             (op->two_phase ? ENQUEUED : 0u) | (out->tell ? TOLD : 0u);
    return a;
}

bool answer_reach(const struct answer *a, bool reached[ANSWERS_MAX])
{
    bool listed = false;

    for (unsigned i = 0; i < nanswers; i++) {
        if (answers[i].kind != a->kind || answers[i].verdict != a->verdict)
            continue;
        listed = true;
        if ((a->with & answers[i].with) == answers[i].with)
            reached[i] = true;
    }
    return listed;
}

const char *answer_in_words(const struct answer *a)
{
    static char text[160];
    int n = snprintf(text, sizeof(text), "%s: %s", op_name[a->kind],
                     !answers_with_bool(a->kind) ? verdict_name[a->verdict]
                     : a->verdict                ? "yes"
                                                 : "no");

    for (unsigned i = 0; i < sizeof(trait_name) / sizeof(trait_name[0]); i++)
        if (a->with >> i & 1)
            n += snprintf(text + n, sizeof(text) - (size_t)n, ", %s", trait_name[i]);
    return text;
}
