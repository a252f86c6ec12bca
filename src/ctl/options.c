/*
 * ctl/options.c - dflockctl's command line. See ctl.h.
 */
#include "base/num.h"
#include "ctl/check.h"
#include "ctl/ctl.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static const struct command commands[] = {
    {"ls", " [PREFIX]", "the keys, all or those that begin with PREFIX", CMD_LS, 0, 1, ls_run},
    {"show", " KEY", "who holds a lock or semaphore, and who waits for it", CMD_SHOW, 1, 1,
     show_run},
    {"evict", " KEY", "takes it from its holder; needs an admin token of the server's", CMD_EVICT,
     1, 1, evict_run},
    {"top", "", "the busiest keys, shown until q is pressed", CMD_TOP, 0, 0, top_run},
    {"stats", "", "each server's numbers", CMD_STATS, 0, 0, stats_run},
    {"ping", "", "whether each server answers, and how fast", CMD_PING, 0, 0, ping_run},
    {"check", "", "for monitoring systems: one line, exit status 0 to 3", CMD_CHECK, 0, 0,
     check_run},
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

struct row {
    int value;
    const char *name, *arg;
    int commands;
    const char *help;
};

#define CTL_ROW(id, value, name, arg, commands, help)                                              \
    [OPT_##id] = {value, name, arg, commands, help},
static const struct row rows[OPT_N] = {CTL_ROWS(CTL_ROW)};

#define CTL_GETOPT(id, value, name, arg, commands, help)                                           \
    {name, (arg) != NULL ? required_argument : no_argument, NULL, value},
static const struct option long_options[] = {
    WHERE_LONG CTL_ROWS(CTL_GETOPT){"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

static void print_rows(int command, const char *title)
{
    bool any = false;

    for (int i = 0; i < OPT_N; i++) {
        if (!(rows[i].commands & command))
            continue;
        if (!any)
            printf("\n%s:\n", title);
        any = true;
        where_help_row(stdout, rows[i].value, rows[i].name, rows[i].arg, rows[i].help);
    }
}

_Noreturn static void help(const struct command *only)
{
    if (only != NULL) {
        printf("Usage: dflockctl %s [OPTION]...%s\n%s.\n", only->name, only->args, only->help);
        print_rows(only->bit, "Options");
    } else {
        puts("Usage: dflockctl COMMAND [OPTION]... [ARGUMENT]\n"
             "Looks at dflockd's locks, semaphores and queues, and takes locks away.\n"
             "\nCommands:");
        for (int i = 0; i < COMMANDS; i++)
            printf("  %s%s\n      %s\n", commands[i].name, commands[i].args, commands[i].help);
        print_rows(~CMD_CHECK, "Options of ls, show, evict, top, stats, ping");
        print_rows(CMD_CHECK, "Options of check");
    }
    where_help(stdout);
    puts("\nGeneral:\n"
         "  -V, --version\n      print the version, exit\n"
         "  -h, --help\n      print this text (or a command's), exit\n"
         "\nOptions win over environment variables. Exit status: 0; 1 there is no such key or "
         "holder;\n"
         "64 wrong options; 69 a server cannot be reached; 77 it refuses the token; check: 0 OK,\n"
         "1 WARNING, 2 CRITICAL, 3 UNKNOWN.");
    exit(fflush(stdout) == 0 ? 0 : EX_IOERR);
}

_Noreturn void ctl_refuse(const struct ctl *c, int status, const char *format, ...)
{
    bool check = c->command != NULL && c->command->bit == CMD_CHECK;
    va_list args;
    char *text;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    text_memory(text);
    if (check) {
        status = check_unknown(text);
    } else {
        fprintf(stderr, "dflockctl: %s\n", text);
        if (status == EX_USAGE)
            fputs("dflockctl: try 'dflockctl --help'\n", stderr);
    }
    free(text);
    exit(status);
}

static const struct command *find_command(const char *name)
{
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static bool take(struct ctl *c, int option)
{
    for (int i = 0; i < OPT_N; i++) {
        if (rows[i].value != option)
            continue;
        c->given[i] = optarg != NULL ? optarg : "";
        return true;
    }
    return false;
}

/* What getopt_long() does not like, in words; NULL: nothing. */
static char *complaint(int result, char *const *argv)
{
    const char *word = argv[optind - 1];
    bool is_long = strncmp(word, "--", 2) == 0;

    if (result == ':' && is_long)
        return text_format("%s: a value is missing", word);
    if (result == ':')
        return text_format("-%c: a value is missing", optopt);
    if (is_long && optopt != 0)
        return text_format("%s: takes no value", word);
    if (is_long)
        return text_format("%s: no such option, or more than one begins like that", word);
    return text_format("-%c: no such option", optopt);
}

static void check_options(const struct ctl *c)
{
    for (int i = 0; i < OPT_N; i++)
        if (c->given[i] != NULL && !(rows[i].commands & c->command->bit))
            ctl_refuse(c, EX_USAGE, "--%s: not an option of %s", rows[i].name, c->command->name);
    if (c->nargs < c->command->min_args)
        ctl_refuse(c, EX_USAGE, "%s:%s is missing", c->command->name, c->command->args);
    if (c->nargs > c->command->max_args)
        ctl_refuse(c, EX_USAGE, "%s: '%s' is one argument too many", c->command->name,
                   c->args[c->command->max_args]);
}

void ctl_parse(struct ctl *c, int argc, char **argv)
{
    bool want_help = false, want_version = false;
    char *wrong = NULL;
    int result;

    opterr = 0;
    while ((result = getopt_long(argc, argv, ":" WHERE_SHORT "c:hi:Vy", long_options, NULL)) !=
           -1) {
        if (result == 'h')
            want_help = true;
        else if (result == 'V')
            want_version = true;
        else if (!where_take(&c->where, result, optarg) && !take(c, result) && wrong == NULL)
            wrong = complaint(result, argv);
    }
    if (optind < argc)
        c->command = find_command(argv[optind]);
    if (want_help)
        help(c->command);
    if (want_version) {
        puts("dflockctl " PACKAGE_VERSION);
        exit(fflush(stdout) == 0 ? 0 : EX_IOERR);
    }
    if (wrong != NULL)
        ctl_refuse(c, EX_USAGE, "%s", wrong);
    if (optind == argc)
        ctl_refuse(c, EX_USAGE, "a command is missing: ls, show, evict, top, stats, ping or check");
    if (c->command == NULL)
        ctl_refuse(c, EX_USAGE, "'%s' is no command: ls, show, evict, top, stats, ping, check",
                   argv[optind]);
    c->args = argv + optind + 1;
    c->nargs = argc - optind - 1;
    check_options(c);
    c->options = text_memory(dflock_options_new());
    if (where_finish(&c->where, c->options) != 0)
        ctl_refuse(c, EX_USAGE, "%s", c->where.error);
}

uint64_t ctl_number(const struct ctl *c, int option, uint64_t min, uint64_t otherwise)
{
    const char *text = c->given[option];
    int64_t value;

    if (text == NULL)
        return otherwise;
    if (num_parse_i64(text, strlen(text), &value) != 0 || value < 0 || (uint64_t)value < min)
        ctl_refuse(c, EX_USAGE, "--%s: '%s' is not a number from %" PRIu64 " up", rows[option].name,
                   text, min);
    return (uint64_t)value;
}

double ctl_decimal(const struct ctl *c, int option, double otherwise)
{
    const char *text = c->given[option];
    double value;

    if (text == NULL)
        return otherwise;
    if (num_parse_decimal(text, strlen(text), &value) != 0)
        ctl_refuse(c, EX_USAGE, "--%s: '%s' is not a number such as 2.5, 0 to 9223372036",
                   rows[option].name, text);
    return value;
}

const char *ctl_key(const struct ctl *c)
{
    const char *key = c->args[0];

    if (key[0] == '\0' || strlen(key) > 256 || key[strcspn(key, " \t\r\n")] != '\0')
        ctl_refuse(c, EX_USAGE, "a key has 1 to 256 bytes, none of them a space, tab or line end");
    return key;
}

size_t ctl_key_server(const struct ctl *c, const char *key)
{
    return dflock_shard_crc32(key, c->all.n, NULL);
}

int ctl_status(int error)
{
    switch (error) {
    case 0:
        return 0;
    case DFLOCK_ERR_AUTH:
        return EX_NOPERM;
    case DFLOCK_ERR_CONNECT:
    case DFLOCK_ERR_TLS:
        return EX_UNAVAILABLE;
    case DFLOCK_ERR_PROTOCOL:
        return EX_PROTOCOL;
    case DFLOCK_ERR_INVALID:
        return EX_USAGE;
    case DFLOCK_ERR_SYSTEM:
        return EX_OSERR;
    default:
        return EX_SOFTWARE;
    }
}

int ctl_failures(const struct ctl *c)
{
    int status = 0;

    for (size_t i = 0; i < c->all.n; i++) {
        if (c->all.at[i].error == 0)
            continue;
        fprintf(stderr, "dflockctl: %s\n", c->all.at[i].why);
        if (status == 0)
            status = ctl_status(c->all.at[i].error);
    }
    return status;
}

bool ctl_any_answered(const struct ctl *c)
{
    for (size_t i = 0; i < c->all.n; i++)
        if (c->all.at[i].error == 0)
            return true;
    return false;
}
