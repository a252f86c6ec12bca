/*
 * config/validate.h - what only shows when settings are seen together, and where each came from.
 * Runs where load.c does.
 */
#ifndef CONFIG_VALIDATE_H
#define CONFIG_VALIDATE_H

#include "config/report.h"
#include "config/settings.h"

/* Fills in what depends on other settings (http_host, log_level), then reports contradictions. */
void config_validate(struct settings *settings, struct config_report *report);

/* How the value in use was given: "--port", "DFLOCKD_PORT", "/etc/dflockd/dflockd.conf:12" or
   "default". Lives as long as the settings, as below. */
const char *config_origin(const struct settings *settings, enum option_id id);

/* The same for any source that gave one. */
const char *config_given_by(const struct settings *settings, enum option_id id,
                            enum setting_source source);

/* The option as that source spells it: "--max-locks", "DFLOCKD_MAX_LOCKS", "max_locks". */
const char *config_spelled(enum option_id id, enum setting_source source);

/* HTTP sessions that a lock table has to have room for. */
uint32_t config_sessions(const struct settings *settings);

/* Which of auth-token and auth-token-file the accepted tokens are from; OPTION_COUNT: no auth. */
enum option_id config_auth_option(const struct settings *settings);

#endif
