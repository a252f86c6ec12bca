/*
 * config/options.h - the table of options.def. Constant; any process.
 */
#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* OPTION_port is the row whose field is `port`. */
enum option_id {
#define OPTION_GROUP(title)
#define OPTION(name, env, older, type, def, min, max, unit, reload, secret, feature, help, field)  \
    OPTION_##field,
#include "config/options.def"
#undef OPTION
#undef OPTION_GROUP
    OPTION_COUNT
};

/* How a value is written, and what its field in struct settings is. */
enum option_type {
    TYPE_INT,        /* int64_t */
    TYPE_SECONDS,    /* int64_t; min and max in seconds */
    TYPE_PORT,       /* int64_t */
    TYPE_PORT_AUTO,  /* int64_t; "auto" is SETTINGS_PORT_AUTO */
    TYPE_MODE,       /* int64_t, written in octal */
    TYPE_BOOL,       /* bool */
    TYPE_STRING,     /* char[] */
    TYPE_PATH,       /* char[] */
    TYPE_HOSTS,      /* struct host_list */
    TYPE_LOG_LEVEL,  /* enum log_level */
    TYPE_LOG_FORMAT, /* enum log_format */
    TYPE_SECRET,     /* struct secret_set */
    TYPE_ACTION,     /* bool, always a flag without a value */
    TYPE_ACTION_PATH, /* char[], always a flag */
};

/* What an option belongs to. A feature that this version lacks refuses its options; to switch one
 * on is to clear its `missing` in options.c. */
enum option_feature {
    FEATURE_NONE, /* always there */
    FEATURE_TLS,
    FEATURE_HTTP,
    FEATURE_CONFIG_FILE,
    FEATURE_RUN_DIR,
    FEATURE_DISCARD_REGION,
    FEATURE_COUNT
};

struct feature {
    const char *name;    /* for --version */
    const char *missing; /* what its options are answered with; NULL: the feature is built in */
};

struct option {
    const char *name;  /* of the flag, without dashes */
    const char *key;   /* the same in a file, with "_" */
    const char *env;   /* or NULL */
    const char *older; /* older name of env, or NULL */
    const char *def;   /* as it would be written; "": off, none, or computed */
    const char *unit;  /* placeholder for the help; "" takes no value */
    const char *help;
    int64_t min;
    int64_t max;
    size_t offset; /* of the field in struct settings */
    size_t size;
    enum option_type type;
    enum option_feature feature;
    bool reload; /* takes effect on SIGHUP */
    bool secret; /* its value is never shown */
};

extern const struct option option_table[OPTION_COUNT];
extern const struct feature feature_table[FEATURE_COUNT];

/* By the flag's name without dashes, n bytes; OPTION_COUNT: none. */
enum option_id option_find(const char *name, size_t n);

/* By its key in a file. */
enum option_id option_find_key(const char *key);

/* The built-in option whose name or key is nearest, for "did you mean"; OPTION_COUNT: none is. */
enum option_id option_suggest(const char *name, size_t n);

/* Whether a file may set it; the others say what to do now, or where the file is. */
bool option_in_file(enum option_id id);

bool option_built(enum option_id id);

/* 't' for --check-config and so on, 0 if the option has no short form. */
char option_short(enum option_id id);

#endif
