/*
 * config/dump.c - see dump.h.
 */
#include "config/dump.h"

#include "config/exitcode.h"
#include "config/validate.h"
#include "config/value.h"

#include <gnu/libc-version.h>
#include <openssl/crypto.h>
#include <string.h>

int config_act(const struct settings *settings, const struct config_report *report, FILE *out,
               FILE *err)
{
    bool errors = report->errors.count > 0;

    if (settings->help)
        config_help(out);
    else if (settings->version)
        config_version(out);
    else if (settings->dump_config || settings->check_config || errors)
        report_print(report, err);
    else
        return CONFIG_SERVE;

    if (errors)
        return report->errors.count > report->momentary ? EXITCODE_CONFIG : EXITCODE_FAIL;
    if (settings->dump_config && !settings->help && !settings->version)
        config_dump(settings, out);
    else if (settings->check_config && !settings->help && !settings->version)
        fputs("dflockd: configuration ok\n", out);
    return fflush(out) == 0 && !ferror(out) ? EXITCODE_OK : EXITCODE_FAIL;
}

/* What lost against the value in use, and whether that one is used at all. */
static void print_shadows(const struct settings *s, enum option_id id, FILE *out)
{
    enum option_id auth = config_auth_option(s);
    const struct setting_origin *origin = &s->origin[id];

    for (unsigned source = SOURCE_FILE; source < origin->source; source++)
        if (origin->given & 1u << source)
            fprintf(out, ", over %s", config_given_by(s, id, source));
    if ((id == OPTION_auth_token || id == OPTION_auth_token_file) && id != auth &&
        origin->source != SOURCE_DEFAULT)
        fprintf(out, ", not used: %s wins", config_origin(s, auth));
    if (id == OPTION_debug && s->debug && s->origin[OPTION_log_level].source != SOURCE_DEFAULT)
        fprintf(out, ", not used: %s wins", config_origin(s, OPTION_log_level));
}

void config_dump(const struct settings *s, FILE *out)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &option_table[i];

        if (!option_built(i) || option->type == TYPE_ACTION || option->type == TYPE_ACTION_PATH)
            continue;
        fprintf(out, "%s = ", option->key);
        /* The tokens of a file are in the same field, but are not this option's value. */
        if (option->type != TYPE_SECRET || s->origin[i].source != SOURCE_DEFAULT)
            value_print(option, (const char *)s + option->offset, out);
        fprintf(out, "   # from %s", config_origin(s, i));
        print_shadows(s, i, out);
        fputc('\n', out);
    }
}

static void help_option(enum option_id id, FILE *out)
{
    const struct option *option = &option_table[id];
    bool has_default = option->def[0] != '\0';

    fputs("  ", out);
    if (option_short(id) != 0)
        fprintf(out, "-%c, ", option_short(id));
    fprintf(out, "--%s", option->name);
    if (option->type == TYPE_BOOL && strcmp(option->def, "true") == 0)
        fprintf(out, ", --no-%s", option->name);
    fprintf(out, "%s%s\n      %s\n", option->unit[0] != '\0' ? " " : "", option->unit,
            option->help);
    if (has_default || option->env != NULL)
        fprintf(out, "      [%s%s%s%s]\n", has_default ? "default " : "", option->def,
                has_default && option->env != NULL ? "; " : "",
                option->env != NULL ? option->env : "");
}

void config_help(FILE *out)
{
    const char *title = NULL; /* of the group, until its first option is printed */

    fputs("Usage: dflockd [OPTION]...\n"
          "Serves named locks and semaphores to clients over the network.\n",
          out);
#define OPTION_GROUP(title_) title = title_;
#define OPTION(name, env, older, type, def, min, max, unit, reload, secret, feature, help, field)  \
    if (option_built(OPTION_##field)) {                                                            \
        if (title != NULL)                                                                         \
            fprintf(out, "\n%s:\n", title);                                                        \
        title = NULL;                                                                              \
        help_option(OPTION_##field, out);                                                          \
    }
#include "config/options.def"
    fputs(
        "\nWrite --NAME VALUE or --NAME=VALUE; in the configuration file NAME = VALUE, with _ in "
        "names.\n"
        "An environment variable wins over the flag, the flag over the file; an empty variable\n"
        "counts as unset. Booleans are 1 0 true false yes no on off. Exit status: 0 after a clean\n"
        "end, 78 for wrong settings, 1 for any other failure.\n",
        out);
}

void config_version(FILE *out)
{
    const char *before = "; without: ";

    fprintf(out, "dflockd %s\nbuilt with: OpenSSL %s, glibc %s", PACKAGE_VERSION,
            OpenSSL_version(OPENSSL_VERSION_STRING), gnu_get_libc_version());
#ifdef HAVE_HTTP
    fputs(", libevent " HAVE_HTTP, out);
#endif
#ifdef HAVE_SECCOMP
    fputs(", libseccomp " HAVE_SECCOMP, out);
#else
    fprintf(out, "%sseccomp", before);
    before = " ";
#endif
#ifndef HAVE_LIBSYSTEMD
    fprintf(out, "%ssystemd", before);
    before = " ";
#endif
    for (unsigned i = 0; i < FEATURE_COUNT; i++) {
        if (feature_table[i].missing == NULL)
            continue;
        fprintf(out, "%s%s", before, feature_table[i].name);
        before = " ";
    }
    fputc('\n', out);
}
