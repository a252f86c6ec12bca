/*
 * tests/config/sources.c - see sources.h.
 */
#include "tests/config/sources.h"

#include <stdlib.h>
#include <string.h>

struct settings settings;
struct config_report report;
char **loaded_argv;
int loaded_argc;
const char *loaded_default;

static int count(const char *const *list)
{
    int n = 0;

    while (list[n] != NULL)
        n++;
    return n;
}

int load(const char *const *words, const char *const *env)
{
    char **envp = config_copy_args(count(env), (char *const *)(uintptr_t)env);
    struct config_sources sources = {.envp = envp, .default_file = loaded_default};
    int rc;

    config_free_args(loaded_argc, loaded_argv);
    loaded_argc = count(words);
    loaded_argv = config_copy_args(loaded_argc, (char *const *)(uintptr_t)words);
    /* What an earlier load left must not matter. */
    memset(&settings, 0xa5, sizeof(settings));
    memset(&report, 0xa5, sizeof(report));
    sources.argc = loaded_argc;
    sources.argv = loaded_argv;
    rc = config_load(&settings, &sources, &report);
    config_free_args(count(env), envp);
    return rc;
}

const char *error_text(unsigned n)
{
    return n < report.errors.count && n < REPORT_KEPT ? report.errors.text[n] : "";
}

const char *warning_text(unsigned n)
{
    return n < report.warnings.count && n < REPORT_KEPT ? report.warnings.text[n] : "";
}
