/*
 * tests/fuzz/config.c - the configuration file: any bytes give settings, or errors in words; never
 * both, never neither. The file is the input; it may name further files, but not search for them.
 */
#include "base/err.h"
#include "config/dump.h"
#include "config/load.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char fuzz_target[] = "config";

static struct settings settings;
static struct config_report report;

/* A pattern over the whole file system would take its time, and say nothing about us. */
static bool searches(const uint8_t *data, size_t size)
{
    return memmem(data, size, "include", 7) &&
           (memchr(data, '*', size) || memchr(data, '?', size) || memchr(data, '[', size) ||
            memchr(data, '{', size));
}

static void check_list(const struct report_list *list)
{
    unsigned kept = list->count < REPORT_KEPT ? list->count : REPORT_KEPT;

    for (unsigned i = 0; i < kept; i++) {
        size_t n = strnlen(list->text[i], REPORT_TEXT);

        FUZZ_REQUIRE(n > 0 && n < REPORT_TEXT, "%zu bytes of text", n);
        for (size_t k = 0; k < n; k++)
            FUZZ_REQUIRE((unsigned char)list->text[i][k] >= ' ' && list->text[i][k] != 0x7f,
                         "a control character in \"%s\"", list->text[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static FILE *nowhere;
    static char path[64], program[] = "dflockd", option[] = "--config";
    char *argv[] = {program, option, path, NULL}, *envp[] = {NULL};
    struct config_sources sources = {.argc = 3, .argv = argv, .envp = envp};
    int rc;

    if (fd < 0) {
        fd = memfd_create("conf", MFD_CLOEXEC);
        nowhere = fopen("/dev/null", "w");
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    if (searches(data, size))
        return 0;
    FUZZ_REQUIRE(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size, "no file");
    fuzz_calls++;
    rc = config_load(&settings, &sources, &report);
    FUZZ_REQUIRE(rc == 0 || rc == ERR_CONFIG, "%d", rc);
    FUZZ_REQUIRE((rc == 0) == (report.errors.count == 0), "%d with %u errors", rc,
                 report.errors.count);
    check_list(&report.errors);
    check_list(&report.warnings);
    if (rc == 0)
        config_dump(&settings, nowhere);
    return 0;
}
