/*
 * tests/tap.h - the project's own harness for tests in C: prints TAP on standard output.
 *
 *     plan(2);                                 (optional: without it done_testing() plans)
 *     ok(x > 0, "x is positive");
 *     is_u64(n, 3, "three holders of %s", key);
 *     return done_testing();
 *
 * Each check returns whether it held. Its description is a format; a "#" in it is harmless. What
 * failed and where goes to the log as a diagnostic. There is no way to skip: a test that cannot
 * run fails, or bails out.
 *
 * One thread and one process only: counts are not shared. A child reports by its exit status.
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <stdbool.h>
#include <stdint.h>

#define ok(cond, ...) tap_ok((cond) ? true : false, #cond, __FILE__, __LINE__, __VA_ARGS__)
#define is_int(got, want, ...) tap_is_int(got, want, #got, __FILE__, __LINE__, __VA_ARGS__)
#define is_u64(got, want, ...) tap_is_u64(got, want, #got, __FILE__, __LINE__, __VA_ARGS__)
#define is_str(got, want, ...) tap_is_str(got, want, #got, __FILE__, __LINE__, __VA_ARGS__)

/* Announces n checks. At most once, before the first check. */
void plan(unsigned n);

/* A comment in the log; each line of it gets its mark. */
void diag(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Ends the test. Returns the exit status for main(): 0 only if there was at least one check, all
 * of them held and there were as many as planned. */
int done_testing(void);

/* Ends the process at once: nothing more can be tested. */
void bail_out(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Use the macros above, they add the place. */
bool tap_ok(bool held, const char *expr, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
bool tap_is_int(int64_t got, int64_t want, const char *expr, const char *file, int line,
                const char *fmt, ...) __attribute__((format(printf, 6, 7)));
bool tap_is_u64(uint64_t got, uint64_t want, const char *expr, const char *file, int line,
                const char *fmt, ...) __attribute__((format(printf, 6, 7)));
bool tap_is_str(const char *got, const char *want, const char *expr, const char *file, int line,
                const char *fmt, ...) __attribute__((format(printf, 6, 7)));

#endif
