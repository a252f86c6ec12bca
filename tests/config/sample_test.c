/*
 * tests/config/sample_test.c - systemd/dflockd.conf, the commented sample, is the table of options:
 * each key of a file, its help and its default, in the order of the table, and nothing else. It is
 * the same whatever is built in.
 */
#include "base/io.h"
#include "tests/config/sources.h"
#include "tests/tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIZE = 1 << 16, WIDTH = 96 };

static const char head[] =
    "# dflockd.conf - settings of dflockd; dflockd.conf(5) has the form, dflockd(8) has them in\n"
    "# detail. Each line shows a default, or what sort of value there may be. A variable or an option\n"
    "# of the command line wins over this file. \"dflockd -t\" checks it, \"dflockd -T\" shows what is in\n"
    "# effect. RELOAD: takes effect on SIGHUP; the others need a restart.\n"
    "#\n"
    "# include /etc/dflockd/conf.d/*.conf\n";

static char sample[SIZE], wanted[SIZE];

/* As comments, broken at spaces. */
static void wrap(FILE *to, const char *text)
{
    while (*text) {
        size_t n = strlen(text);

        if (n > WIDTH - 2) {
            n = WIDTH - 2;
            while (text[n] != ' ')
                n--;
        }
        fprintf(to, "# %.*s\n", (int)n, text);
        text += n + (text[n] == ' ');
    }
}

static void option(FILE *to, const char **title, enum option_id id)
{
    const struct option *o = &option_table[id];
    char help[512];

    if (!option_in_file(id))
        return;
    if (*title)
        fprintf(to, "\n\n## %s\n", *title);
    *title = NULL;
    snprintf(help, sizeof(help), "%s%s", o->help, o->reload ? " - RELOAD" : "");
    fputc('\n', to);
    wrap(to, help);
    fprintf(to, "#%s = %s\n", o->key, o->def[0] ? o->def : o->unit);
}

static void compose(void)
{
    FILE *to = fmemopen(wanted, SIZE, "w");
    const char *title = NULL;

    fputs(head, to);
#define OPTION_GROUP(title_) title = title_;
#define OPTION(name, env, older, type, def, min, max, unit, reload, secret, feature, help, field)  \
    option(to, &title, OPTION_##field);
#include "config/options.def"
    fclose(to);
}

static void test_text(void)
{
    char *a = sample, *b = wanted;
    unsigned line = 1;

    while (*a && *b) {
        char *x = strsep(&a, "\n"), *y = strsep(&b, "\n");

        if (strcmp(x, y) != 0) {
            ok(false, "line %u of the sample is '%s', not '%s'", line, y, x);
            return;
        }
        line++;
        if (!a || !b)
            break;
    }
    is_str(a ? a : "", b ? b : "", "the sample has what the table of options has");
}

/* With the "#" before each default taken away it says what no file says. */
static void test_defaults(const char *text)
{
    struct settings defaults;
    char path[] = "/tmp/dflockd-sample-XXXXXX";
    FILE *f = fdopen(mkstemp(path), "w");
    char *copy = strdup(text), *rest = copy, *line;
    unsigned n = 0;

    while ((line = strsep(&rest, "\n"))) {
        enum option_id id;
        char *equals = line[0] == '#' && line[1] != ' ' ? strstr(line, " = ") : NULL;

        if (!equals)
            continue;
        *equals = '\0';
        id = option_find_key(line + 1);
        if (id != OPTION_COUNT && option_built(id) && option_table[id].def[0]) {
            fprintf(f, "%s = %s\n", line + 1, equals + 3);
            n++;
        }
    }
    fclose(f);
    free(copy);
    load(WORDS(), ENV());
    defaults = settings;
    is_int(load(WORDS("--config", path), ENV()), 0, "the sample's values are accepted");
    ok(n > 15, "there are many of them");
    is_int(memcmp(&settings, &defaults, offsetof(struct settings, config)), 0,
           "and are the defaults");
    unlink(path);
}

int main(void)
{
    const char *top = getenv("top_srcdir");
    char path[4096];
    ssize_t n;

    snprintf(path, sizeof(path), "%s/systemd/dflockd.conf", top ? top : ".");
    n = io_read_file(path, sample, SIZE - 1);
    ok(n > 0, "the sample is there");
    compose();
    if (getenv("DFLOCKD_PRINT_SAMPLE"))
        fputs(wanted, stderr);
    test_defaults(sample);
    test_text();
    return done_testing();
}
