/*
 * config/load.c - see load.h.
 *
 * Every value goes through give(), whatever its source; the order of the calls does not matter.
 */
#include "config/load.h"

#include "base/err.h"
#include "base/siphash.h"
#include "config/file.h"
#include "config/validate.h"
#include "config/value.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct load {
    struct settings *settings;
    const struct config_sources *sources;
    size_t places_used; /* of settings->places */
    struct config_report *report;
    union value value; /* scratch */
};

/* False: the value was refused, and that was reported. */
static bool give(struct load *load, enum option_id id, enum setting_source source,
                 const char *origin, const char *text)
{
    const struct option *option = &option_table[id];
    struct setting_origin *current = &load->settings->origin[id];
    char why[VALUE_WHY];

    if (!option_built(id)) {
        report_error(load->report, "%s: %s", origin, feature_table[option->feature].missing);
        return false;
    }
    if (!value_parse(option, text, &load->value, why)) {
        report_error(load->report, "%s: %s", origin, why);
        return false;
    }
    current->given |= (uint8_t)(1u << source);
    if (source >= current->source) {
        current->source = (uint8_t)source;
        memcpy((char *)load->settings + option->offset, &load->value, option->size);
    }
    return true;
}

/* Those the scheduler lets this process use: in a container often fewer than there are. */
static int64_t count_cpus(void)
{
    int64_t most = option_table[OPTION_workers].max;
    cpu_set_t set;
    int64_t n = most; /* a mask that is too small for the machine means that it is large */

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        n = CPU_COUNT(&set);
    return n < 1 ? 1 : n > most ? most : n;
}

/* Those of features that are not built in as well: nobody has to ask before reading a field. */
static void load_defaults(struct load *load)
{
    char why[VALUE_WHY];

    memset(load->settings, 0, sizeof(*load->settings));
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &option_table[i];

        if (option->def[0] != '\0' && value_parse(option, option->def, &load->value, why))
            memcpy((char *)load->settings + option->offset, &load->value, option->size);
    }
    load->settings->workers = count_cpus();
}

/* One option as it was written on the command line. */
struct flag {
    const char *word; /* with its dashes */
    int word_len;     /* without "=value": an unknown option's value may be a secret */
    const char *name; /* without dashes */
    size_t name_len;
    char *value;       /* behind "=", or NULL */
    enum option_id id; /* OPTION_COUNT: unknown */
    bool negated;      /* --no-NAME */
};

static enum option_id find_short(char c)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (option_short(i) == c)
            return i;
    return OPTION_COUNT;
}

static struct flag read_flag(char *word)
{
    struct flag flag = {.word = word, .name = word + (word[1] == '-' ? 2 : 1)};
    char *equals = strchr(word, '=');

    flag.value = equals != NULL ? equals + 1 : NULL;
    flag.word_len = (int)(equals != NULL ? (size_t)(equals - word) : strlen(word));
    flag.name_len = (size_t)(word + flag.word_len - flag.name);
    if (flag.name_len == 1 && flag.name == word + 1) {
        flag.id = find_short(flag.name[0]);
        return flag;
    }
    flag.id = option_find(flag.name, flag.name_len);
    if (flag.id == OPTION_COUNT && flag.name_len > 3 && memcmp(flag.name, "no-", 3) == 0) {
        flag.id = option_find(flag.name + 3, flag.name_len - 3);
        flag.negated = flag.id != OPTION_COUNT && option_table[flag.id].type == TYPE_BOOL;
        if (!flag.negated)
            flag.id = OPTION_COUNT;
    }
    return flag;
}

static void report_unknown(struct load *load, const struct flag *flag)
{
    enum option_id near = option_suggest(flag->name, flag->name_len);

    if (near != OPTION_COUNT)
        report_error(load->report, "unknown option '%.*s' (did you mean '--%s'?)", flag->word_len,
                     flag->word, option_table[near].name);
    else
        report_error(load->report, "unknown option '%.*s'", flag->word_len, flag->word);
}

/* Returns how many further words of argv the flag took: 0 or 1. `next` is NULL at the end. */
static int take_flag(struct load *load, char *word, char *next)
{
    struct flag flag = read_flag(word);
    const char *origin;
    enum option_type type;
    int taken = 0;

    if (flag.id == OPTION_COUNT) {
        report_unknown(load, &flag);
        /* Likely its value: not to be called a leftover, and not to be shown, it may be secret. */
        return flag.value == NULL && next != NULL && next[0] != '-';
    }
    origin = config_spelled(flag.id, SOURCE_FLAG);
    type = option_table[flag.id].type;
    if (flag.value != NULL && (flag.negated || type == TYPE_ACTION)) {
        report_error(load->report, "%.*s takes no value", flag.word_len, flag.word);
        return 0;
    }
    if (type == TYPE_BOOL || type == TYPE_ACTION) {
        give(load, flag.id, SOURCE_FLAG, origin,
             flag.value != NULL ? flag.value
             : flag.negated     ? "false"
                                : "true");
        return 0;
    }
    if (flag.value == NULL) {
        /* A forgotten value would otherwise swallow the next option in silence. */
        if (next == NULL || strncmp(next, "--", 2) == 0) {
            report_error(load->report, "%s needs a value", origin);
            return 0;
        }
        flag.value = next;
        taken = 1;
    }
    if (!option_table[flag.id].secret || load->sources->before == NULL)
        give(load, flag.id, SOURCE_FLAG, origin, flag.value);
    if (option_table[flag.id].secret)
        memset(flag.value, 'x', strlen(flag.value));
    return taken;
}

static void load_flags(struct load *load)
{
    int argc = load->sources->argc;
    char **argv = load->sources->argv;
    bool options = true;

    for (int i = 1; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0)
            options = false;
        else if (options && argv[i][0] == '-' && argv[i][1] != '\0')
            i += take_flag(load, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
        else
            report_error(load->report, "unexpected argument '%.80s'", argv[i]);
    }
}

/* NULL also for an empty one: it counts as unset. */
static const char *find_env(char *const *envp, const char *name)
{
    size_t n = strlen(name);

    for (; *envp != NULL; envp++)
        if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
            return (*envp)[n + 1] != '\0' ? *envp + n + 1 : NULL;
    return NULL;
}

static void load_env(struct load *load)
{
    char *const *envp = load->sources->envp;

    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &option_table[i];
        const char *text = option->env != NULL ? find_env(envp, option->env) : NULL;
        const char *older = option->older != NULL ? find_env(envp, option->older) : NULL;

        if (older != NULL) {
            report_warn(load->report, "%s: older name of %s, which %s", option->older, option->env,
                        text != NULL ? "is set too and wins" : "should be used instead");
            give(load, i, SOURCE_ENV_OLDER, option->older, older);
        }
        if (text != NULL)
            give(load, i, SOURCE_ENV, option->env, text);
    }
}

/* The secrets of flags and environment, when these are read for the second time. */
static void load_kept_secrets(struct load *load)
{
    const struct settings *before = load->sources->before;
    struct setting_origin *origin = &load->settings->origin[OPTION_auth_token];
    const struct setting_origin *was = &before->origin[OPTION_auth_token];

    if (was->source <= SOURCE_FILE)
        return;
    origin->source = was->source;
    origin->given |= (uint8_t)(was->given & ~(1u << SOURCE_FILE));
    if (config_auth_option(before) == OPTION_auth_token)
        load->settings->auth_token = before->auth_token;
}

/* Remembers "PATH:LINE"; false: there is no room for it. */
static bool keep_place(struct load *load, struct setting_origin *origin,
                       const struct file_entry *entry)
{
    char *place = load->settings->places + load->places_used;
    size_t room = SETTINGS_PLACES_LEN - load->places_used;
    int n = snprintf(place, room, "%s:%u", entry->path, entry->line);

    if (n < 0 || (size_t)n >= room) {
        *place = '\0';
        return false;
    }
    origin->place = (uint16_t)load->places_used;
    load->places_used += (size_t)n + 1;
    return true;
}

/* Of the value that give() has parsed: of a secret, that is its digest. */
static uint64_t value_hash(const struct load *load, enum option_id id)
{
    static const struct siphash_key key; /* only to be compared with another of its sort */

    return siphash24(&key, &load->value, option_table[id].size);
}

/* Twice in one file is a mistake; a file that is included may set again what another one has. */
static bool set_before(const struct load *load, enum option_id id, const struct file_entry *entry)
{
    const struct setting_origin *origin = &load->settings->origin[id];
    const char *place = config_given_by(load->settings, id, SOURCE_FILE);
    size_t n = strlen(entry->path);

    if (!(origin->given & 1u << SOURCE_FILE) || strncmp(place, entry->path, n) != 0 ||
        place[n] != ':' || strchr(place + n, '/') != NULL ||
        (unsigned)atol(place + n + 1) == entry->line)
        return false;
    report_error(load->report, "%s:%u: %s is set in line %s already", entry->path, entry->line,
                 entry->key, place + n + 1);
    return true;
}

static void take_entry(void *user, const struct file_entry *entry)
{
    struct load *load = user;
    enum option_id id = option_find_key(entry->key);
    enum option_id near = option_suggest(entry->key, strlen(entry->key));
    char origin[REPORT_TEXT];

    snprintf(origin, sizeof(origin), "%s:%u: %s", entry->path, entry->line, entry->key);
    if (id == OPTION_COUNT && near != OPTION_COUNT)
        report_error(load->report, "%s:%u: unknown key '%.80s' (did you mean '%s'?)", entry->path,
                     entry->line, entry->key, option_table[near].key);
    else if (id == OPTION_COUNT)
        report_error(load->report, "%s:%u: unknown key '%.80s', see dflockd.conf(5)", entry->path,
                     entry->line, entry->key);
    else if (id == OPTION_config)
        report_error(load->report, "%s: a file names another one with 'include PATH'", origin);
    else if (!option_in_file(id))
        report_error(load->report, "%s: is for the command line only: --%s", origin,
                     option_table[id].name);
    else if (option_table[id].secret && entry->commented)
        report_error(load->report, "%s: what follows ' #' or ' ;' is a comment: such a token must "
                                   "be in a file of its own, see auth_token_file", origin);
    else if (!set_before(load, id, entry) &&
             give(load, id, SOURCE_FILE, origin, entry->value)) {
        struct setting_origin *o = &load->settings->origin[id];

        o->in_file = value_hash(load, id);
        if (!keep_place(load, o, entry))
            report_error(load->report, "%s: too many keys are set in too many files", origin);
        if (option_table[id].secret)
            secret_warn_public(entry->path, origin, load->report);
    }
}

static void load_file(struct load *load)
{
    struct settings *s = load->settings;
    const char *path = load->sources->default_file;

    if (s->config[0] != '\0')
        file_read(s->config, config_origin(s, OPTION_config), load->report, take_entry, load);
    else if (path != NULL && access(path, F_OK) == 0)
        file_read(path, "default configuration file", load->report, take_entry, load);
}

/* Only the files that win are read. */
static void load_secrets(struct load *load)
{
    struct settings *s = load->settings;

    if (config_auth_option(s) == OPTION_auth_token_file)
        secret_load_file(&s->auth_token, s->auth_token_file,
                         config_origin(s, OPTION_auth_token_file), load->report);
    if (s->admin_token_file[0] != '\0')
        secret_load_file(&s->admin_token, s->admin_token_file,
                         config_origin(s, OPTION_admin_token_file), load->report);
}

int config_load(struct settings *settings, const struct config_sources *sources,
                struct config_report *report)
{
    struct load load = {.settings = settings, .sources = sources, .report = report};

    memset(report, 0, sizeof(*report));
    load_defaults(&load);
    load_flags(&load);
    if (settings->help || settings->version) {
        memset(report, 0, sizeof(*report));
        return 0;
    }
    load_env(&load);
    if (sources->before != NULL)
        load_kept_secrets(&load);
    load_file(&load);
    load_secrets(&load);
    config_validate(settings, report);
    return report->errors.count > 0 ? ERR_CONFIG : 0;
}

char **config_copy_args(int argc, char *const *argv)
{
    size_t size = ((size_t)argc + 1) * sizeof(char *);
    char **copy;
    char *text;

    for (int i = 0; i < argc; i++)
        size += strlen(argv[i]) + 1;
    copy = malloc(size);
    if (copy == NULL)
        return NULL;
    text = (char *)(copy + argc + 1);
    for (int i = 0; i < argc; i++) {
        copy[i] = text;
        text = stpcpy(text, argv[i]) + 1;
    }
    copy[argc] = NULL;
    return copy;
}

void config_free_args(int argc, char **argv)
{
    for (int i = 0; argv != NULL && i < argc; i++)
        explicit_bzero(argv[i], strlen(argv[i]));
    free(argv);
}
