/*
 * tests/fuzz/fuzz.h - what the targets share. A target is a file with LLVMFuzzerTestOneInput();
 * libFuzzer or AFL++ calls it (make fuzz, make fuzz-afl), or replay.c does (make check).
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The target's, and its corpus's directory. */
extern const char fuzz_target[];

/* Any bytes; they may be written to by nobody. 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How often what is tested was called: one input may do so many times. Said at the end. */
extern uint64_t fuzz_calls;

/* What must hold for any input; else the process aborts, and the fuzzer keeps the input. */
#define FUZZ_REQUIRE(cond, ...)                                                                    \
    do {                                                                                           \
        if (!(cond))                                                                               \
            fuzz_fail(__FILE__, __LINE__, #cond, __VA_ARGS__);                                     \
    } while (0)

void fuzz_fail(const char *file, int line, const char *expr, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), noreturn));

/* What a target adds to that, if it sets this. */
extern void (*fuzz_explain)(void);

/* Input that is read from its start; at its end come zeros. */
struct fuzz_in {
    const uint8_t *at;
    size_t left;
};

uint8_t fuzz_u8(struct fuzz_in *in);
uint16_t fuzz_u16(struct fuzz_in *in);
uint32_t fuzz_u32(struct fuzz_in *in);

/* splitmix64; the state is any number. */
uint64_t fuzz_random(uint64_t *state);

/*
 * Memory that ends at a page which cannot be read: its last n bytes, so that one byte too many is
 * seen without a sanitizer, too.
 */
char *fuzz_before_guard(size_t n);
enum { FUZZ_GUARDED = 256 * 1024 };

#endif
