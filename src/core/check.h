/*
 * core/check.h - the validator: does a shard obey its invariants?
 *
 * Reads only, allocates nothing, trusts nothing: every index is checked before it is followed and
 * every walk is bounded, so it may be run on memory that was scribbled over.
 */
#ifndef CORE_CHECK_H
#define CORE_CHECK_H

#include "core/table.h"

struct check_report {
    int invariant;    /* 1…15, see layout.h; 0 = all hold */
    uint32_t index;   /* the node, resource, chunk or slot it was found at */
    const char *what; /* in words */
};

/* The shard's mutex is held, or nobody else is there. Returns report->invariant. */
int check_shard(const struct table *t, uint32_t shard, struct check_report *report);

#endif
