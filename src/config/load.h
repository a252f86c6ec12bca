/*
 * config/load.h - from environment, flags and defaults to settings.
 *
 * Run by the master at start (and by a child that checks a reload), single-threaded. Takes no lock.
 */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

#include "config/report.h"
#include "config/settings.h"

/*
 * Fills *settings and *report (both from scratch). Precedence: environment > flag > default; every
 * source is checked, also where another one wins. Returns 0, or ERR_CONFIG when there are errors:
 * then the settings must not be served with.
 *
 * With --help or --version it returns 0 and reports nothing, whatever else is wrong: both must work
 * where the server would not start.
 *
 * The values of --auth-token are overwritten in argv, so that ps no longer shows them. Who needs to
 * load again or to exec again with the same arguments takes a copy first.
 */
int config_load(struct settings *settings, int argc, char **argv, char **envp,
                struct config_report *report);

/* A copy of argv in one allocation, or NULL. Pass it to config_load() (which overwrites secrets in
 * it), then give it back to config_free_args(), which wipes it. */
char **config_copy_args(int argc, char *const *argv);
void config_free_args(int argc, char **argv);

#endif
