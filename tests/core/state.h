/*
 * tests/core/state.h - a copy of all memory that operations on one shard may touch.
 *
 * For tests that stop an operation very often: a few tens of KiB, in a handful of ranges, are
 * saved, restored and compared faster than the whole table. What lies outside of them the test
 * compares now and then.
 */
#ifndef TESTS_CORE_STATE_H
#define TESTS_CORE_STATE_H

#include "tests/core/bed.h"

enum { STATE_LINE = 64 };

struct state {
    char *lines;
};

/* Finds out what belongs to the shard of such a table. States are of this one from then on. */
void state_find(const struct bed *b, uint32_t shard);

extern uint64_t state_lines;    /* how many lines a state has */
extern uint64_t *state_line_at; /* offset of each of them in the block */

void state_new(struct state *s);
void state_save(struct state *s, const char *block);
void state_restore(const struct state *s, char *block);
bool state_same(const struct state *s, const char *block);

/* Of what differs from `base`, and `seed`. */
uint64_t state_hash(const struct state *base, const char *block, uint64_t seed);

/* Notes a hash; true when it is new. `state_distinct` counts them. */
bool state_new_hash(uint64_t hash);
extern uint64_t state_distinct;

/*
 * Wipes what a rollback need not bring back: fences that were skipped (the next one is
 * `fence_next` again), entries of the log beyond its count, key bytes of resources that do not
 * exist.
 */
void state_forget(struct bed *b, uint64_t fence_next);

/* Says in the log where the block first differs from the state, and in which field. */
void state_show_difference(const struct bed *b, const struct state *s);

#endif
