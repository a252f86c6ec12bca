/*
 * core/repair.h - what the heir of a dead process does with a shard.
 *
 * Both functions allocate nothing and may be interrupted anywhere and called again by the next
 * heir. The shard's mutex is held.
 */
#ifndef CORE_REPAIR_H
#define CORE_REPAIR_H

#include "core/check.h"
#include "core/table.h"

/* Undoes an interrupted transaction: exact, microseconds. False when the log itself was damaged. */
bool repair_rollback(struct table *t, uint32_t shard);

/*
 * Makes everything derived anew from the ground truth, for memory that may have been scribbled
 * over. Waiters that name no possible resource or owner are dropped; holders whose owner is gone
 * stay until their lease ends; a shard that would lose a holder, or make one another key's, is not
 * rebuilt (loss.h). Returns 0 when the shard is whole again, else the invariant that cannot be
 * restored (`report` says where): quarantine it. Whether the keys are what their hashes say the
 * caller has looked at before: the core has no hash.
 */
int repair_rebuild(struct table *t, uint32_t shard, struct check_report *report);

#endif
