/*
 * supervisor/apply.h - what new settings change, and what they cannot. Runs in the master.
 */
#ifndef SUPERVISOR_APPLY_H
#define SUPERVISOR_APPLY_H

#include <stddef.h>
#include <stdint.h>

struct master;
struct settings;

/* Puts back what only a restart changes, and says so; says which changes of the file have no effect,
   because a flag or a variable wins. */
void apply_keep(struct master *m, struct settings *s);

/* The master's own part; into `what` goes the list of what changed. m->settings are still the old. */
void apply(struct master *m, const struct settings *s, char *what, size_t n);
/* --max-locks as far as there is room for it. */
uint32_t apply_max_locks(const struct master *m);
/* And the number of workers, when m->settings are the new ones. */
void apply_workers(struct master *m);

#endif
