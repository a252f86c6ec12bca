/*
 * tests/shm/differ.h - whether two regions say the same, whatever their sizes; and whether one is
 * valid.
 */
#ifndef TESTS_SHM_DIFFER_H
#define TESTS_SHM_DIFFER_H

#include "shm/region.h"

/*
 * What differs in b from a, in words in memory that the next call overwrites; NULL = nothing, and b
 * is valid. slot: where a's connections are in b. `fences`: also fences and tickets must be the
 * same.
 */
const char *differ_find(struct region *a, struct region *b, const uint32_t *slot, bool fences);

/* Why the region is not valid; NULL = it is. */
const char *differ_invalid(struct region *r);

#endif
