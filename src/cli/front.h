/*
 * cli/front.h - the process that was started as dflock: the one that its caller signals, stops,
 * waits for. cli/main.c has the whole picture.
 */
#ifndef CLI_FRONT_H
#define CLI_FRONT_H

#include "cli/signals.h"
#include "cli/terminal.h"
#include "cli/tree.h"

#include <sys/types.h>

/* Until the guardian has ended, or has said that this process may; returns the exit code, or does
 * not return when it ends by a signal. */
int front_run(pid_t guardian, const struct signals *s, const struct terminal *t,
              const struct tree_spared *spared, int link);

#endif
