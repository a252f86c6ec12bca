/*
 * core/queue.h - a resource's FIFO: waiters in order of their tickets.
 */
#ifndef CORE_QUEUE_H
#define CORE_QUEUE_H

#include "core/table.h"

/* Appends; the caller has given the node the shard's next ticket. */
void queue_push(struct tx *tx, struct resource *r, uint32_t node);
void queue_remove(struct tx *tx, struct resource *r, uint32_t node);

#endif
