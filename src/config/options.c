/*
 * config/options.c - see options.h.
 */
#include "config/options.h"

#include "base/num.h"
#include "config/settings.h"

#include <stdlib.h>
#include <string.h>

enum { RESTART = false, RELOAD = true, SHOWN = false, SECRET = true };

#define OPTION_GROUP(title)
#define OPTION(name_, env_, older_, type_, def_, min_, max_, unit_, reload_, secret_, feature_,    \
               help_, field_)                                                                      \
    [OPTION_##field_] = {                                                                          \
        .name = name_,                                                                             \
        .key = #field_,                                                                            \
        .env = env_,                                                                               \
        .older = older_,                                                                           \
        .def = def_,                                                                               \
        .unit = unit_,                                                                             \
        .help = help_,                                                                             \
        .min = min_,                                                                               \
        .max = max_,                                                                               \
        .offset = offsetof(struct settings, field_),                                               \
        .size = sizeof(((struct settings *)0)->field_),                                            \
        .type = TYPE_##type_,                                                                      \
        .feature = FEATURE_##feature_,                                                             \
        .reload = reload_,                                                                         \
        .secret = secret_,                                                                         \
    },

const struct option option_table[OPTION_COUNT] = {
#include "config/options.def"
};

#ifdef HAVE_TLS
#define WITHOUT_TLS NULL
#else
#define WITHOUT_TLS "this build has no TLS"
#endif

#ifdef HAVE_HTTP
#define WITHOUT_HTTP NULL
#else
#define WITHOUT_HTTP "this build has no HTTP"
#endif

const struct feature feature_table[FEATURE_COUNT] = {
    [FEATURE_NONE] = {"core", NULL},
    [FEATURE_TLS] = {"tls", WITHOUT_TLS},
    [FEATURE_HTTP] = {"http", WITHOUT_HTTP},
    [FEATURE_CONFIG_FILE] = {"config-file", NULL},
    [FEATURE_RUN_DIR] = {"run-dir", NULL},
    [FEATURE_DISCARD_REGION] = {"discard-region", NULL},
};

enum option_id option_find(const char *name, size_t n)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (strlen(option_table[i].name) == n && memcmp(option_table[i].name, name, n) == 0)
            return i;
    return OPTION_COUNT;
}

enum option_id option_find_key(const char *key)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (strcmp(option_table[i].key, key) == 0)
            return i;
    return OPTION_COUNT;
}

bool option_in_file(enum option_id id)
{
    return option_table[id].env != NULL && id != OPTION_config;
}

bool option_built(enum option_id id)
{
    return feature_table[option_table[id].feature].missing == NULL;
}

char option_short(enum option_id id)
{
    switch (id) {
    case OPTION_check_config:
        return 't';
    case OPTION_dump_config:
        return 'T';
    case OPTION_version:
        return 'V';
    case OPTION_help:
        return 'h';
    default:
        return 0;
    }
}

/* Insertions, deletions, replacements and swaps of neighbours that turn one into the other. */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
    unsigned row[3][64]; /* this, the previous and the one before it */

    for (unsigned j = 0; j <= nb; j++)
        row[0][j] = j;
    for (unsigned i = 1; i <= na; i++) {
        unsigned *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];

        now[0] = i;
        for (unsigned j = 1; j <= nb; j++) {
            unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);

            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[na % 3][nb];
}

enum option_id option_suggest(const char *name, size_t n)
{
    unsigned nearest = (unsigned)n / 3 < 3 ? (unsigned)n / 3 + 1 : 4; /* farther is a guess */
    enum option_id found = OPTION_COUNT;

    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const char *const spelled[] = {option_table[i].name, option_table[i].key};

        for (unsigned k = 0; k < 2 && option_built(i); k++) {
            size_t len = strlen(spelled[k]);
            unsigned d = len < 63 && n < 63 ? distance(name, n, spelled[k], len) : nearest;

            if (d < nearest) {
                nearest = d;
                found = i;
            }
        }
    }
    return found;
}
