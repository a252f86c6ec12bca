/*
 * core/keymap.h - key → resource: making, finding, idling and collecting resources.
 */
#ifndef CORE_KEYMAP_H
#define CORE_KEYMAP_H

#include "core/table.h"

/* A live resource with nothing on it; *tx->reserved was at least 1. 0 when the shard's slots are
   used up. */
uint32_t keymap_create(struct tx *tx, const struct table_key *key, uint32_t limit);

/* Puts a resource on or off the idle list, as its counts say. */
void keymap_settle(struct tx *tx, uint32_t res);

uint32_t *keymap_bucket(const struct table *t, uint32_t shard, uint64_t hash);

#endif
