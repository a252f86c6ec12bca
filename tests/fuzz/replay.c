/*
 * tests/fuzz/replay.c - main() of the targets without a fuzzer: runs each input of the target's
 * corpus, tests/fuzz/corpus/TARGET, and a few that are made from it, always the same ones. With
 * arguments: these files instead, as they are; that is how a finding is looked at.
 *
 * DFLOCKD_FUZZ_SECONDS: so long it goes on, with bytes of the corpus's inputs replaced at random.
 * No fuzzer steers that, but none slows it down either. DFLOCKD_TEST_SEED repeats such a run.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/tap.h"

#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
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

struct corpus {
    char *name[4096];
    unsigned n;
};

static void find_corpus(const char *dir, struct corpus *c)
{
    struct dirent *entry;
    DIR *d = opendir(dir);

    if (!d)
        bail_out("%s cannot be read", dir);
    c->n = 0;
    while ((entry = readdir(d)) && c->n < sizeof(c->name) / sizeof(c->name[0]))
        if (entry->d_name[0] != '.')
            c->name[c->n++] = strdup(entry->d_name);
    closedir(d);
    qsort(c->name, c->n, sizeof(c->name[0]), by_name);
}

static void replay_corpus(const char *dir, const struct corpus *c)
{
    static uint8_t bytes[INPUT_MAX];

    for (unsigned i = 0; i < c->n; i++) {
        size_t len;

        snprintf(running, sizeof(running), "%s/%s", dir, c->name[i]);
        len = load(running, bytes);
        run(bytes, len);
        snprintf(running, sizeof(running), "a variant of %s/%s", dir, c->name[i]);
        run_variants(bytes, len, i);
    }
}

/* How many inputs. */
static uint64_t go_on(const char *dir, const struct corpus *c, uint64_t seconds, uint64_t seed)
{
    static uint8_t bytes[INPUT_MAX];
    char path[sizeof(running) - 64];
    uint64_t n = 0;
    time_t until = time(NULL) + (time_t)seconds;

    for (; time(NULL) < until; n++) {
        size_t len, changes;

        snprintf(path, sizeof(path), "%s/%s", dir, c->name[fuzz_random(&seed) % c->n]);
        snprintf(running, sizeof(running), "input %" PRIu64 ", made of %s", n, path);
        len = load(path, bytes);
        changes = len ? fuzz_random(&seed) % len : 0;
        for (size_t i = 0; i < changes; i++)
            bytes[fuzz_random(&seed) % len] = (uint8_t)fuzz_random(&seed);
        run(bytes, len);
    }
    return n;
}

static uint64_t from_env(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 0) : fallback;
}

int main(int argc, char **argv)
{
    static const int signals[] = {SIGABRT, SIGALRM, SIGSEGV, SIGBUS, SIGILL, SIGTRAP};
    static uint8_t bytes[INPUT_MAX];
    const char *top = getenv("top_srcdir");
    uint64_t seconds = from_env("DFLOCKD_FUZZ_SECONDS", 0);
    static struct corpus corpus;
    char dir[400];

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
    find_corpus(dir, &corpus);
    replay_corpus(dir, &corpus);
    ok(corpus.n > 0, "%s: %u inputs, %u variants of each", fuzz_target, corpus.n,
       (unsigned)VARIANTS);
    if (seconds && corpus.n) {
        uint64_t seed = from_env("DFLOCKD_TEST_SEED", (uint64_t)time(NULL));

        diag("DFLOCKD_TEST_SEED=%" PRIu64, seed);
        fflush(stdout);
        alarm((unsigned)seconds + 300);
        ok(true, "%" PRIu64 " inputs at random", go_on(dir, &corpus, seconds, seed));
    }
    return done_testing();
}
