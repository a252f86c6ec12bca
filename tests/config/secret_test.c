/*
 * tests/config/secret_test.c - tokens: which source wins, which are refused, and that they are
 * neither kept nor shown.
 */
#include "config/secret.h"

#include "base/err.h"
#include "base/io.h"
#include "config/validate.h"
#include "tests/config/sources.h"
#include "tests/tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/dflockd-secret-test-XXXXXX";

/* A file of these bytes; returns its path, which stays good. */
static const char *file_of(const char *name, const void *data, size_t n)
{
    static char paths[16][128];
    static unsigned used;
    char *path = paths[used++];
    FILE *f;

    if (used > sizeof(paths) / sizeof(paths[0]))
        bail_out("more files than expected");
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    f = fopen(path, "w");
    if (f == NULL || fwrite(data, 1, n, f) != n || fclose(f) != 0)
        bail_out("cannot write %s: %s", path, strerror(errno));
    return path;
}

#define FILE_OF(name, text) file_of(name, text, sizeof(text) - 1)

static bool accepts(const struct secret_set *set, const char *token)
{
    return secret_match(set, token, strlen(token));
}

static void refused(const char *const *words, const char *const *env, const char *text)
{
    is_int(load(words, env), ERR_CONFIG, "refused: %s", text);
    is_str(error_text(0), text, "in these words");
    is_u64(settings.auth_token.count, 0, "and no token is left");
}

static void test_match(void)
{
    struct secret_set set = {0};

    ok(!accepts(&set, ""), "an empty set does not accept the empty token");
    ok(!accepts(&set, "alpha"), "nor any other");
    ok(secret_add(&set, "alpha", 5) == NULL && secret_add(&set, "b\0ta", 4) == NULL, "two tokens");
    ok(accepts(&set, "alpha"), "the first");
    ok(secret_match(&set, "b\0ta", 4), "the second, with a NUL in it");
    ok(!accepts(&set, "b"), "not its start");
    ok(!accepts(&set, "alph"), "not a part");
    ok(!accepts(&set, "alpha "), "not with more");
    ok(!accepts(&set, "ALPHA"), "not in another case");
    ok(!accepts(&set, ""), "not nothing");
    ok(!secret_match(&set, set.digest[0], SECRET_DIGEST), "not the digest");
    is_u64(set.count, 2, "two are kept");
    ok(memmem(&set, sizeof(set), "alpha", 5) == NULL, "but not as they are");

    for (int i = 0; i < SECRET_MAX - 2; i++) {
        char token[8];

        snprintf(token, sizeof(token), "t%d", i);
        secret_add(&set, token, strlen(token));
    }
    is_u64(set.count, SECRET_MAX, "sixteen");
    ok(secret_add(&set, "more", 4) != NULL && set.count == SECRET_MAX, "a seventeenth is refused");
    ok(accepts(&set, "t13") && accepts(&set, "t0") && !accepts(&set, "more"), "the sixteen remain");
}

static void test_add(void)
{
    struct secret_set set = {0};
    char *longest = malloc(SECRET_TOKEN_MAX + 3);

    is_str(secret_add(&set, "", 0), "is empty", "empty");
    is_str(secret_add(&set, " \t\r\n\v\f ", 7), "is empty", "white space only");
    is_str(secret_add(&set, "a\nb", 3), "holds a CR or LF", "LF inside");
    is_str(secret_add(&set, "a\rb", 3), "holds a CR or LF", "CR inside");
    is_u64(set.count, 0, "none was added");
    ok(secret_add(&set, " \t a b \r\n", 9) == NULL, "white space around");
    ok(accepts(&set, "a b"), "is not part of it, inside it is");
    ok(!accepts(&set, " \t a b \r\n"), "the token is compared as it is given");

    memset(longest, 'x', SECRET_TOKEN_MAX + 2);
    longest[SECRET_TOKEN_MAX] = ' ';
    ok(secret_add(&set, longest, SECRET_TOKEN_MAX + 1) == NULL, "65536 bytes and a space");
    ok(secret_match(&set, longest, SECRET_TOKEN_MAX), "are accepted");
    longest[SECRET_TOKEN_MAX] = 'x';
    is_str(secret_add(&set, longest, SECRET_TOKEN_MAX + 1), "is longer than 65536 bytes",
           "one more is too long");
    free(longest);
}

static void test_sources(void)
{
    const char *a = FILE_OF("a", "file-a\n"), *b = FILE_OF("b", "file-b\n");
    char env_file[256], env_missing[256];
    static const char env_token[] = "DFLOCKD_AUTH_TOKEN=env-token";
    char *plain;

    snprintf(env_file, sizeof(env_file), "DFLOCKD_AUTH_TOKEN_FILE=%s", b);
    snprintf(env_missing, sizeof(env_missing), "DFLOCKD_AUTH_TOKEN_FILE=%s/missing", dir);

    is_int(load(WORDS("--auth-token-file", a), ENV()), 0, "flag for a file");
    ok(accepts(&settings.auth_token, "file-a"), "its token");
    is_u64(report.warnings.count, 0, "no warning");
    ok(config_auth_option(&settings) == OPTION_auth_token_file, "is from the file");
    is_int(load(WORDS("--auth-token-file", a, "--auth-token", "flag-token"), ENV()), 0,
           "flag for a token over flag for a file");
    ok(accepts(&settings.auth_token, "flag-token") && settings.auth_token.count == 1, "only that");
    ok(config_auth_option(&settings) == OPTION_auth_token, "is from the token");
    is_int(load(WORDS("--auth-token-file", a, "--auth-token", "flag-token"), ENV(env_file)), 0,
           "variable for a file over both flags");
    ok(accepts(&settings.auth_token, "file-b") && settings.auth_token.count == 1, "only that");
    is_int(
        load(WORDS("--auth-token-file", a, "--auth-token", "flag-token"), ENV(env_file, env_token)),
        0, "variable for a token over all");
    ok(accepts(&settings.auth_token, "env-token") && settings.auth_token.count == 1, "only that");
    is_int(load(WORDS("--auth-token", "flag-token"), ENV("DFLOCKD_AUTH_TOKEN=")), 0,
           "an empty variable");
    ok(accepts(&settings.auth_token, "flag-token"), "counts as unset");
    is_int(load(WORDS(), ENV(env_missing, env_token)), 0, "a file that loses is not read");
    is_int(load(WORDS("--auth-token", " "), ENV(env_token)), ERR_CONFIG, "a bad token that loses");
    is_str(error_text(0), "--auth-token: the token is empty", "is refused all the same");
    refused(WORDS("--auth-token", " "), ENV(), "--auth-token: the token is empty");

    is_int(load(WORDS("--admin-token-file", b), ENV(env_token)), 0, "admin token");
    ok(accepts(&settings.admin_token, "file-b") && !accepts(&settings.auth_token, "file-b"),
       "is apart from the ordinary ones");
    is_int(load(WORDS("--admin-token-file", a, "--auth-token-file", a), ENV()), 0, "the same file");
    is_str(warning_text(0),
           "--admin-token-file: token 1 is also an ordinary one: every client is an admin",
           "is warned about");

    load(WORDS("--auth-token-file", a), ENV(env_token));
    plain = (char *)&settings;
    ok(memmem(plain, sizeof(settings), "env-token", 9) == NULL, "no token in the settings");
}

static void test_files(void)
{
    static char big[SECRET_TOKEN_MAX + 2];
    char text[512], many[17 * 4 + 1] = "";
    const char *path;

    path = FILE_OF("many", "\n  first \r\n\nsecond token\n\t\nthird");
    is_int(load(WORDS("--auth-token-file", path), ENV()), 0, "lines, blanks, CRLF, no last LF");
    is_u64(settings.auth_token.count, 3, "three tokens");
    ok(accepts(&settings.auth_token, "first") && accepts(&settings.auth_token, "second token") &&
           accepts(&settings.auth_token, "third"),
       "trimmed");

#define REFUSED_FILE(rest)                                                                         \
    do {                                                                                           \
        snprintf(text, sizeof(text), "--auth-token-file: %s%s", path, rest);                       \
        refused(WORDS("--auth-token-file", path), ENV(), text);                                    \
    } while (0)
    path = FILE_OF("empty", "");
    REFUSED_FILE(": holds no token: write one a line into it");
    path = FILE_OF("blank", " \n\r\n\t\n");
    REFUSED_FILE(": holds no token: write one a line into it");
    path = FILE_OF("cr", "good\na\rb\n");
    REFUSED_FILE(":2: the token holds a CR or LF");
    path = "/nonexistent/token";
    REFUSED_FILE(": No such file or directory");
    path = dir;
    REFUSED_FILE(": Is a directory");
    for (int i = 0; i < 16; i++)
        sprintf(many + strlen(many), "t%02d\n", i);
    path = file_of("sixteen", many, strlen(many));
    is_int(load(WORDS("--auth-token-file", path), ENV()), 0, "sixteen tokens");
    strcat(many, "t16");
    path = file_of("seventeen", many, strlen(many));
    REFUSED_FILE(":17: the token is one more than the 16 that are accepted");
    memset(big, 'x', sizeof(big));
    path = file_of("longest", big, SECRET_TOKEN_MAX);
    is_int(load(WORDS("--auth-token-file", path), ENV()), 0, "a token of 65536 bytes");
    path = file_of("longer", big, SECRET_TOKEN_MAX + 1);
    REFUSED_FILE(":1: the token is longer than 65536 bytes");
    path = "/dev/zero";
    REFUSED_FILE(": File too large");
#undef REFUSED_FILE

    is_int(load(WORDS("--admin-token-file", "/nonexistent/x"), ENV()), ERR_CONFIG, "admin file");
    is_str(error_text(0), "--admin-token-file: /nonexistent/x: No such file or directory",
           "must be readable too");
    refused(WORDS("--auth-token-file", ""), ENV(), "--auth-token-file: the value is empty");
}

/* Sixteen of the longest tokens, with CRLF: the most a good file can be. */
static void test_largest_file(void)
{
    size_t each = SECRET_TOKEN_MAX + 2;
    char *data = malloc(SECRET_MAX * each);
    const char *path;

    memset(data, 'x', SECRET_MAX * each);
    for (size_t i = 0; i < SECRET_MAX; i++) {
        data[i * each] = (char)('a' + i);
        data[i * each + each - 2] = '\r';
        data[i * each + each - 1] = '\n';
    }
    path = file_of("largest", data, SECRET_MAX * each);
    is_int(load(WORDS("--auth-token-file", path), ENV()), 0, "the largest good file");
    is_u64(settings.auth_token.count, SECRET_MAX, "has all its tokens");
    ok(secret_match(&settings.auth_token, data + 15 * each, SECRET_TOKEN_MAX), "the last one too");
    free(data);
}

static bool shown(const char *secret)
{
    for (int i = 0; i < loaded_argc; i++)
        if (strstr(loaded_argv[i], secret) != NULL)
            return true;
    for (unsigned i = 0; i < report.errors.count && i < REPORT_KEPT; i++)
        if (strstr(report.errors.text[i], secret) != NULL)
            return true;
    for (unsigned i = 0; i < report.warnings.count && i < REPORT_KEPT; i++)
        if (strstr(report.warnings.text[i], secret) != NULL)
            return true;
    return memmem(&settings, sizeof(settings), secret, strlen(secret)) != NULL;
}

static void test_hidden(void)
{
    is_int(load(WORDS("--auth-token", "hunter2", "--port", "7000"), ENV()), 0,
           "--auth-token TOKEN");
    ok(accepts(&settings.auth_token, "hunter2"), "is read");
    is_str(loaded_argv[2], "xxxxxxx", "and then overwritten");
    is_str(loaded_argv[4], "7000", "but nothing else is");
    is_str(warning_text(0),
           "--auth-token: the process list shows it until the server has read it; use "
           "--auth-token-file",
           "with a warning");
    is_int(load(WORDS("-auth-token=hunter2"), ENV()), 0, "-auth-token=TOKEN");
    is_str(loaded_argv[1], "-auth-token=xxxxxxx", "is overwritten too");
    load(WORDS("--auth-token", "hunter2", "--auth-token=hunter3"),
         ENV("DFLOCKD_AUTH_TOKEN=hunter4"));
    ok(!shown("hunter"), "each of several, also where a variable wins");
    is_u64(report.warnings.count, 1, "and the warning comes even then");
    load(WORDS("--auth-token", "hun\nter2"), ENV("DFLOCKD_AUTH_TOKEN=hunt\rer2"));
    is_u64(report.errors.count, 2, "bad tokens");
    ok(!shown("hun"), "are not shown in errors");
    load(WORDS("--auth-tokn", "hunter2", "--auth-tken=hunter3"), ENV());
    ok(report.errors.count == 2 && strstr(error_text(0), "hunter") == NULL &&
           strstr(error_text(1), "hunter") == NULL,
       "nor is the value of a misspelt option");
    load(WORDS("--help", "--auth-token", "hunter2"), ENV());
    ok(!shown("hunter"), "overwritten for --help as well");
    is_int(load(WORDS(), ENV("DFLOCKD_AUTH_TOKEN=hunter2")), 0, "from the environment");
    is_u64(report.warnings.count, 0, "there is nothing to warn about");
}

int main(void)
{
    umask(077); /* a secret that everybody may read is warned about: see file_test.c */
    char command[64];

    if (mkdtemp(dir) == NULL)
        bail_out("mkdtemp: %s", strerror(errno));
    test_match();
    test_add();
    test_sources();
    test_files();
    test_largest_file();
    test_hidden();
    config_free_args(loaded_argc, loaded_argv);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    is_int(system(command), 0, "cleaned up");
    return done_testing();
}
