/*
 * tests/core/gen.h - random operations on a bed, as its server would do them.
 *
 * Reads the table to aim (a token that exists, a request that is blocked), never to judge: what
 * an operation should have done is for whoever observes to say.
 */
#ifndef TESTS_CORE_GEN_H
#define TESTS_CORE_GEN_H

#include "tests/core/bed.h"

struct rng {
    uint64_t state;
};

uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n);
bool rng_chance(struct rng *r, unsigned per_thousand);
uint64_t rng_log(struct rng *r, uint64_t lo, uint64_t hi); /* each magnitude as likely */

/* From DFLOCKD_TEST_SEED or, without it, new each time; printed. */
uint64_t gen_seed(void);

/* DFLOCKD_TEST_SCALE in percent, for slow instrumented builds; 100 without it. */
uint64_t gen_scaled(uint64_t n);

struct gen_config {
    const char *name;
    struct bed_size size;
    uint32_t nkeys;
    uint32_t nshards;  /* that the keys are spread over */
    uint32_t nworkers;
    unsigned hot;      /* ‰ of the operations on a key that go to the first one */
    unsigned sems;     /* ‰ of the keys */
    uint32_t limit_max;
    unsigned long_keys;   /* ‰ */
    unsigned same_hash;   /* ‰ of the keys that have the hash of the one before */
    uint64_t lease_min, lease_max;
    uint64_t start;    /* the clock */
    uint64_t step_max; /* between two operations */
    unsigned jumps;    /* ‰ of the steps that may be as long as jump_max */
    uint64_t jump_max;
    uint64_t jitter;   /* workers read the clock once a batch: they disagree by up to this */
    unsigned downs;    /* ‰: a worker stops to answer, or does so again */
    unsigned two_phase; /* ‰ of the acquisitions */
    uint32_t max_waiters; /* 0 = none */
    uint64_t fences;   /* that may be used before new ones must be had, 0 = no end */
    uint64_t horizon;  /* leases may reach that far beyond when it was last set, 0 = no end */
    uint64_t cold;     /* nothing is granted for so long */
    unsigned aborts;   /* ‰ of the transactions */
    unsigned weight[OP_KINDS];
};

struct gen_observer {
    void *arg;
    void (*before)(void *arg, const struct op *op); /* may be NULL, like the others */
    void (*ran)(void *arg, const struct op *op, const struct outcome *out, bool committed);
};

struct gen {
    struct rng rng;
    const struct gen_config *config;
    struct bed *bed;
    struct gen_observer observer;
    uint64_t now;
    uint64_t ops; /* transactions so far */
    uint32_t deepest[OP_KINDS]; /* journal entries */
    unsigned weights;
};

void gen_make(struct gen *g, const struct gen_config *config, struct bed *bed, uint64_t seed);

/* One thing that happens: one operation, or several when one needs others. */
void gen_step(struct gen *g);

uint32_t gen_shard(const struct gen *g, uint32_t i);

/* The bed's key of a resource. */
uint32_t gen_key_of(const struct bed *b, uint32_t shard, uint32_t res);

#endif
