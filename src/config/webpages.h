/*
 * config/webpages.h - whether the pages of --http-cors-allowed-origins are written as browsers
 * write them in `Origin`: what differs by one letter would never match. Any process; takes no lock.
 */
#ifndef CONFIG_WEBPAGES_H
#define CONFIG_WEBPAGES_H

#include "config/report.h"
#include "config/settings.h"

void webpages_check(const struct settings *s, struct config_report *report);

#endif
