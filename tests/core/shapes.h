/*
 * tests/core/shapes.h - some thirty tables, and every operation on each of them.
 *
 * For tests that look at an operation from all sides, at each store or at each instruction. A
 * shape is a small table in some state: a full queue, a wheel half drained, no chunk left.
 * Everything happens in one shard; a neighbour has a chunk too, so that claims meet one that is
 * taken.
 */
#ifndef TESTS_CORE_SHAPES_H
#define TESTS_CORE_SHAPES_H

#include "tests/core/bed.h"

enum {
    SHARD = 5,
    NEIGHBOUR = 6,
    OWNERS = 9,
    WORKERS = 3, /* one more exists and has no unit of max-locks */
};

enum { LOCK_A, LOCK_B, LOCK_LONG, LOCK_NEW, LOCK_NEW_LONG, SEM_1, SEM_3, SEM_200, KEYS };

struct shape {
    const char *name;
    void (*build)(void);
    bool far; /* looked at after hours too */
};

extern const struct shape shapes[];
extern const unsigned nshapes;

/* The table that shapes are built in, and the time there. */
extern struct bed bed;
extern uint64_t now;

/* Builds a shape, in a new table, and lets time pass: `when` is 0 … shape_times() - 1. */
void shape_make(const struct shape *shape, unsigned when);
unsigned shape_times(const struct shape *shape);

/* Called for each operation that such a table is worth trying with. `series`: until it answers
   that there is no more. It must leave the table as it was. */
typedef void (*shape_try)(struct op op, bool series);
void shape_each_operation(shape_try try);
/* Of these only acquisitions and disconnects, which move chunks. */
void shape_each_moving(shape_try try);

#endif
