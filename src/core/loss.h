/*
 * core/loss.h - what a rebuild must not believe.
 *
 * A rebuild reads ground truth and makes the rest anew. But one changed bit of ground truth makes a
 * holder a free record, or another key's holder: then a slot would be granted again while somebody
 * believes that it is his. What is derived, and about to be thrown away, is a second witness of it.
 */
#ifndef CORE_LOSS_H
#define CORE_LOSS_H

#include "core/check.h"
#include "core/table.h"

/* Whether a resource in use could be what its record says. */
bool loss_resource_possible(const struct resource *r, uint32_t shard);

/*
 * Whether holders were lost, or holders and waiters are not what their records say: the shard is
 * beyond repair. `report` says where. Asked before anything is changed; false where all witnesses are
 * gone as well, as after a rebuild that was begun.
 */
bool loss_certain(const struct table *t, uint32_t shard, struct check_report *report);

#endif
