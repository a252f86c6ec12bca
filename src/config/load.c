/*
 * config/load.c - see load.h.
 *
 * Every value goes through give(), whatever its source: so a configuration file, when it comes, is
 * one more caller of it (as SOURCE_FILE, between defaults and flags; the order of the calls does
 * not matter), with the line as its origin in errors.
 */
#include "config/load.h"

#include "base/err.h"
#include "config/validate.h"
#include "config/value.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

struct load {
    struct settings *settings;
    struct config_report *report;
    union value value; /* scratch */
};

static void give(struct load *load, enum option_id id, enum setting_source source,
                 const char *origin, const char *text)
{
    const struct option *option = &option_table[id];
    struct setting_origin *current = &load->settings->origin[id];
    char why[VALUE_WHY];

    if (!option_built(id)) {
        report_error(load->report, "%s: %s", origin, feature_table[option->feature].missing);
        return;
    }
    if (!value_parse(option, text, &load->value, why)) {
        report_error(load->report, "%s: %s", origin, why);
        return;
    }
    current->given |= (uint8_t)(1u << source);
    if (source >= current->source) {
        current->source = (uint8_t)source;
        memcpy((char *)load->settings + option->offset, &load->value, option->size);
    }
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
    const char *near = option_suggest(flag->name, flag->name_len);

    if (near != NULL)
        report_error(load->report, "unknown option '%.*s' (did you mean '--%s'?)", flag->word_len,
                     flag->word, near);
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
    origin = config_source_name(flag.id, SOURCE_FLAG);
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
    give(load, flag.id, SOURCE_FLAG, origin, flag.value);
    if (option_table[flag.id].secret)
        memset(flag.value, 'x', strlen(flag.value));
    return taken;
}

static void load_flags(struct load *load, int argc, char **argv)
{
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

static void load_env(struct load *load, char *const *envp)
{
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

int config_load(struct settings *settings, int argc, char **argv, char **envp,
                struct config_report *report)
{
    struct load load = {.settings = settings, .report = report};

    memset(report, 0, sizeof(*report));
    load_defaults(&load);
    load_flags(&load, argc, argv);
    if (settings->help || settings->version) {
        memset(report, 0, sizeof(*report));
        return 0;
    }
    load_env(&load, envp);
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
