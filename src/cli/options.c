/*
 * cli/options.c - see options.h.
 */
#include "cli/options.h"

#include "base/num.h"
#include "cli/exitcode.h"
#include "cli/lease.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { KILL_AFTER = 256, MIN_HOLD, TTL, JSON };

/* "+": what follows the key is the command's. ":" tells a missing argument from an unknown
 * option. */
static const char short_options[] = "+:nw:E:N:c:vhV" WHERE_SHORT;

static const struct option long_options[] = {
    {"nonblock", no_argument, NULL, 'n'},
    {"timeout", required_argument, NULL, 'w'},
    {"conflict-exit-code", required_argument, NULL, 'E'},
    {"limit", required_argument, NULL, 'N'},
    {"ttl", required_argument, NULL, TTL},
    {"min-hold", required_argument, NULL, MIN_HOLD},
    {"kill-after", required_argument, NULL, KILL_AFTER},
    {"command", required_argument, NULL, 'c'},
    {"verbose", no_argument, NULL, 'v'},
    {"json", no_argument, NULL, JSON},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    WHERE_LONG{NULL, 0, NULL, 0},
};

static const char help_text[] =
    "usage: dflock [options] KEY [--] COMMAND [ARGUMENT ...]\n"
    "       dflock [options] KEY -c STRING\n"
    "Runs the command while holding the lock KEY on a dflockd server. If the lock is lost, the\n"
    "command and all that it has started are killed before another can get the lock.\n"
    "\n"
    "The lock:\n"
    "  -n, --nonblock\n"
    "      do not wait for it\n"
    "  -w, --timeout SECONDS\n"
    "      wait for it at most so long, such as 10 or 0.5; default: for ever\n"
    "  -E, --conflict-exit-code N\n"
    "      exit code when it was not got; default 1\n"
    "  -N, --limit N\n"
    "      a semaphore that N may hold at a time, 1 to 1048576, the same for all users of KEY\n"
    "  --ttl SECONDS\n"
    "      its lease, renewed while the command runs; default: the server's\n"
    "  --min-hold SECONDS\n"
    "      keep it at least so long, also if the command ends sooner\n"
    "\n"
    "The command:\n"
    "  -c, --command STRING\n"
    "      run STRING by /bin/sh\n"
    "  --kill-after SECONDS\n"
    "      between TERM and KILL, when it has to end; at most a quarter of the lease, by\n"
    "      default a sixth, up to 5\n"
    "\n"
    "Messages:\n"
    "  -v, --verbose\n"
    "      say on stderr what happens\n"
    "  --json\n"
    "      the same, as lines of JSON\n"
    "  -h, --help\n"
    "      print this\n"
    "  -V, --version\n"
    "      print the version\n";

static const char exit_text[] = "\n"
                                "The command gets DFLOCK_KEY, DFLOCK_TOKEN, DFLOCK_FENCE and "
                                "DFLOCK_LEASE. dflock exits with the\n"
                                "command's exit code, 128 + N if signal N ended it, -E's if the "
                                "lock was not got, 64 for wrong\n"
                                "usage, 69 without a server, 77 if it wants another secret, 125 if "
                                "the lock was lost or dflock\n"
                                "failed, 126 or 127 if the command cannot be run.\n";

__attribute__((format(printf, 1, 2))) static int refuse(const char *format, ...)
{
    va_list args;

    fputs("dflock: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return EXITCODE_USAGE;
}

/* As the user knows it: "-w", "--ttl". */
static const char *spelled(int option)
{
    static char text[32];

    for (const struct option *o = long_options; option >= 256 && o->name != NULL; o++)
        if (o->val == option) {
            snprintf(text, sizeof(text), "--%s", o->name);
            return text;
        }
    snprintf(text, sizeof(text), "-%c", option);
    return text;
}

static int read_seconds(int option, const char *arg, double *out)
{
    int err = num_parse_decimal(arg, strlen(arg), out);

    if (err == -ERANGE)
        return refuse("%s: %.80s is too long; at most %lld seconds", spelled(option), arg,
                      (long long)SECONDS_MAX);
    if (err != 0)
        return refuse("%s: '%.80s' is not a number of seconds such as 10 or 0.5", spelled(option),
                      arg);
    return -1;
}

/* A whole number from min to max; what says what it would be. */
static int read_whole(int option, const char *arg, const char *what, int64_t min, int64_t max,
                      int64_t *out)
{
    int err = num_parse_i64(arg, strlen(arg), out);

    if (err == 0 && *out >= min && *out <= max)
        return -1;
    if (err == -EINVAL)
        return refuse("%s: '%.80s' is not a whole number; %s, %lld to %lld", spelled(option), arg,
                      what, (long long)min, (long long)max);
    return refuse("%s: %.80s is not %s; %lld to %lld", spelled(option), arg, what, (long long)min,
                  (long long)max);
}

/* -1, or the exit code. */
static int take(struct options *o, int option, char *arg, char *word)
{
    int64_t n;
    int rc;

    if (where_take(&o->where, option, arg))
        return -1;
    switch (option) {
    case 'n':
        o->wait = 0;
        return -1;
    case 'w':
        return read_seconds(option, arg, &o->wait);
    case 'E':
        if ((rc = read_whole(option, arg, "an exit code", 0, 255, &n)) == -1)
            o->not_got = (int)n;
        return rc;
    case 'N':
        if ((rc = read_whole(option, arg, "a number of slots", 1, 1 << 20, &n)) == -1)
            o->limit = (uint32_t)n;
        return rc;
    case TTL:
        if ((rc = read_whole(option, arg, "a lease in seconds", 1, SECONDS_MAX, &n)) == -1)
            o->lease = (uint64_t)n;
        return rc;
    case MIN_HOLD:
        return read_seconds(option, arg, &o->min_hold);
    case KILL_AFTER:
        return read_seconds(option, arg, &o->kill_after);
    case 'c':
        o->shell[2] = arg;
        return -1;
    case 'v':
        o->verbose = true;
        return -1;
    case JSON:
        o->json = true;
        return -1;
    case 'h':
        fputs(help_text, stdout);
        where_help(stdout);
        fputs(exit_text, stdout);
        return fflush(stdout) == 0 ? EXITCODE_OK : EXITCODE_INTERNAL;
    case 'V':
        printf("dflock %s\n", dflock_version());
        return fflush(stdout) == 0 ? EXITCODE_OK : EXITCODE_INTERNAL;
    case ':':
        return refuse("%s: its argument is missing; see dflock --help", word);
    default:
        return refuse("%s: no such option; see dflock --help", word);
    }
}

/* Options up to the first word that is none. */
static int take_all(struct options *o, int argc, char **argv)
{
    int option, rc = -1;

    while (rc == -1) {
        int at = optind;

        if ((option = getopt_long(argc, argv, short_options, long_options, NULL)) == -1)
            break;
        /* Of several short ones in a word, the one that is wrong. */
        if ((option == '?' || option == ':') && strncmp(argv[at], "--", 2) != 0) {
            char word[] = {'-', (char)optopt, '\0'};

            rc = take(o, option, optarg, word);
        } else {
            rc = take(o, option, optarg, argv[at]);
        }
    }
    return rc;
}

static int read_words(struct options *o, int argc, char **argv)
{
    int rc;

    opterr = 0;
    if ((rc = take_all(o, argc, argv)) != -1)
        return rc;
    if (optind == argc)
        return refuse("the key is missing: dflock [options] KEY [--] COMMAND; see dflock --help");
    o->key = argv[optind++];
    /* As with flock(1), options may follow it: dflock KEY -c STRING. */
    if ((rc = take_all(o, argc, argv)) != -1)
        return rc;
    if (o->shell[2] != NULL && optind < argc)
        return refuse("-c '%.80s' is the command, '%.80s' is one word too many", o->shell[2],
                      argv[optind]);
    if (o->shell[2] != NULL)
        o->command = o->shell;
    else if (optind == argc)
        return refuse("what to run under the lock '%.256s'? dflock [options] KEY [--] COMMAND",
                      o->key);
    else
        o->command = argv + optind;
    return -1;
}

static int make(struct options *o)
{
    if ((o->how = dflock_options_new()) == NULL) {
        refuse("no memory");
        return EXITCODE_INTERNAL;
    }
    if (where_finish(&o->where, o->how) != 0)
        return refuse("%s", o->where.error);
    if (dflock_options_set_acquire_timeout(o->how, o->wait) != 0 ||
        dflock_options_set_lease(o->how, o->lease) != 0 ||
        dflock_options_set_renew(o->how, LEASE_RENEW_RATIO, LEASE_RENEW_JITTER) != 0)
        return refuse("%s", where_reason());
    return -1;
}

int options_read(struct options *o, int argc, char **argv)
{
    static char shell[] = "/bin/sh", string[] = "-c";
    int rc;

    *o = (struct options){.wait = (double)SECONDS_MAX,
                          .not_got = EXITCODE_NOT_GOT,
                          .kill_after = -1,
                          .shell = {shell, string, NULL, NULL}};
    if ((rc = read_words(o, argc, argv)) == -1)
        rc = make(o);
    if (rc != -1)
        options_free(o);
    return rc;
}

void options_free(struct options *o)
{
    dflock_options_free(o->how);
    o->how = NULL;
    where_free(&o->where);
}
