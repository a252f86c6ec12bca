/*
 * tests/config/file_test.c - configuration files: their form, what is wrong with it in which words
 * and where, includes, what wins, and where -T says a value is from.
 */
#include "base/err.h"
#include "config/dump.h"
#include "config/validate.h"
#include "tests/config/sources.h"
#include "tests/tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/dflockd-file-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[4][512];
    static unsigned turn;

    snprintf(path[++turn % 4], sizeof(path[0]), "%s/%s", dir, name);
    return path[turn % 4];
}

static void put(const char *name, const void *text, size_t n)
{
    FILE *f = fopen(path_of(name), "w");

    if (!f || fwrite(text, 1, n, f) != n || fclose(f) != 0)
        bail_out("cannot write %s", name);
}

#define FILE_IS(name, text) put(name, text, sizeof(text) - 1)

static int load_text(const char *text)
{
    put("f", text, strlen(text));
    return load(WORDS("--config", path_of("f")), ENV());
}

/* One error: that text, behind "DIR/f:" */
static void refused(const char *text, const char *error)
{
    char want[REPORT_TEXT];

    snprintf(want, sizeof(want), "%s/f:%s", dir, error);
    is_int(load_text(text), ERR_CONFIG, "refused: %s", error);
    is_str(error_text(0), want, "in these words");
    is_u64(report.errors.count, 1, "once");
}

static void origin(enum option_id id, const char *file_line)
{
    is_str(config_origin(&settings, id), path_of(file_line), "origin %s", file_line);
}

static void test_form(void)
{
    is_int(load_text("# a comment\n\n  port = 7000  \n\tmax_locks=5# no comment\n"), ERR_CONFIG,
           "a '#' without a space before it is part of the value");
    is_int(load_text("# a comment\n\n  port = 7000  \n\tmax_locks=5 # five\ndebug = yes ; yes"), 0,
           "comments, blank lines, white space, no newline at the end");
    is_int(settings.port, 7000, "a value");
    is_int(settings.max_locks, 5, "a value before a comment");
    is_int(settings.log_level, LVL_DEBUG, "the last line counts without its newline");
    origin(OPTION_port, "f:3");
    origin(OPTION_log_level, "f:5");
    is_int(load_text("\xef\xbb\xbfport = 1\r\nworkers = 2\r\n"), 0, "a BOM and CRLF");
    is_int(settings.port, 1, "the first line");
    is_int(settings.workers, 2, "and the second");
    is_int(load_text("\n\n"), 0, "nothing but blank lines");
    is_int(load_text(""), 0, "nothing");
    is_int(load_text("auth_token = a = b : c\n"), 0, "signs in a value");
    refused("port 7000\n", "1: this is not of the form 'key = value'");
    refused("debug = on\n= 5\n", "2: this is not of the form 'key = value'");
    refused("[server]\nport = 1\n", "1: there are no sections here, leave this line out: [server]");
    refused("\nhost = \"::1\"\n", "2: values are written without quotes: host");
    refused("port =\n", "1: port: the value is empty");
    refused("include = x\n", "1: an include is written 'include PATH', without '='");
    put("f", "port = 1\nhost = \0\n", 18);
    is_int(load(WORDS("--config", path_of("f")), ENV()), ERR_CONFIG, "a NUL byte");
    ok(strstr(error_text(0), "/f:2: holds a NUL byte"), "is named: %s", error_text(0));
}

static void test_keys(void)
{
    refused("port = 1\nmax_lock = 5\n", "2: unknown key 'max_lock' (did you mean 'max_locks'?)");
    refused("max-locks = 5\n", "1: unknown key 'max-locks' (did you mean 'max_locks'?)");
    refused("quite_another = 5\n", "1: unknown key 'quite_another', see dflockd.conf(5)");
    refused("port = abc\n", "1: port: 'abc' is not a number");
    refused("config = /x\n", "1: config: a file names another one with 'include PATH'");
    refused("check_config = true\n", "1: check_config: is for the command line only: --check-config");
    refused("help = true\n", "1: help: is for the command line only: --help");
    refused("fsck = x\n", "1: fsck: is for the command line only: --fsck");
    refused("port = 1\n\nport = 2\n", "3: port is set in line 1 already");
    refused("auth_token = abc #def\n",
            "1: auth_token: what follows ' #' or ' ;' is a comment: such a token must be in a file of "
            "its own, see auth_token_file");
    is_int(load_text("max_lease_ttl = 5\ndefault_lease_ttl = 6\n"), ERR_CONFIG, "a contradiction");
    ok(strstr(error_text(0), "/f:2: 6 is more than ") && strstr(error_text(0), "/f:1 (5)"),
       "with both lines: %s", error_text(0));
}

static void test_all_errors(void)
{
    is_int(load_text("port = abc\n[x]\nnonsense\nmax_lock = 1\nworkers = 99\n"), ERR_CONFIG,
           "many errors");
    is_u64(report.errors.count, 5, "are said at once");
    for (unsigned i = 0; i < 5; i++) {
        char want[64];

        snprintf(want, sizeof(want), "/f:%u: ", i + 1);
        ok(strstr(error_text(i), want), "with its line: %s", error_text(i));
    }
}

/* Longer than any buffer of the library's. */
static void test_long_lines(void)
{
    char *text = malloc(80000), *at;

    at = stpcpy(text, "auth_token = ");
    for (unsigned i = 0; i < 65536; i++)
        *at++ = "abc=; :"[i % 3 ? i % 7 : 0];
    strcpy(at, "\nhost = ");
    at += strlen(at);
    for (unsigned i = 0; i < 16; i++)
        at += sprintf(at, "%s10.%u.%u.%u-a-name-that-is-longer-than-most", i ? ",   " : "", i, i, i);
    strcpy(at, "\nport = 7000\n");
    for (char *p = text; *p && *p != '\n'; p++) /* no comment in the token */
        if (*p == ';' && p[-1] == ' ')
            *p = ' ';
    is_int(load_text(text), 0, "a token of 65536 bytes, and 16 hosts");
    is_int(settings.port, 7000, "and what follows them");
    is_int(settings.host.count, 16, "all hosts");
    is_str(settings.host.name[15], "10.15.15.15-a-name-that-is-longer-than-most", "the last of them");
    *strchr(text, '\n') = '\0';
    at = text + strlen("auth_token = ");
    ok(secret_match(&settings.auth_token, at, secret_trim((const char **)(void *)&at, strlen(at))),
       "the token is what it was");
    memset(text, 'k', 1000);
    strcpy(text + 1000, " = 1\nport = 7001\n");
    is_int(load_text(text), ERR_CONFIG, "a key of 1000 bytes");
    is_u64(report.errors.count, 1, "is one error");
    is_int(settings.port, 7001, "and the next line is read");
    strcpy(text, "max_locks = 1");
    memset(text + 13, '2', 600);
    strcpy(text + 613, "\n");
    is_int(load_text(text), ERR_CONFIG, "a long number");
    is_u64(report.errors.count, 1, "is one error");
    memset(text, '#', 2000);
    strcpy(text + 2000, "\nport = 7002\n");
    is_int(load_text(text), 0, "a long comment");
    free(text);
}

static void test_includes(void)
{
    mkdir(path_of("d"), 0700);
    FILE_IS("d/a.conf", "max_locks = 7\nworkers = 3\n");
    FILE_IS("d/b.conf", "workers = 4\n");
    is_int(load_text("port = 1\nworkers = 2\ninclude d/*.conf\nmax_waiters = 9\n"), 0,
           "a directory of files, named relative to the file");
    is_int(settings.workers, 4, "the last one wins");
    origin(OPTION_workers, "d/b.conf:1");
    origin(OPTION_max_locks, "d/a.conf:1");
    is_int(settings.max_waiters, 9, "lines after an include count");
    origin(OPTION_max_waiters, "f:4");
    is_int(load_text("include d/*.none\ninclude nowhere/*.conf\n"), 0, "nothing to include");
    is_int(load_text("include nothing # or\n"), ERR_CONFIG, "a file that is not there");
    ok(strstr(error_text(0), "/f:1: ") && strstr(error_text(0), "/nothing: No such file"),
       "is named, and who named it: %s", error_text(0));
    is_int(load_text("include d\n"), ERR_CONFIG, "a directory");
    ok(strstr(error_text(0), "d/*.conf"), "with what to do: %s", error_text(0));
    FILE_IS("loop", "port = 1\ninclude f\n");
    is_int(load_text("include loop\n"), ERR_CONFIG, "a loop");
    ok(strstr(error_text(0), "/loop:2: ") && strstr(error_text(0), "includes itself"), "is found: %s",
       error_text(0));
    is_u64(report.errors.count, 1, "once");
    for (unsigned i = 0; i < 12; i++) {
        char name[8], text[16];

        snprintf(name, sizeof(name), "n%u", i);
        snprintf(text, sizeof(text), "include n%u\n", i + 1);
        put(name, text, strlen(text));
    }
    is_int(load_text("include n0\n"), ERR_CONFIG, "too deep");
    ok(strstr(error_text(0), "more than 8 deep"), "says so: %s", error_text(0));
    FILE_IS("d/b.conf", "workers = x\n");
    is_int(load_text("include d/b.conf\nport = y\n"), ERR_CONFIG, "errors in both");
    ok(strstr(error_text(0), "/d/b.conf:1: workers: 'x'"), "the inner one: %s", error_text(0));
    ok(strstr(error_text(1), "/f:2: port: 'y'"), "the outer one: %s", error_text(1));
}

static void test_which_file(void)
{
    is_int(load(WORDS("--config", path_of("none")), ENV()), ERR_CONFIG, "a file that is not there");
    ok(strncmp(error_text(0), "--config: ", 10) == 0, "is an error: %s", error_text(0));
    is_int(load(WORDS("--config", dir), ENV()), ERR_CONFIG, "a directory");
    ok(strstr(error_text(0), "is a directory"), "is none: %s", error_text(0));
    loaded_default = path_of("none");
    is_int(load(WORDS(), ENV()), 0, "the usual file need not be there");
    FILE_IS("usual", "port = 7100\n");
    FILE_IS("f", "port = 7200\n");
    loaded_default = path_of("usual");
    is_int(load(WORDS(), ENV()), 0, "if it is,");
    is_int(settings.port, 7100, "it is read");
    load(WORDS("--config", path_of("f")), ENV());
    is_int(settings.port, 7200, "unless another one is named");
    loaded_default = NULL;
}

static void test_precedence(void)
{
    char variable[600];
    char *text = NULL;
    size_t size;
    FILE *out;

    FILE_IS("f", "port = 7001\n");
    snprintf(variable, sizeof(variable), "DFLOCKD_CONFIG=%s", path_of("f"));
    is_int(load(WORDS("--port", "7002"), ENV(variable)), 0, "a flag over the file");
    is_int(settings.port, 7002, "wins");
    is_int(load(WORDS("--port", "7002"), ENV(variable, "DFLOCKD_PORT=7003")), 0, "a variable");
    is_int(settings.port, 7003, "wins over both");
    out = open_memstream(&text, &size);
    config_dump(&settings, out);
    fclose(out);
    snprintf(variable, sizeof(variable), "port = 7003   # from DFLOCKD_PORT, over %s:1, over --port",
             path_of("f"));
    ok(strstr(text, variable), "and -T says over what");
    free(text);
    FILE_IS("f", "port = 0x\n");
    is_int(load(WORDS("--port", "7002", "--config", path_of("f")), ENV()), ERR_CONFIG,
           "a bad value is refused where a flag wins");
}

static void test_hash(void)
{
    uint64_t before;

    load_text("max_locks = 7\n");
    before = settings.origin[OPTION_max_locks].in_file;
    put("f", "max_locks = 8\n", 14);
    load(WORDS("--max-locks", "7", "--config", path_of("f")), ENV());
    ok(settings.origin[OPTION_max_locks].in_file != before, "a change is seen behind a flag");
    put("f", "\nmax_locks  =  007\n", 19);
    load(WORDS("--max-locks", "7", "--config", path_of("f")), ENV());
    ok(settings.origin[OPTION_max_locks].in_file == before, "another spelling is no change");
}

static void test_public(void)
{
    char token_line[600];

    FILE_IS("t", "secret\n");
    chmod(path_of("t"), 0644);
    snprintf(token_line, sizeof(token_line), "auth_token_file = %s\n", path_of("t"));
    is_int(load_text(token_line), 0, "a secret that everybody may read");
    ok(strstr(warning_text(0), "chmod o-r"), "is warned about: %s", warning_text(0));
    chmod(path_of("t"), 0640);
    load_text(token_line);
    is_u64(report.warnings.count, 0, "not when the group may");
    chmod(path_of("f"), 0644);
    is_int(load_text("auth_token = secret\n"), 0, "a token in the file itself");
    ok(strstr(warning_text(0), "chmod o-r"), "likewise: %s", warning_text(0));
    chmod(path_of("f"), 0600);
    load_text("auth_token = secret\n");
    is_u64(report.warnings.count, 0, "not when nobody else may read it");
    chmod(path_of("f"), 0644);
    load_text("port = 1\n");
    is_u64(report.warnings.count, 0, "nor without a secret");
}

int main(void)
{
    char clean[64];

    umask(022);
    if (!mkdtemp(dir))
        bail_out("no directory");
    test_form();
    test_keys();
    test_all_errors();
    test_long_lines();
    test_includes();
    test_which_file();
    test_precedence();
    test_hash();
    test_public();
    config_free_args(loaded_argc, loaded_argv);
    snprintf(clean, sizeof(clean), "rm -r %s", dir);
    return system(clean) == 0 ? done_testing() : 1;
}
