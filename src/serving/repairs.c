/*
 * serving/repairs.c - see repairs.h. Runs in lock workers and in the HTTP worker.
 */
#include "serving/repairs.h"

#include "base/log.h"

static void log_damage(const struct shared *sh, uint64_t shards, const char *result)
{
    const struct check_report *found = &sh->found;

    /* Never rate-limited. */
    LOG_WRITE(NULL, LVL_ERROR, "the lock table was damaged", log_str("result", result),
              log_int("shards", __builtin_popcountll(shards)),
              log_int("shard", 63 - __builtin_clzll(shards)),
              log_int("invariant", found->invariant), log_uint("at", found->index),
              log_str("found", found->what));
}

void repairs_log(struct shared *sh)
{
    if (!(sh->repaired | sh->rebuilt | sh->quarantined))
        return;
    if (sh->repaired) {
        tally_add(&sh->slot->counters.repairs, (uint64_t)__builtin_popcountll(sh->repaired));
        log_audit_warn("shards repaired after a death",
                       log_int("shards", __builtin_popcountll(sh->repaired)));
    }
    if (sh->rebuilt) {
        tally_add(&sh->slot->counters.rebuilt, (uint64_t)__builtin_popcountll(sh->rebuilt));
        log_damage(sh, sh->rebuilt, "rebuilt, nothing is lost");
    }
    if (sh->quarantined) {
        tally_add(&sh->slot->counters.quarantined, (uint64_t)__builtin_popcountll(sh->quarantined));
        log_damage(sh, sh->quarantined, "beyond repair, keys there answer error");
    }
    sh->repaired = sh->rebuilt = sh->quarantined = 0;
}
