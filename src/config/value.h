/*
 * config/value.h - one setting's value: from text, and to text. Runs where load.c and dump.c do.
 */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include "config/options.h"
#include "config/settings.h"

#include <stdio.h>

enum { VALUE_WHY = 256 };

/* Large enough and aligned for the field of any option. */
union value {
    int64_t number;
    bool yes;
    char text[SETTINGS_PATH_LEN > SETTINGS_LIST_LEN ? SETTINGS_PATH_LEN : SETTINGS_LIST_LEN];
    struct host_list hosts;
    enum log_level level;
    enum log_format format;
    struct secret_set secret;
};

/* Returns true and fills *out, unused bytes with zeros; or false and says in `why` what is wrong,
 * without the text if the option is secret. */
bool value_parse(const struct option *option, const char *text, union value *out,
                 char why[VALUE_WHY]);

/* As it could be given again, but secrets as "(set)"; nothing for what is off. */
void value_print(const struct option *option, const void *field, FILE *to);

#endif
