/*
 * cli/guardian.h - the process that has the connection, renews the lease, and is the parent of the
 * command and, in the end, of whatever that leaves behind. cli/main.c has the whole picture.
 */
#ifndef CLI_GUARDIAN_H
#define CLI_GUARDIAN_H

#include "cli/options.h"
#include "cli/signals.h"
#include "cli/terminal.h"

/* The life of this process, which has just been forked; returns its exit code. link: to the
 * front. */
int guardian_run(const struct options *o, const struct signals *s, const struct terminal *t,
                 int link);

#endif
