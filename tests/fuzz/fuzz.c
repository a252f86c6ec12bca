/*
 * tests/fuzz/fuzz.c - see fuzz.h.
 */
#include "tests/fuzz/fuzz.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

uint64_t fuzz_calls;
void (*fuzz_explain)(void);

/* The line that tests/fuzz/run looks for. */
__attribute__((destructor)) static void say_calls(void)
{
    if (fuzz_calls)
        fprintf(stderr, "# %s: %" PRIu64 " calls\n", fuzz_target, fuzz_calls);
}

void fuzz_fail(const char *file, int line, const char *expr, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "# %s: %s:%d: not so: %s: ", fuzz_target, file, line, expr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n");
    if (fuzz_explain)
        fuzz_explain();
    abort();
}

uint8_t fuzz_u8(struct fuzz_in *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

uint16_t fuzz_u16(struct fuzz_in *in)
{
    uint16_t low = fuzz_u8(in);

    return (uint16_t)(low | fuzz_u8(in) << 8);
}

uint32_t fuzz_u32(struct fuzz_in *in)
{
    uint32_t low = fuzz_u16(in);

    return low | (uint32_t)fuzz_u16(in) << 16;
}

uint64_t fuzz_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

char *fuzz_before_guard(size_t n)
{
    static char *end;

    if (!end) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        char *area = mmap(NULL, FUZZ_GUARDED + page, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        FUZZ_REQUIRE(area != MAP_FAILED && mprotect(area + FUZZ_GUARDED, page, PROT_NONE) == 0,
                     "no memory");
        end = area + FUZZ_GUARDED;
    }
    FUZZ_REQUIRE(n <= FUZZ_GUARDED, "%zu bytes", n);
    return end - n;
}
