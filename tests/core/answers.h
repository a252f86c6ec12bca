/*
 * tests/core/answers.h - each answer that each operation can have, and what it does beside it.
 *
 * For tests that claim to have looked at all of them.
 */
#ifndef TESTS_CORE_ANSWERS_H
#define TESTS_CORE_ANSWERS_H

#include "tests/core/bed.h"

/* What an operation did beside its answer. */
enum trait {
    MADE = 1,     /* a resource */
    DROPPED = 2,  /* a resource */
    CLAIMED = 4,  /* a chunk */
    RETURNED = 8, /* a chunk */
    PASSED = 16,  /* a slot, to a waiter */
    ENDED = 32,   /* a lease */
    MOVED = 64,   /* the timer wheel */
    FED = 128,    /* whom there was no fence for */
    ENQUEUED = 256,
    TOLD = 512, /* another worker is to be told */
};

struct answer {
    enum op_kind kind;
    uint32_t verdict; /* or whether there is more, for those that answer with a bool */
    unsigned with;    /* traits */
};

/* Each must be seen, and no verdict that is not listed. */
extern const struct answer answers[];
extern const unsigned nanswers;

enum { ANSWERS_MAX = 100 };

/* What the operation on shard `s` answered and did; `resources`, `nchunks`: how many it had. */
struct answer answer_of(const struct op *op, const struct outcome *out, const struct shard *s,
                        uint32_t resources, uint32_t nchunks);

/* Marks in `reached` what it is an instance of. False when its verdict is not listed. */
bool answer_reach(const struct answer *a, bool reached[ANSWERS_MAX]);

/* In memory that the next call overwrites. */
const char *answer_in_words(const struct answer *a);

#endif
