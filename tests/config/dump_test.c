/*
 * tests/config/dump_test.c - what --help, --version, --check-config and --dump-config print, and
 * the exit status of each.
 */
#include "config/dump.h"

#include "tests/config/sources.h"
#include "tests/tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *out, *err;
static int status;

static void act(const char *const *words, const char *const *env)
{
    size_t out_size, err_size;
    FILE *to_out, *to_err;

    free(out);
    free(err);
    to_out = open_memstream(&out, &out_size);
    to_err = open_memstream(&err, &err_size);
    load(words, env);
    status = config_act(&settings, &report, to_out, to_err);
    fclose(to_out);
    fclose(to_err);
}

static bool has_line(const char *text, const char *line)
{
    size_t n = strlen(line);

    for (const char *p = text; p != NULL; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (strncmp(p, line, n) == 0 && p[n] == '\n')
            return true;
        if (*p == '\0')
            break;
    }
    return false;
}

static void test_serve(void)
{
    act(WORDS(), ENV());
    is_int(status, CONFIG_SERVE, "nothing asked for: serve");
    ok(out[0] == '\0' && err[0] == '\0', "nothing printed");
    act(WORDS("--auth-token=t"), ENV());
    is_int(status, CONFIG_SERVE, "a warning does not stop it");
    ok(err[0] == '\0' && report.warnings.count == 1, "and is left for the log");
    act(WORDS("--port=x"), ENV("DFLOCKD_GC_LOOP_SLEEP=1"));
    is_int(status, 78, "an error does");
    is_str(err,
           "dflockd: warning: DFLOCKD_GC_LOOP_SLEEP: older name of DFLOCKD_GC_INTERVAL_S, which "
           "should be used instead\n"
           "dflockd: --port: 'x' is not a number\n",
           "and everything is said");
    is_str(out, "", "on stderr");
}

static void test_check(void)
{
    const char *words[42] = {"dflockd", "-t"};

    act(WORDS("-t"), ENV());
    is_int(status, 0, "-t: good");
    is_str(out, "dflockd: configuration ok\n", "says so");
    is_str(err, "", "nothing else");
    act(WORDS("--check-config", "--port", "70000"), ENV("DFLOCKD_WORKERS=many"));
    is_int(status, 78, "--check-config: bad");
    is_str(err,
           "dflockd: --port: 70000 is out of range (0 to 65535)\n"
           "dflockd: DFLOCKD_WORKERS: 'many' is not a number\n",
           "every error");
    is_str(out, "", "and not ok");
    for (int i = 2; i < 41; i++)
        words[i] = "word";
    act(words, ENV());
    ok(has_line(err, "dflockd: and 7 more errors"), "too many to print are counted");
}

static void test_dump(void)
{
    unsigned lines = 0, wanted = 0;

    act(WORDS("-T"), ENV());
    is_int(status, 0, "-T");
    for (const char *p = out; *p != '\0'; p++)
        lines += *p == '\n';
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &option_table[i];
        char start[64];

        snprintf(start, sizeof(start), "%s = ", o->name);
        for (char *p = start; *p != '\0'; p++)
            *p = *p == '-' ? '_' : *p;
        if (option_built(i) && o->type != TYPE_ACTION && o->type != TYPE_ACTION_PATH) {
            char line[128];

            wanted++;
            snprintf(line, sizeof(line), "%s%s   # from default", start,
                     i == OPTION_http_host ? option_table[OPTION_host].def : o->def);
            if (i != OPTION_workers)
                ok(has_line(out, line), "%s", line);
            else
                ok(strstr(out, start) != NULL, "%s", start);
        }
    }
    is_u64(lines, wanted, "each setting that is built in, and no other");

    act(WORDS("--dump-config", "--port", "7000", "--host=::1,a", "--unix-socket-mode", "600",
              "--log-format", "json", "--no-auto-release-on-disconnect"),
        ENV("DFLOCKD_PORT=8000", "DFLOCKD_GC_LOOP_SLEEP=9", "DFLOCKD_AUTH_TOKEN=hunter2",
            "DFLOCKD_AUTH_TOKEN_FILE=/none", "DFLOCKD_DEBUG=1"));
    is_int(status, 0, "--dump-config");
    ok(has_line(out, "port = 8000   # from DFLOCKD_PORT, over --port"), "a shadowed flag is named");
    ok(has_line(out, "host = ::1,a   # from --host"), "a list");
    ok(has_line(out, "unix_socket_mode = 0600   # from --unix-socket-mode"), "a mode");
    ok(has_line(out, "log_format = json   # from --log-format"), "a format");
    ok(has_line(out, "auto_release_on_disconnect = false   # from --auto-release-on-disconnect"),
       "a boolean");
    ok(has_line(out, "gc_interval = 9   # from DFLOCKD_GC_LOOP_SLEEP"), "an older name");
    ok(has_line(out, "auth_token = (set)   # from DFLOCKD_AUTH_TOKEN"), "a secret");
    ok(has_line(out, "auth_token_file = /none   # from DFLOCKD_AUTH_TOKEN_FILE, not used: "
                     "DFLOCKD_AUTH_TOKEN wins"),
       "a file that is not used");
    ok(has_line(out, "log_level = debug   # from DFLOCKD_DEBUG"), "level from debug");
    ok(strstr(out, "hunter2") == NULL, "no secret in it");
    act(WORDS("-T", "--auth-token-file=/none", "--auth-token=hunter2", "--debug",
              "--log-level=warn"),
        ENV());
    ok(has_line(out,
                "auth_token_file = /none   # from --auth-token-file, not used: --auth-token wins"),
       "token over file");
    ok(has_line(out, "log_level = warn   # from --log-level") &&
           has_line(out, "debug = true   # from --debug, not used: --log-level wins"),
       "level over debug");
    act(WORDS("-T", "--port=x"), ENV());
    is_int(status, 78, "wrong settings are not dumped");
    is_str(out, "", "nothing");
    act(WORDS("-T", "--max-lease-ttl=5", "--user=a\nb"), ENV());
    ok(has_line(out, "default_lease_ttl = 5   # from default"), "what is in effect");
    ok(has_line(out, "user = a\\x0ab   # from --user"), "one line a setting");
}

static void test_help(void)
{
    unsigned too_wide = 0;

    act(WORDS("--help", "--bogus"), ENV("DFLOCKD_PORT=x"));
    is_int(status, 0, "--help");
    is_str(err, "", "nothing on stderr");
    ok(strncmp(out, "Usage: dflockd ", 15) == 0, "usage");
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &option_table[i];
        char flag[64];

        snprintf(flag, sizeof(flag), "--%s%s%s\n", o->name, o->unit[0] != '\0' ? " " : "", o->unit);
        is_int(strstr(out, flag) != NULL || strcmp(o->name, "auto-release-on-disconnect") == 0,
               option_built(i), "--%s", o->name);
        if (o->env != NULL)
            is_int(strstr(out, o->env) != NULL, option_built(i), "%s", o->env);
    }
    ok(strstr(out, "--auto-release-on-disconnect, --no-auto-release-on-disconnect\n") != NULL,
       "how to switch off what is on");
    ok(strstr(out, "[default 6388; DFLOCKD_PORT]\n") != NULL, "defaults");
    ok(strstr(out, "-t, --check-config\n") != NULL, "short forms");
    ok(strstr(out, "\nLimits:\n") != NULL, "groups");
    is_int(strstr(out, "\nTLS:\n") != NULL, option_built(OPTION_tls_cert), "without empty ones");
    is_int(strstr(out, "\nHTTP:\n") != NULL, option_built(OPTION_http_port), "such as HTTP's");
    for (const char *p = out; *p != '\0'; p = strchr(p, '\n') + 1)
        too_wide += strcspn(p, "\n") > 100;
    is_u64(too_wide, 0, "no line is too wide");
}

static void test_version(void)
{
    const char *second;
    bool all = true;

    for (unsigned i = 0; i < FEATURE_COUNT; i++)
        all = all && feature_table[i].missing == NULL;
#if !defined(HAVE_SECCOMP) || !defined(HAVE_LIBSYSTEMD)
    all = false;
#endif
    act(WORDS("-T", "--version"), ENV("DFLOCKD_PORT=x"));
    is_int(status, 0, "--version");
    is_str(err, "", "nothing on stderr");
    second = strchr(out, '\n');
    ok(strncmp(out, "dflockd " PACKAGE_VERSION "\n", strlen(PACKAGE_VERSION) + 9) == 0, "version");
    ok(second != NULL && strstr(second, "OpenSSL 3.") != NULL, "and what was built in");
    is_int(second != NULL && strstr(second, "; without: ") != NULL, !all, "what is missing");
    is_str(second != NULL ? strchr(second + 1, '\n') : NULL, "\n", "two lines");
}

/* Escapes make a text longer than what it was made of. */
static void test_report_bounds(void)
{
    static char typed[REPORT_TEXT];
    unsigned wrong = 0;

    for (size_t plain = 0; plain < sizeof(typed) - 1; plain++) {
        memset(typed, 'a', sizeof(typed) - 1);
        memset(typed + plain, '\n', sizeof(typed) - 1 - plain);
        memset(&report, 0, sizeof(report));
        report.errors.text[1][0] = '?';
        report_error(&report, "%s", typed);
        wrong += strnlen(report.errors.text[0], REPORT_TEXT) == REPORT_TEXT ||
                 strlen(report.errors.text[0]) < REPORT_TEXT - 4 || report.errors.text[1][0] != '?';
    }
    is_u64(wrong, 0, "a text that grows too long is cut between characters");
}

/* A full disk or a closed pipe must not look like success. */
static void test_output_fails(void)
{
    FILE *full = fopen("/dev/full", "w");

    load(WORDS("--help"), ENV());
    is_int(config_act(&settings, &report, full, stderr), 1, "output that fails is a failure");
    fclose(full);
}

int main(void)
{
    test_serve();
    test_check();
    test_dump();
    test_help();
    test_version();
    test_report_bounds();
    test_output_fails();
    free(out);
    free(err);
    config_free_args(loaded_argc, loaded_argv);
    return done_testing();
}
