/*
 * config/dump.h - what the program prints about its settings instead of serving.
 *
 * Run by main(), single-threaded. Takes no lock.
 */
#ifndef CONFIG_DUMP_H
#define CONFIG_DUMP_H

#include "config/report.h"
#include "config/settings.h"

#include <stdio.h>

#define CONFIG_SERVE (-1)

/*
 * Right after config_load(): prints errors to err and does what --help, --version, --dump-config or
 * --check-config ask for. Returns the exit status to end with, or CONFIG_SERVE: then nothing was
 * printed, and report->warnings are for the log.
 */
int config_act(const struct settings *settings, const struct config_report *report, FILE *out,
               FILE *err);

/* Each setting as "name = value   # from ORIGIN", secrets as "(set)". */
void config_dump(const struct settings *settings, FILE *out);
void config_help(FILE *out);
void config_version(FILE *out);

#endif
