/*
 * core/leases.h - when leases end: one timer wheel a shard.
 */
#ifndef CORE_LEASES_H
#define CORE_LEASES_H

#include "core/table.h"

/* semantics.md, "Leases": the gap of a worker's outage extends them by this much at most. */
#define LEASES_GRACE_NS UINT64_C(3000000000)

/* While a worker does not answer, its overdue holders are looked at again this often or oftener;
   and so are waiters that found no fence. */
#define LEASES_LOOK_NS (UINT64_C(16) << WHEEL_TICK_SHIFT)

/* True when the holder's lease has ended at tx->now, worker outages considered. */
bool leases_ended(const struct tx *tx, const struct node *n);

/* The node's end is set; it is in no slot, or it was a spare. */
void leases_insert(struct tx *tx, uint32_t node);
void leases_remove(struct tx *tx, uint32_t node);

/* Has table_expire() called at promise_look(). */
void leases_look_again(struct tx *tx);

/* A holder in the wheel has a new lease, until `end`. */
void leases_begin(struct tx *tx, uint32_t node, uint64_t end);

/* Its lease ends later by `gap` ns; but in all by LEASES_GRACE_NS at most, however often its worker
   dies before it is renewed. */
void leases_extend(struct tx *tx, uint32_t node, uint64_t gap);

/*
 * One bounded step. LEASES_ENDED: *node's lease has ended, it is still in the wheel and the caller
 * ends it. LEASES_SPARE: *node is a spare that the caller drops. LEASES_MOVED: the wheel has moved on
 * a little, call again. LEASES_IDLE: nothing is due.
 */
enum leases_step { LEASES_IDLE, LEASES_MOVED, LEASES_ENDED, LEASES_SPARE };
enum leases_step leases_step(struct tx *tx, uint32_t *node);

/* First tick at which slot (level * 64 + index) may hold something due, seen from w->now. */
uint64_t leases_slot_start(const struct wheel *w, unsigned slot);

uint64_t leases_add(uint64_t time, uint64_t ns); /* saturating at TIME_NEVER - 1 */

#endif
