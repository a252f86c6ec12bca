/*
 * bench/report.c - see report.h. The first lines are, to the letter, those of the tool that people
 * have made their tables with; what is new comes after them.
 */
#include "bench/report.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

static double ms(double ns)
{
    return ns * 1e-6;
}

static double quantile_ms(const struct result *r, uint32_t num, uint32_t den)
{
    return ms((double)histogram_quantile(&r->latency, num, den));
}

static double per_second(const struct result *r, uint64_t n)
{
    return r->wall_ns > 0 ? (double)n / ((double)r->wall_ns * 1e-9) : 0;
}

void report_begins(const struct settings *s)
{
    if (s->json)
        return;
    if (s->duration)
        printf("bench: %" PRIu32 " workers x %g s", s->workers, (double)s->duration * 1e-9);
    else
        printf("bench: %" PRIu32 " workers x %" PRIu64 " rounds", s->workers, s->rounds);
    printf(" (key_prefix=\"%s\", conns/worker=%" PRIu32 ")\n\n", s->key, s->connections);
    fflush(stdout);
}

static void print_check(const struct settings *s, const struct result *r)
{
    if (!s->check)
        puts("  check     : off");
    else if (r->violations)
        printf("  check     : %" PRIu64 " VIOLATIONS in %" PRIu64 " grants\n", r->violations,
               r->grants);
    else if (s->shared_key)
        printf("  check     : ok, %" PRIu64 " grants exclusive and fenced, %" PRIu64
               " places in the queue kept\n",
               r->grants, r->places);
    else
        printf("  check     : ok, %" PRIu64 " grants exclusive and fenced\n", r->grants);
}

static void print_text(const struct settings *s, const struct result *r)
{
    printf("  total ops : %" PRIu64 "\n", r->latency.n);
    printf("  wall time : %.3fs\n", (double)r->wall_ns * 1e-9);
    printf("  throughput: %.1f ops/s\n\n", per_second(r, r->latency.n));
    printf("  mean      : %.3f ms\n", ms(histogram_mean(&r->latency)));
    printf("  min       : %.3f ms\n", ms((double)r->latency.min));
    printf("  max       : %.3f ms\n", ms((double)r->latency.max));
    printf("  p50       : %.3f ms\n", quantile_ms(r, 50, 100));
    printf("  p99       : %.3f ms\n", quantile_ms(r, 99, 100));
    printf("  stdev     : %.3f ms\n", ms(histogram_stdev(&r->latency)));
    printf("  p90       : %.3f ms\n", quantile_ms(r, 90, 100));
    printf("  p99.9     : %.3f ms\n", quantile_ms(r, 999, 1000));
    printf("  requests  : %" PRIu64 ", %.1f/s\n", r->requests, per_second(r, r->requests));
    if (s->rate > 0)
        printf("  rate      : %g ops/s wanted, latency from when each was due\n", s->rate);
    if (s->http)
        puts("  protocol  : HTTP");
    print_check(s, r);
    if (r->interrupted)
        printf("  interrupted by signal %d\n", r->interrupted);
}

static json_t *check_object(const struct settings *s, const struct result *r)
{
    if (!s->check)
        return json_null();
    return json_pack("{s:I, s:I, s:I}", "grants", (json_int_t)r->grants, "queue_places",
                     (json_int_t)r->places, "violations", (json_int_t)r->violations);
}

static json_t *latency_object(const struct result *r)
{
    const struct histogram *h = &r->latency;

    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "mean", ms(histogram_mean(h)),
                     "min", ms((double)h->min), "max", ms((double)h->max), "p50",
                     quantile_ms(r, 50, 100), "p90", quantile_ms(r, 90, 100), "p99",
                     quantile_ms(r, 99, 100), "p99.9", quantile_ms(r, 999, 1000), "stdev",
                     ms(histogram_stdev(h)));
}

/* A key that is not UTF-8 has no place in JSON. */
static json_t *key_string(const struct settings *s)
{
    json_t *key = json_string(s->key);

    return key ? key : json_null();
}

static int print_json(const struct settings *s, const struct result *r)
{
    json_t *o = json_pack(
        "{s:I, s:o, s:o, s:o, s:b, s:I, s:I, s:I, s:o, s:I, s:f, s:f, s:I, s:f, s:o, s:o, s:o, "
        "s:b}",
        "workers", (json_int_t)s->workers, "rounds",
        s->duration ? json_null() : json_integer((json_int_t)s->rounds), "duration_s",
        s->duration ? json_real((double)s->duration * 1e-9) : json_null(), "key", key_string(s),
        "shared_key", s->shared_key, "connections", (json_int_t)s->connections, "pipeline",
        (json_int_t)s->pipeline, "threads", (json_int_t)s->threads, "rate",
        s->rate > 0 ? json_real(s->rate) : json_null(), "ops", (json_int_t)r->latency.n, "wall_s",
        (double)r->wall_ns * 1e-9, "ops_per_s", per_second(r, r->latency.n), "requests",
        (json_int_t)r->requests, "requests_per_s", per_second(r, r->requests), "latency_ms",
        latency_object(r), "check", check_object(s, r), "interrupted_by",
        r->interrupted ? json_integer(r->interrupted) : json_null(), "http", s->http);
    int err = !o || json_dumpf(o, stdout, JSON_REAL_PRECISION(9)) != 0 || putchar('\n') == EOF;

    json_decref(o);
    return err ? -ENOMEM : 0;
}

int report_result(const struct settings *s, const struct result *r)
{
    int err = 0;

    if (s->json)
        err = print_json(s, r);
    else
        print_text(s, r);
    return fflush(stdout) != 0 || ferror(stdout) ? -EIO : err;
}

void report_progress(double seconds, uint64_t done)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r  %.0f s, %" PRIu64 " ops, %.0f ops/s \033[K", seconds, done,
                seconds > 0 ? (double)done / seconds : 0);
}

void report_progress_ends(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}
