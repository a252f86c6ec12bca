/*
 * config/file.h - the configuration file's form: lines, comments, includes. What keys mean is for
 * the caller (load.c). Runs where load.c does.
 */
#ifndef CONFIG_FILE_H
#define CONFIG_FILE_H

#include "config/report.h"

#include <stdbool.h>

/* One "key = value". All texts last for the call only. */
struct file_entry {
    const char *path;
    unsigned line;
    const char *key;
    const char *value;  /* without white space at its ends; may be empty */
    bool commented;     /* something after " #" or " ;" was left out */
};

typedef void (*file_take)(void *user, const struct file_entry *entry);

/* Hands each entry over, in order, those of included files where they are included. What is wrong
   with the form is reported; `origin` is who named the file. */
void file_read(const char *path, const char *origin, struct config_report *report, file_take take,
               void *user);

#endif
