/*
 * tests/fuzz/replay.c - main() of the targets without a fuzzer: runs each input of the target's
 * corpus, tests/fuzz/corpus/TARGET, and a few that are made from it, always the same ones. With
 * arguments: these files instead, as they are; that is how a finding is looked at.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/tap.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    INPUT_MAX = 1 << 20,
    VARIANTS = 8, /* of each input: cut off, or with some bytes changed */
};

static char running[512]; /* what is being run, for who looks at a crash */

static void died(int sig)
{
    char text[600];
    int n = snprintf(text, sizeof(text), "# %s: signal %d at %s\n", fuzz_target, sig, running);

    if (write(STDOUT_FILENO, text, (size_t)n) < 0)
        _exit(2);
    if (fuzz_explain && sig != SIGABRT) /* fuzz_fail() has done it */
        fuzz_explain();
    signal(sig, SIG_DFL);
    raise(sig);
}

/* In memory of its own, so that a sanitizer sees a byte too many. */
static void run(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);

    if (!copy)
        bail_out("no memory");
    memcpy(copy, bytes, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static size_t load(const char *path, uint8_t *out)
{
    FILE *f = fopen(path, "rb");
    size_t n;

    if (!f)
        bail_out("%s cannot be read", path);
    n = fread(out, 1, INPUT_MAX, f);
    fclose(f);
    return n;
}

static void run_variants(const uint8_t *bytes, size_t n, uint64_t seed)
{
    static uint8_t changed[INPUT_MAX];

    for (unsigned v = 0; n > 0 && v < VARIANTS; v++) {
        size_t m = v % 2 ? n : fuzz_random(&seed) % n;

        memcpy(changed, bytes, m);
        for (unsigned i = 0; m > 0 && i < v; i++)
            changed[fuzz_random(&seed) % m] ^= (uint8_t)(1u << fuzz_random(&seed) % 8);
        run(changed, m);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static unsigned replay_corpus(const char *dir)
{
    static uint8_t bytes[INPUT_MAX];
    char *name[4096];
    unsigned n = 0;
    struct dirent *entry;
    DIR *d = opendir(dir);

    if (!d)
        bail_out("%s cannot be read", dir);
    while ((entry = readdir(d)) && n < sizeof(name) / sizeof(name[0]))
        if (entry->d_name[0] != '.')
            name[n++] = strdup(entry->d_name);
    closedir(d);
    qsort(name, n, sizeof(name[0]), by_name);
    for (unsigned i = 0; i < n; i++) {
        size_t len;

        snprintf(running, sizeof(running), "%s/%s", dir, name[i]);
        len = load(running, bytes);
        run(bytes, len);
        snprintf(running, sizeof(running), "a variant of %s/%s", dir, name[i]);
        run_variants(bytes, len, i);
        free(name[i]);
    }
    return n;
}

int main(int argc, char **argv)
{
    static const int signals[] = {SIGABRT, SIGALRM, SIGSEGV, SIGBUS, SIGILL, SIGTRAP};
    static uint8_t bytes[INPUT_MAX];
    const char *top = getenv("top_srcdir");
    char dir[400];
    unsigned n;

    for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        signal(signals[i], died);
    alarm(300); /* an endless loop is a finding */
    if (argc > 1) {
        for (int i = 1; i < argc; i++) {
            snprintf(running, sizeof(running), "%s", argv[i]);
            run(bytes, load(argv[i], bytes));
            ok(true, "%s", argv[i]);
        }
        return done_testing();
    }
    snprintf(dir, sizeof(dir), "%s/tests/fuzz/corpus/%s", top ? top : ".", fuzz_target);
    n = replay_corpus(dir);
    ok(n > 0, "%s: %u inputs, %u variants of each", fuzz_target, n, (unsigned)VARIANTS);
    return done_testing();
}
