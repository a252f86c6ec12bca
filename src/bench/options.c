/*
 * bench/options.c - see options.h.
 */
#include "bench/options.h"

#include "base/num.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { KEY_MAX = 256, SUFFIX_MAX = 32 /* what load.c puts behind a prefix */ };
#define ROUNDS_MAX (INT64_C(1) << 40)
#define RATE_MAX 1e8

/* ROW(id, what getopt_long() returns, name, its argument or NULL, help or NULL) */
#define ROWS(ROW)                                                                                  \
    ROW(WORKERS, 0x2000, "workers", "N",                                                           \
        "that acquire and release, each a lock of its own; default 10")                            \
    ROW(ROUNDS, 0x2001, "rounds", "N",                                                             \
        "operations of each worker, an acquire and its release each; default 50")                  \
    ROW(DURATION, 0x2002, "duration", "SECONDS", "goes on that long, instead of --rounds")         \
    ROW(WARMUP, 0x2003, "warmup", "N",                                                             \
        "rounds of each worker before the measurement begins; default 10")                         \
    ROW(KEY, 0x2004, "key", "PREFIX", "what all keys begin with; default bench")                   \
    ROW(SHARED_KEY, 0x2005, "shared-key", NULL,                                                    \
        "all workers want the same lock; its key is what --key says")                              \
    ROW(TIMEOUT, 0x2006, "timeout", "SECONDS", "how long an acquire waits; default 30")            \
    ROW(LEASE, 0x2007, "lease", "SECONDS",                                                         \
        "lease to ask for, 0 leaves it to the server; default 10")                                 \
    ROW(CONNECTIONS, 0x2008, "connections", "N",                                                   \
        "of each worker, used in turn; default 0, which means 1")                                  \
    ROW(PIPELINE, 0x2009, "pipeline", "N",                                                         \
        "operations that each worker has under way at a time, with a key for each; default 1")     \
    ROW(RATE, 0x200a, "rate", "N",                                                                 \
        "begins N operations a second, all workers together; one that begins late counts\n"        \
        "      from when it should have begun")                                                    \
    ROW(THREADS, 0x200b, "threads", "N", "that share the workers; default 1")                      \
    ROW(CHECK, 0x200c, "check", NULL,                                                              \
        "verifies that what it sees is exclusive, in order and fenced; the default")               \
    ROW(NO_CHECK, 0x200d, "no-check", NULL, "does not")                                            \
    ROW(JSON, 0x200e, "json", NULL, "prints the results as one line of JSON")                      \
    ROW(AUTH_TOKEN, 0x200f, "auth-token", "TOKEN",                                                 \
        "the token that the servers want; the process list shows it, see --auth-token-file")       \
    ROW(HTTP, 0x2010, "http", "LIST",                                                              \
        "measures the HTTP API of these servers, host:port or URL each, instead of the line\n"     \
        "      protocol")                                                                          \
    ROW(HELP, 'h', "help", NULL, "prints this")                                                    \
    ROW(VERSION, 'V', "version", NULL, "prints the version")

#define ROW_ENUM(id, value, name, arg, help) OPTION_##id = (value),
enum choice { ROWS(ROW_ENUM) };

#define ROW_GETOPT(id, value, name, arg, help)                                                     \
    {name, (arg) != NULL ? required_argument : no_argument, NULL, value},
static const struct option long_options[] = {ROWS(ROW_GETOPT) WHERE_LONG{NULL, 0, NULL, 0}};

/* What was said beside what is in the settings. */
struct said {
    bool rounds;
    const char *elsewhere; /* --servers or --unix */
    const char *auth_token, *http;
};

void complain(const char *fmt, ...)
{
    va_list ap;

    fputs("dflock-bench: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    putc('\n', stderr);
}

static void help(void)
{
    static const struct {
        int value;
        const char *name, *arg, *text;
    } rows[] = {
#define ROW_HELP(id, value, name, arg, help) {value, name, arg, help},
        ROWS(ROW_HELP)};

    puts("usage: dflock-bench [option ...]\n"
         "Acquires and releases locks of dflockd servers as fast as they go, or at a given rate, "
         "and\n"
         "says how long that took.\n\nLoad:");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fputs("  ", stdout);
        if (rows[i].value < 0x1000)
            printf("-%c, ", rows[i].value);
        printf("--%s%s%s\n      %s\n", rows[i].name, rows[i].arg ? " " : "",
               rows[i].arg ? rows[i].arg : "", rows[i].text);
    }
    where_help(stdout);
}

/* 0, or EXIT_USAGE after a message. `what` says what such a number would be. */
static int number(const char *name, const char *what, int64_t min, int64_t max, uint64_t *out)
{
    int64_t value;
    int err = num_parse_i64(optarg, strlen(optarg), &value);

    if (err == -EINVAL) {
        complain("--%s: '%s' is not a number", name, optarg);
        return EXIT_USAGE;
    }
    if (err || value < min || value > max) {
        complain("--%s: %s %s; %lld to %lld", name, optarg, what, (long long)min, (long long)max);
        return EXIT_USAGE;
    }
    *out = (uint64_t)value;
    return 0;
}

static int number32(const char *name, const char *what, int64_t min, int64_t max, uint32_t *out)
{
    uint64_t value = 0;
    int err = number(name, what, min, max, &value);

    if (!err)
        *out = (uint32_t)value;
    return err;
}

static int decimal(const char *name, const char *what, double min, double max, double *out)
{
    double value;
    int err = num_parse_decimal(optarg, strlen(optarg), &value);

    if (err == -EINVAL) {
        complain("--%s: '%s' is not a number such as 2.5", name, optarg);
        return EXIT_USAGE;
    }
    if (err || value < min || value > max) {
        complain("--%s: %s %s; %g to %.0f", name, optarg, what, min, max);
        return EXIT_USAGE;
    }
    *out = value;
    return 0;
}

static int take(struct settings *s, struct said *said, int option)
{
    double seconds = 0;
    int err = 0;

    switch (option) {
    case OPTION_WORKERS:
        return number32("workers", "is no number of workers", 1, 1000000, &s->workers);
    case OPTION_ROUNDS:
        said->rounds = true;
        return number("rounds", "is no number of rounds", 1, ROUNDS_MAX, &s->rounds);
    case OPTION_DURATION:
        err = decimal("duration", "is no duration", 0.001, (double)SECONDS_MAX / 2, &seconds);
        s->duration = (uint64_t)(seconds * 1e9);
        return err;
    case OPTION_WARMUP:
        return number("warmup", "is no number of rounds", 0, ROUNDS_MAX, &s->warmup);
    case OPTION_KEY:
        s->key = optarg;
        return 0;
    case OPTION_SHARED_KEY:
        s->shared_key = true;
        return 0;
    case OPTION_TIMEOUT:
        return number("timeout", "is no timeout", 0, SECONDS_MAX, &s->timeout);
    case OPTION_LEASE:
        return number("lease", "is no lease", 0, SECONDS_MAX, &s->lease);
    case OPTION_CONNECTIONS:
        return number32("connections", "is no number of connections", 0, 1000000, &s->connections);
    case OPTION_PIPELINE:
        return number32("pipeline", "is no number of operations under way", 1, 65536, &s->pipeline);
    case OPTION_RATE:
        return decimal("rate", "is no rate", 0.001, RATE_MAX, &s->rate);
    case OPTION_THREADS:
        return number32("threads", "is no number of threads", 1, 1024, &s->threads);
    case OPTION_CHECK:
        s->check = true;
        return 0;
    case OPTION_NO_CHECK:
        s->check = false;
        return 0;
    case OPTION_JSON:
        s->json = true;
        return 0;
    case OPTION_AUTH_TOKEN:
        said->auth_token = optarg;
        return 0;
    case OPTION_HTTP:
        s->http = true;
        said->http = optarg;
        return 0;
    case OPTION_HELP:
        help();
        return EXIT_OK;
    case OPTION_VERSION:
        printf("dflock-bench %s\n", dflock_version());
        return EXIT_OK;
    default:
        if (option == WHERE_SERVERS || option == WHERE_UNIX)
            said->elsewhere = option == WHERE_UNIX ? "--unix" : "--servers";
        return where_take(&s->where, option, optarg) ? 0 : EXIT_USAGE;
    }
}

/* What depends on more than one option. */
static int check_together(struct settings *s, const struct said *said)
{
    size_t longest = s->shared_key ? KEY_MAX : KEY_MAX - SUFFIX_MAX;

    if (!s->connections)
        s->connections = 1;
    if (s->duration && said->rounds)
        complain("--duration: not together with --rounds; the run ends by one of them");
    else if (s->shared_key && s->pipeline > 1)
        complain("--pipeline: not together with --shared-key: on a connection that waits for the "
                 "lock, the release would wait behind; use more --workers");
    else if (s->http && s->pipeline > 1)
        complain(
            "--pipeline: not together with --http, where a connection has one request under way; "
            "use more --workers");
    else if (s->http && said->elsewhere)
        complain("--http: says where the servers are, so not together with %s", said->elsewhere);
    else if (s->threads > s->workers)
        complain("--threads: %u are more than the %u --workers that they share", s->threads,
                 s->workers);
    else if ((uint64_t)s->workers * s->connections > 10000000)
        complain("--connections: %u for each of %u workers are too many; 10000000 in all",
                 s->connections, s->workers);
    else if ((uint64_t)s->workers * s->pipeline > 10000000)
        complain("--pipeline: %u for each of %u workers are too many; 10000000 in all", s->pipeline,
                 s->workers);
    else if (strlen(s->key) == 0 || strlen(s->key) > longest)
        complain("--key: %zu bytes; 1 to %zu", strlen(s->key), longest);
    else if (strpbrk(s->key, " \t\r\n"))
        complain("--key: a key has no blanks and no line ends");
    else
        return 0;
    return EXIT_USAGE;
}

/* "host:port", "[ipv6]:port", "unix:/path" */
static bool has_port(const char *host, size_t n)
{
    const char *bracket = memrchr(host, ']', n);

    return memchr(bracket ? bracket : host, ':', bracket ? n - (size_t)(bracket - host) : n) !=
           NULL;
}

/* Takes "http://", "https://" (which adds TLS) and the / behind it away from each address, which
   are written to `out`: it has room for the list. False after a message. */
static bool read_urls(struct settings *s, const char *list, char *out)
{
    for (const char *at = list;; at++) {
        size_t n = strcspn(at, ",");
        bool secure = strncasecmp(at, "https://", 8) == 0;
        size_t scheme = secure ? 8 : strncasecmp(at, "http://", 7) == 0 ? 7 : 0;
        size_t host = scheme < n ? strcspn(at + scheme, "/,") : 0;

        if (scheme && scheme + host + 1 < n) {
            complain("--http: %.*s: a server's address, without a path", (int)n, at);
            return false;
        }
        if (secure)
            where_take(&s->where, WHERE_TLS, NULL);
        if (!scheme)
            host = n;
        if (!has_port(at + scheme, host)) {
            complain("--http: %.*s: the port is missing: that of the server's --http-port", (int)n,
                     at);
            return false;
        }
        memcpy(out, at + scheme, host);
        out += host;
        at += n;
        *out++ = *at;
        if (*at == '\0')
            return true;
    }
}

/* --http says where the servers are, as --servers does for the line protocol. */
static int take_http(struct settings *s, const char *list)
{
    dflock_options *trial = dflock_options_new();
    int err = EXIT_USAGE;

    s->addresses = malloc(strlen(list) + 1);
    if (!s->addresses || !trial)
        complain("no memory");
    else if (read_urls(s, list, s->addresses)) {
        if (dflock_options_set_servers(trial, s->addresses) != 0)
            complain("--http: %s", where_reason());
        else if (where_take(&s->where, WHERE_SERVERS, s->addresses))
            err = 0;
    }
    dflock_options_free(trial);
    return err;
}

static int finish(struct settings *s, const struct said *said)
{
    int err = check_together(s, said);

    if (!err && said->http)
        err = take_http(s, said->http);
    if (err)
        return err;
    s->dial = dflock_options_new();
    if (!s->dial) {
        complain("no memory");
        return EXIT_BROKEN;
    }
    if (where_finish(&s->where, s->dial) != 0) {
        complain("%s", s->where.error);
        return EXIT_USAGE;
    }
    if (said->auth_token && dflock_options_set_auth_token(s->dial, said->auth_token) != 0) {
        complain("--auth-token: %s", where_reason());
        return EXIT_USAGE;
    }
    return -1;
}

int options_read(struct settings *s, int argc, char **argv)
{
    struct said said = {0};
    int option;

    *s = (struct settings){
        .workers = 10,
        .rounds = 50,
        .warmup = 10,
        .key = "bench",
        .timeout = 30,
        .lease = 10,
        .pipeline = 1,
        .threads = 1,
        .check = true,
    };
    while ((option = getopt_long(argc, argv, WHERE_SHORT "hV", long_options, NULL)) != -1) {
        int err = take(s, &said, option);

        if (err || option == OPTION_HELP || option == OPTION_VERSION)
            return err;
    }
    if (optind < argc) {
        complain("'%s' belongs to no option; --help lists them", argv[optind]);
        return EXIT_USAGE;
    }
    return finish(s, &said);
}

void options_free(struct settings *s)
{
    dflock_options_free(s->dial);
    where_free(&s->where);
    free(s->addresses);
}
