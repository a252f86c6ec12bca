/*
 * tests/config/sources.h - loads settings from words and variables written in the test.
 */
#ifndef TESTS_CONFIG_SOURCES_H
#define TESTS_CONFIG_SOURCES_H

#include "config/load.h"
#include "config/report.h"
#include "config/settings.h"

/* What the last load() gave. */
extern struct settings settings;
extern struct config_report report;

/* WORDS("--port", "1"), ENV("DFLOCKD_PORT=1"): lists for load(). */
#define WORDS(...) ((const char *const[]){"dflockd", ##__VA_ARGS__, NULL})
#define ENV(...) ((const char *const[]){"HOME=/root", ##__VA_ARGS__, NULL})

/* config_load() of copies of these; the words after it are in loaded_argv. */
int load(const char *const *words, const char *const *env);
extern char **loaded_argv;
extern int loaded_argc;
extern const char *loaded_default; /* the file that is read unless another is named; NULL: none */

/* The n-th error or warning; "" if there are not as many. */
const char *error_text(unsigned n);
const char *warning_text(unsigned n);

#endif
