/*
 * config/load.h - from environment, flags, file and defaults to settings.
 *
 * Run by the master at start (and by a child that checks a reload), single-threaded. Takes no lock.
 */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

#include "config/report.h"
#include "config/settings.h"

#define CONFIG_DEFAULT_FILE "/etc/dflockd/dflockd.conf"

/* Where settings come from. Kept by who may load again. */
struct config_sources {
    int argc;
    char **argv;
    char **envp;
    const char *default_file; /* read when it exists and no other is named; NULL: none */
    /* When loading again: the settings in use. --auth-token and DFLOCKD_AUTH_TOKEN, which have been
       wiped since, are taken from them. */
    const struct settings *before;
};

/*
 * Fills *settings and *report (both from scratch). Precedence: environment > flag > file > default;
 * every source is checked, also where another one wins. Returns 0, or ERR_CONFIG when there are
 * errors: then the settings must not be served with.
 *
 * With --help or --version it returns 0 and reports nothing, whatever else is wrong: both must work
 * where the server would not start.
 *
 * The values of --auth-token are overwritten in argv, so that ps no longer shows them. Who needs to
 * exec again with the same arguments takes a copy first.
 */
int config_load(struct settings *settings, const struct config_sources *sources,
                struct config_report *report);

/* A copy of argv in one allocation, or NULL. Pass it to config_load() (which overwrites secrets in
 * it), then give it back to config_free_args(), which wipes it. */
char **config_copy_args(int argc, char *const *argv);
void config_free_args(int argc, char **argv);

#endif
