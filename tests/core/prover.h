/*
 * tests/core/prover.h - steps an operation, or a repair, and objects to each state that is torn.
 *
 * A child runs it in shared memory and is stopped after each instruction. When that has changed
 * the memory, a copy is repaired as an heir would do it, and looked at.
 */
#ifndef TESTS_CORE_PROVER_H
#define TESTS_CORE_PROVER_H

#include "tests/core/answers.h"
#include "tests/core/shapes.h"
#include "tests/core/state.h"

/* Made on purpose, to see that it is found. */
enum mistake {
    MISTAKE_NONE,
    MISTAKE_UNLOGGED,         /* a word is stored without the log */
    MISTAKE_TOO_LATE,         /* a word is stored after the commit */
    MISTAKE_HASTY_ROLLBACK,   /* an entry leaves the log before its word is restored */
    MISTAKE_CARELESS_REBUILD, /* ground truth is lost for a moment */
    MISTAKES
};

struct prover_seen {
    uint64_t operations, rollbacks, rebuilds; /* how many were stepped */
    uint64_t instructions;                    /* in all, and of these: */
    uint64_t in_rollbacks, in_rebuilds;
    uint64_t longest;
    uint64_t torn; /* objections */
};

extern struct prover_seen prover_seen;
extern enum mistake prover_mistake; /* objections are counted then, and not said */
extern uint64_t prover_case;        /* number of what is stepped */

/* The shape in shared memory: `bed` is there from here on, until the next one is made. */
void prover_make(const struct shape *shape, unsigned when);
/* The table is again what prover_make() made. */
void prover_restart(void);
/* Objects if memory was changed that does not belong to the shard. */
void prover_look_around(void);

/* An operation, in a transaction that is committed or aborted. */
struct prover_job {
    const struct op *op;
    bool abort;
    struct outcome out;
    struct answer answer;
    /* How it was before; both are needed to run it again. */
    uint64_t salt, fence_next;
};

/* Runs it, undisturbed. The table is then as after it. */
void prover_run(struct prover_job *job);
/* Steps what was just run, then (`repair`) its rollback from the states that are hardest to undo.
   Leaves the table as after it. */
void prover_step(struct prover_job *job, bool repair);

/* Steps a rebuild of the table as it is, and restarts. */
void prover_step_rebuild(const char *of);

#endif
