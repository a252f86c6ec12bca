/*
 * bench/run.c - see run.h. Each stage is a round of threads that all are joined before the next
 * begins: no barrier at which anybody could wait for one that has failed.
 */
#include "bench/run.h"

#include "bench/driver.h"
#include "bench/plan.h"

#include "base/clock.h"
#include "base/random.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Set by the handler and by whoever fails; see driver.h. */
static atomic_int stop;

static void interrupted(int signum)
{
    int nobody = 0;

    atomic_compare_exchange_strong(&stop, &nobody, signum);
}

/* The first signal ends the run with its results, the second ends it. */
static void catch_signals(void)
{
    struct sigaction sa = {.sa_handler = interrupted, .sa_flags = (int)SA_RESETHAND};

    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

static int raise_limit(const struct settings *s)
{
    rlim_t need = (rlim_t)s->workers * s->connections + 2 * (rlim_t)s->threads + 16;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
        return 0;
    limit.rlim_cur = need;
    if (limit.rlim_max < need)
        limit.rlim_max = need; /* for root */
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return 0;
    getrlimit(RLIMIT_NOFILE, &limit);
    complain("--workers: %" PRIu32 " with %" PRIu32 " connections each need %ju descriptors, this "
             "process may have %ju; raise the limit with 'ulimit -Hn' or take fewer",
             s->workers, s->connections, (uintmax_t)need, (uintmax_t)limit.rlim_max);
    return EXIT_USAGE;
}

/* ---- a stage --------------------------------------------------------------------------------- */

struct part {
    struct driver *driver;
    int (*stage)(struct driver *d);
    pthread_t thread;
    int err;
};

static void *do_part(void *arg)
{
    struct part *p = arg;

    p->err = p->stage(p->driver);
    return NULL;
}

/* Signals are for the first thread, which polls; the others see `stop`. */
static int start_thread(struct part *p)
{
    sigset_t all, before;
    int err;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&p->thread, NULL, do_part, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

/* 0 or the exit code of the first driver that failed, after its message. */
static int do_stage(struct driver *drivers, uint32_t n, int (*stage)(struct driver *d))
{
    struct part *parts = calloc(n, sizeof(*parts));
    uint32_t started = 1;
    int code = 0;

    if (!parts) {
        complain("no memory");
        return EXIT_BROKEN;
    }
    for (uint32_t i = 0; i < n; i++)
        parts[i] = (struct part){.driver = &drivers[i], .stage = stage};
    for (; started < n; started++) {
        int err = start_thread(&parts[started]);

        if (err) {
            code = driver_fail(&drivers[started], EXIT_BROKEN, "--threads: number %" PRIu32 ": %s",
                               started + 1, strerror(err));
            parts[started].err = code;
            break;
        }
    }
    do_part(&parts[0]);
    for (uint32_t i = 1; i < started; i++)
        pthread_join(parts[i].thread, NULL);
    for (uint32_t i = 0; i < n && !code; i++)
        code = parts[i].err;
    for (uint32_t i = 0; i < n; i++)
        if (drivers[i].failed == code && code) {
            complain("%s", drivers[i].failure);
            break;
        }
    free(parts);
    return code;
}

/* ---- the run --------------------------------------------------------------------------------- */

struct crew {
    const struct settings *s;
    struct driver *drivers;
    struct check_key shared;
    struct check check; /* of the shared key */
    uint64_t told;
};

/* In the first driver's thread, now and then. */
static void tell_progress(void *arg)
{
    struct crew *c = arg;
    uint64_t now = c->drivers[0].now, done = 0;

    if (!c->drivers[0].measuring || now - c->told < NS_PER_SEC)
        return;
    c->told = now;
    for (uint32_t i = 0; i < c->s->threads; i++)
        done += atomic_load_explicit(&c->drivers[i].done, memory_order_relaxed);
    report_progress((double)(now - c->drivers[0].began) * 1e-9, done);
}

/* Worker i is in thread i * threads / workers, so no thread has two more than another. */
static int plan_all(struct crew *c)
{
    const struct settings *s = c->s;
    struct names names = {0};
    int err = random_bytes(&names.run, sizeof(names.run));
    uint32_t first = 0;

    if (err) {
        complain("random bytes: %s", strerror(-err));
        return EXIT_BROKEN;
    }
    check_init(&c->check, s->threads > 1, (int64_t)(clock_realtime_ns() - clock_boottime_ns()));
    c->shared.name = s->key;
    for (uint32_t i = 0; i < s->threads; i++) {
        uint32_t next = (uint32_t)((uint64_t)s->workers * (i + 1) / s->threads);
        struct driver *d = &c->drivers[i];

        err = plan_make(d, s, &stop, first, next - first, &names, s->shared_key ? &c->shared : NULL,
                        s->shared_key ? &c->check : NULL);
        if (err) {
            complain("%s", d->failure);
            return err;
        }
        first = next;
    }
    c->drivers[0].tell = tell_progress;
    c->drivers[0].tell_arg = c;
    return 0;
}

static int do_stages(struct crew *c)
{
    static int (*const stages[])(struct driver *) = {driver_dial, driver_warm_up, driver_measure};
    int code = 0;

    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]) && !code && !atomic_load(&stop); i++)
        code = do_stage(c->drivers, c->s->threads, stages[i]);
    report_progress_ends();
    return code;
}

static void add_check(struct result *r, const struct check *c)
{
    for (uint64_t i = 0; i < c->violations && i < CHECK_SHOWN; i++)
        complain("VIOLATION: %s", c->text[i]);
    if (c->violations > CHECK_SHOWN)
        complain("and %" PRIu64 " more", c->violations - CHECK_SHOWN);
    r->grants += c->grants;
    r->places += c->places;
    r->violations += c->violations;
}

static void add_up(struct crew *c, struct result *r)
{
    uint64_t began = UINT64_MAX, ended = 0;

    for (uint32_t i = 0; i < c->s->threads; i++) {
        const struct driver *d = &c->drivers[i];

        if (!c->s->shared_key)
            add_check(r, &d->own_check);
        histogram_merge(&r->latency, d->latency);
        r->requests += d->requests;
        if (d->latency->n == 0)
            continue;
        if (d->began < began)
            began = d->began;
        if (d->ended > ended)
            ended = d->ended;
    }
    if (c->s->shared_key)
        add_check(r, &c->check);
    r->wall_ns = ended > began ? ended - began : 0;
}

int run(const struct settings *s, struct result *r, bool *finished)
{
    struct crew c = {.s = s, .drivers = calloc(s->threads, sizeof(*c.drivers))};
    int code;

    *finished = false;
    if (!c.drivers) {
        complain("no memory");
        return EXIT_BROKEN;
    }
    code = raise_limit(s);
    if (code)
        goto fail;
    catch_signals();
    code = plan_all(&c);
    if (!code)
        code = do_stages(&c);
    if (c.drivers[0].latency)
        add_up(&c, r);
    r->interrupted = atomic_load(&stop) > 0 ? atomic_load(&stop) : 0;
    *finished = !code && r->latency.n > 0;
    if (r->violations)
        code = EXIT_VIOLATION;
    else if (!code && r->interrupted)
        code = 128 + r->interrupted;
    for (uint32_t i = 0; i < s->threads; i++)
        plan_drop(&c.drivers[i]);
    check_destroy(&c.check);
fail:
    free(c.drivers);
    return code;
}
