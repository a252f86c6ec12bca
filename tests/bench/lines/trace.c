/*
 * tests/bench/lines/trace.c - what a worker does to the region.
 *
 * The server's sources are compiled with -fsanitize=thread, which calls a function before each load
 * and store and in place of each atomic operation. Here these functions are not the sanitizer's:
 * they hand what falls into the region to cache.c. The C library is not compiled so; its functions
 * that touch the region are wrapped (the linker's --wrap).
 */
#include "sim.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

static bool on;

void trace_start(void)
{
    on = true;
}

extern const char __executable_start[]; /* the linker's */

static uint32_t site_of(const void *where)
{
    return (uint32_t)((const char *)where - __executable_start);
}

static void touch(const volatile void *at, size_t n, bool write, const void *where)
{
    uint64_t offset = (uint64_t)((const volatile char *)at - (const char *)sim_region);

    if (!on || n == 0 || offset >= sim_region->size)
        return;
    for (uint64_t end = offset + n; offset < end;) {
        uint64_t part = CACHE_LINE - offset % CACHE_LINE;

        if (part > end - offset)
            part = end - offset;
        baton_spend(cache_touch(sim_worker, offset, (unsigned)part, write, site_of(where),
                                sim->seat[sim_worker].time));
        offset += part;
    }
}

/* shm/lock.c looks at a mutex that another has with a pause of the processor before each look. */
static void look(const volatile void *at, size_t n, const void *where)
{
    uint64_t mutex = (uint64_t)((const volatile char *)at - (const char *)sim_region->mutex);

    if (on && mutex < sizeof(sim_region->mutex))
        baton_spend(sim->costs.pause);
    touch(at, n, false, where);
}

#define HERE __builtin_return_address(0)

void trace_count(uint64_t *word)
{
    touch(word, sizeof(*word), true, HERE);
    ++*word;
}

/* The compiler's calls ------------------------------------------------------------------------ */

void __tsan_init(void);
void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);
void __tsan_read_range(void *at, size_t n);
void __tsan_write_range(void *at, size_t n);

void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller)
{
    (void)caller;
}

void __tsan_func_exit(void)
{
}

void __tsan_read_range(void *at, size_t n)
{
    touch(at, n, false, HERE);
}

void __tsan_write_range(void *at, size_t n)
{
    touch(at, n, true, HERE);
}

#define PLAIN(size)                                                                                \
    void __tsan_read##size(void *at);                                                              \
    void __tsan_write##size(void *at);                                                             \
    void __tsan_read_write##size(void *at);                                                        \
    void __tsan_unaligned_read##size(void *at);                                                    \
    void __tsan_unaligned_write##size(void *at);                                                   \
    void __tsan_read##size(void *at)                                                               \
    {                                                                                              \
        touch(at, size, false, HERE);                                                              \
    }                                                                                              \
    void __tsan_write##size(void *at)                                                              \
    {                                                                                              \
        touch(at, size, true, HERE);                                                               \
    }                                                                                              \
    void __tsan_read_write##size(void *at)                                                         \
    {                                                                                              \
        touch(at, size, true, HERE);                                                               \
    }                                                                                              \
    void __tsan_unaligned_read##size(void *at)                                                     \
    {                                                                                              \
        touch(at, size, false, HERE);                                                              \
    }                                                                                              \
    void __tsan_unaligned_write##size(void *at)                                                    \
    {                                                                                              \
        touch(at, size, true, HERE);                                                               \
    }

PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

#define CHANGE(bits, type, name, operation)                                                        \
    type __tsan_atomic##bits##_##name(volatile type *at, type value, int order);                   \
    type __tsan_atomic##bits##_##name(volatile type *at, type value, int order)                    \
    {                                                                                              \
        (void)order;                                                                               \
        touch(at, sizeof(type), true, HERE);                                                       \
        return operation(at, value, __ATOMIC_SEQ_CST);                                             \
    }

/* A compare-and-swap takes the line to write to it, also when it fails. */
#define ATOMIC(bits, type)                                                                         \
    type __tsan_atomic##bits##_load(const volatile type *at, int order);                           \
    void __tsan_atomic##bits##_store(volatile type *at, type value, int order);                    \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type *at, type *expected,           \
                                                      type value, int order, int failure);         \
    int __tsan_atomic##bits##_compare_exchange_weak(volatile type *at, type *expected, type value, \
                                                    int order, int failure);                       \
    type __tsan_atomic##bits##_load(const volatile type *at, int order)                            \
    {                                                                                              \
        (void)order;                                                                               \
        look(at, sizeof(type), HERE);                                                              \
        return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                              \
    }                                                                                              \
    void __tsan_atomic##bits##_store(volatile type *at, type value, int order)                     \
    {                                                                                              \
        (void)order;                                                                               \
        touch(at, sizeof(type), true, HERE);                                                       \
        __atomic_store_n(at, value, __ATOMIC_SEQ_CST);                                             \
    }                                                                                              \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type *at, type *expected,           \
                                                      type value, int order, int failure)          \
    {                                                                                              \
        (void)order, (void)failure;                                                                \
        touch(at, sizeof(type), true, HERE);                                                       \
        return __atomic_compare_exchange_n(at, expected, value, false, __ATOMIC_SEQ_CST,           \
                                           __ATOMIC_SEQ_CST);                                      \
    }                                                                                              \
    int __tsan_atomic##bits##_compare_exchange_weak(volatile type *at, type *expected, type value, \
                                                    int order, int failure)                        \
    {                                                                                              \
        (void)order, (void)failure;                                                                \
        touch(at, sizeof(type), true, HERE);                                                       \
        return __atomic_compare_exchange_n(at, expected, value, false, __ATOMIC_SEQ_CST,           \
                                           __ATOMIC_SEQ_CST);                                      \
    }                                                                                              \
    CHANGE(bits, type, exchange, __atomic_exchange_n)                                              \
    CHANGE(bits, type, fetch_add, __atomic_fetch_add)                                              \
    CHANGE(bits, type, fetch_sub, __atomic_fetch_sub)                                              \
    CHANGE(bits, type, fetch_and, __atomic_fetch_and)                                              \
    CHANGE(bits, type, fetch_or, __atomic_fetch_or)                                                \
    CHANGE(bits, type, fetch_xor, __atomic_fetch_xor)

ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order);

void __tsan_atomic_thread_fence(int order)
{
    (void)order;
}

void __tsan_atomic_signal_fence(int order)
{
    (void)order;
}

/* The C library's functions ------------------------------------------------------------------- */

void *__real_memcpy(void *to, const void *from, size_t n);
void *__real_memmove(void *to, const void *from, size_t n);
void *__real_memset(void *to, int byte, size_t n);
int __real_memcmp(const void *a, const void *b, size_t n);
void *__real_memchr(const void *at, int byte, size_t n);
int __real_pthread_mutex_trylock(pthread_mutex_t *m);
int __real_pthread_mutex_unlock(pthread_mutex_t *m);
void *__wrap_memcpy(void *to, const void *from, size_t n);
void *__wrap_memmove(void *to, const void *from, size_t n);
void *__wrap_memset(void *to, int byte, size_t n);
int __wrap_memcmp(const void *a, const void *b, size_t n);
void *__wrap_memchr(const void *at, int byte, size_t n);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *m);
int __wrap_pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t clock,
                                   const struct timespec *until);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *m);
void __wrap_futex_wake(uint32_t *word, int n);
uint64_t __wrap_clock_boottime_ns(void);

/* clang has names of its own for some of them. */
void *__tsan_memcpy(void *to, const void *from, size_t n);
void *__tsan_memmove(void *to, const void *from, size_t n);
void *__tsan_memset(void *to, int byte, size_t n);

void *__wrap_memcpy(void *to, const void *from, size_t n)
{
    touch(from, n, false, HERE);
    touch(to, n, true, HERE);
    return __real_memcpy(to, from, n);
}

void *__tsan_memcpy(void *to, const void *from, size_t n)
{
    return __wrap_memcpy(to, from, n);
}

void *__wrap_memmove(void *to, const void *from, size_t n)
{
    touch(from, n, false, HERE);
    touch(to, n, true, HERE);
    return __real_memmove(to, from, n);
}

void *__tsan_memmove(void *to, const void *from, size_t n)
{
    return __wrap_memmove(to, from, n);
}

void *__wrap_memset(void *to, int byte, size_t n)
{
    touch(to, n, true, HERE);
    return __real_memset(to, byte, n);
}

void *__tsan_memset(void *to, int byte, size_t n)
{
    return __wrap_memset(to, byte, n);
}

/* Up to the end, wherever they would have stopped: keys and lines are short. */
int __wrap_memcmp(const void *a, const void *b, size_t n)
{
    touch(a, n, false, HERE);
    touch(b, n, false, HERE);
    return __real_memcmp(a, b, n);
}

void *__wrap_memchr(const void *at, int byte, size_t n)
{
    const char *found = __real_memchr(at, byte, n);

    touch(at, found ? (size_t)(found - (const char *)at) + 1 : n, false, HERE);
    return (void *)found;
}

/* glibc's mutex is written to by both, and by a trylock that fails; its list of robust mutexes
   touches no other one, since a worker holds one at most. */
int __wrap_pthread_mutex_trylock(pthread_mutex_t *m)
{
    touch(m, sizeof(*m), true, HERE);
    return __real_pthread_mutex_trylock(m);
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *m)
{
    int err;

    touch(m, sizeof(*m), true, HERE);
    err = __real_pthread_mutex_unlock(m);
    baton_unlock(m);
    return err;
}

/* Never asleep in the kernel: who has the mutex would not run. */
int __wrap_pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t clock,
                                   const struct timespec *until)
{
    struct seat *me = &sim->seat[sim_worker];
    int err;

    (void)clock, (void)until;
    for (;;) {
        touch(m, sizeof(*m), true, HERE);
        err = __real_pthread_mutex_trylock(m);
        if (err != EBUSY)
            return err;
        if (sim->requests >= sim->end)
            baton_pass(RUNNER_ENDED);
        me->sleeps++;
        me->waits_for = m;
        baton_pass(RUNNER_LOCKED);
    }
}

/* Of a worker's bell: its thread reads the word. */
void __wrap_futex_wake(uint32_t *word, int n)
{
    uint64_t at = (uint64_t)((char *)word - (char *)sim_region) - sim_region->workers;
    uint32_t worker = (uint32_t)(at / sizeof(struct worker_slot));

    (void)n;
    if (worker >= sim->workers)
        return;
    cache_touch(worker, at + sim_region->workers, sizeof(*word), false, site_of(HERE),
                sim->seat[worker].time);
    baton_ring(worker);
}

uint64_t __wrap_clock_boottime_ns(void)
{
    return sim->clock + sim->seat[sim_worker].time;
}
