/*
 * http/exposition.c - see exposition.h.
 *
 * Nothing here walks the table: shards count what they hold (core/layout.h), processes what they
 * have done. Words are read one by one while others change them, so the numbers of one scrape need
 * not be of one moment.
 */
#include "http/exposition.h"

#include "base/clock.h"
#include "base/point.h"
#include "http/http.h"
#include "http/routes.h"
#include "proto/reply.h"
#include "proto/request.h"
#include "shm/counters.h"
#include "shm/fences.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/stat.h>

struct text {
    struct evbuffer *to;
    bool failed;
};

static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *t, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    t->failed |= evbuffer_add_vprintf(t->to, fmt, args) < 0;
    va_end(args);
}

static void family(struct text *t, const char *name, const char *type, const char *help)
{
    add(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void whole(struct text *t, const char *name, const char *type, const char *help, uint64_t n)
{
    family(t, name, type, help);
    add(t, "%s %" PRIu64 "\n", name, n);
}

static double seconds(uint64_t ns)
{
    return (double)ns / (double)NS_PER_SEC;
}

static uint64_t load(const uint64_t *at)
{
    return __atomic_load_n(at, __ATOMIC_RELAXED);
}

/* ---- what the table holds ---- */

struct content {
    uint64_t held[SHARD_KINDS], waiting[SHARD_KINDS], keys, idle, lost;
};

static void count_shards(const struct table *t, struct content *out)
{
    for (uint32_t i = 0; i < SHARD_COUNT; i++) {
        const struct shard *s = table_shard(t, i);

        if (table_lost(t, i)) {
            out->lost++; /* nobody knows what is in it */
            continue;
        }
        for (unsigned k = 0; k < SHARD_KINDS; k++) {
            out->held[k] += __atomic_load_n(&s->nheld[k], __ATOMIC_RELAXED);
            out->waiting[k] += __atomic_load_n(&s->nwaiting[k], __ATOMIC_RELAXED);
        }
        out->keys += __atomic_load_n(&s->res_count, __ATOMIC_RELAXED);
        out->idle += __atomic_load_n(&s->nidle, __ATOMIC_RELAXED);
    }
    if (out->idle > out->keys)
        out->idle = out->keys; /* one became idle between the two words */
}

static void add_content(struct text *t, const struct http *h)
{
    struct content n = {0};

    count_shards(&h->sh.table, &n);
    whole(t, "dflockd_locks_held", "gauge", "Locks that are held now.", n.held[TALLY_LOCK]);
    whole(t, "dflockd_lock_waiters", "gauge", "Requests that wait for a lock now.",
          n.waiting[TALLY_LOCK]);
    whole(t, "dflockd_semaphore_holders", "gauge", "Slots of semaphores that are held now.",
          n.held[TALLY_SEM]);
    whole(t, "dflockd_semaphore_waiters", "gauge", "Requests that wait for a semaphore now.",
          n.waiting[TALLY_SEM]);
    family(t, "dflockd_keys", "gauge",
           "Locks and semaphores in the table, by whether anybody holds "
           "or waits for them.");
    add(t, "dflockd_keys{state=\"active\"} %" PRIu64 "\ndflockd_keys{state=\"idle\"} %" PRIu64 "\n",
        n.keys - n.idle, n.idle);
    whole(t, "dflockd_max_locks", "gauge", "Keys that the table may have (--max-locks).",
          (uint64_t)h->settings->max_locks);
    whole(t, "dflockd_shards_quarantined", "gauge",
          "Parts of the table, of 64, that are damaged beyond repair: keys there answer error.",
          n.lost);
}

/* ---- the server ---- */

static void add_region(struct text *t, const struct http *h)
{
    struct stat st;

    family(t, "dflockd_region_bytes", "gauge",
           "The memory that all processes share: its size, and what of it was ever touched.");
    add(t, "dflockd_region_bytes{state=\"reserved\"} %" PRIu64 "\n", h->r->size);
    if (SYS(HTTP_MEMORY, fstat(h->heritage->region_fd, &st)) == 0)
        add(t, "dflockd_region_bytes{state=\"used\"} %" PRIu64 "\n", (uint64_t)st.st_blocks * 512);
}

static void add_server(struct text *t, const struct http *h)
{
    bool failing = __atomic_load_n(&h->r->fences, __ATOMIC_ACQUIRE) == FENCES_FAILING;
    bool draining = __atomic_load_n(&h->r->draining, __ATOMIC_RELAXED) != 0;
    uint64_t sessions = load(&h->r->nsessions);
    uint64_t since = load(&h->r->served_since);

    family(t, "dflockd_build_info", "gauge", "Always 1; the version is a label.");
    add(t, "dflockd_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
    whole(t, "dflockd_ready", "gauge", "1 when new locks are given, as /ready says.",
          !failing && !draining);
    whole(t, "dflockd_fence_persistence_failing", "gauge",
          "1 while grants cannot be written to the state file, and so are not made.", failing);
    family(t, "dflockd_uptime_seconds", "gauge", "Since the server was started.");
    add(t, "dflockd_uptime_seconds %.3f\n", seconds(h->now > since ? h->now - since : 0));
    whole(t, "dflockd_connections", "gauge",
          "Connections of the line protocol and sessions of HTTP, as stats counts them.",
          load(&h->r->nconns) + sessions);
    whole(t, "dflockd_http_sessions", "gauge", "Sessions of HTTP.", sessions);
    add_region(t, h);
}

/* ---- what processes have counted ---- */

static void add_commands(struct text *t, const struct counters *n)
{
    family(t, "dflockd_commands_total", "counter",
           "Requests that were answered, of both protocols, by the line protocol's words.");
    for (unsigned row = 0; row < ROW_COUNT; row++)
        for (unsigned reply = 0; reply < REPLY_COUNT; reply++)
            if (n->commands[row][reply] || (row != ROW_NONE && reply == REPLY_OK))
                add(t, "dflockd_commands_total{command=\"%s\",result=\"%s\"} %" PRIu64 "\n",
                    request_row_text((enum request_row)row), reply_text((enum reply)reply),
                    n->commands[row][reply]);
}

static void add_grants(struct text *t, const struct tally *n)
{
    static const char *const kind[TALLY_KINDS] = {[TALLY_LOCK] = "lock", [TALLY_SEM] = "semaphore"};

    family(t, "dflockd_grants_total", "counter",
           "Slots that were given, by whether their client had to queue for them.");
    for (unsigned i = 0; i < TALLY_KINDS; i++)
        add(t,
            "dflockd_grants_total{kind=\"%s\",path=\"fast\"} %" PRIu64
            "\ndflockd_grants_total{kind=\"%s\",path=\"queued\"} %" PRIu64 "\n",
            kind[i], n->fast[i], kind[i], n->queued[i]);
}

static void add_histogram(struct text *t, const char *name, const char *help,
                          const struct tally_histogram *n)
{
    uint64_t below = 0;

    family(t, name, "histogram", help);
    for (unsigned i = 0; i < TALLY_BOUNDS; i++) {
        below += n->bucket[i];
        add(t, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, seconds(tally_bound[i]), below);
    }
    below += n->bucket[TALLY_BOUNDS];
    add(t, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9f\n%s_count %" PRIu64 "\n", name, below,
        name, seconds(n->sum), name, below);
}

static void add_rejections(struct text *t, const struct counters *n)
{
    static const char *const limit[LIMITS] = {
        [LIMIT_LOCKS] = "max_locks",
        [LIMIT_WAITERS] = "max_waiters",
        [LIMIT_CONNECTIONS] = "max_connections",
        [LIMIT_CONNECTIONS_PER_IP] = "max_connections_per_ip",
        [LIMIT_SESSIONS] = "http_max_sessions",
        [LIMIT_SESSIONS_PER_IP] = "http_max_sessions_per_ip",
        [LIMIT_HTTP_CONNECTIONS_PER_IP] = "http_max_connections_per_ip",
        [LIMIT_HTTP_RATE] = "http_rate_limit_per_ip",
    };

    family(t, "dflockd_limit_rejections_total", "counter",
           "Requests and connections that were refused, by the setting that says so.");
    for (unsigned i = 0; i < LIMITS; i++)
        add(t, "dflockd_limit_rejections_total{limit=\"%s\"} %" PRIu64 "\n", limit[i],
            n->rejected[i]);
    add(t, "dflockd_limit_rejections_total{limit=\"unauthenticated\"} %" PRIu64 "\n",
        n->strangers_ended);
}

static void add_results(struct text *t, const char *name, const char *help, uint64_t ok,
                        uint64_t error)
{
    family(t, name, "counter", help);
    add(t, "%s{result=\"ok\"} %" PRIu64 "\n%s{result=\"error\"} %" PRIu64 "\n", name, ok, name,
        error);
}

static void add_counters(struct text *t, const struct http *h)
{
    struct counters n;

    counters_sum(h->r, &n);
    add_commands(t, &n);
    add_grants(t, &n.tally);
    add_histogram(t, "dflockd_wait_seconds",
                  "How long those who had to queue waited for what they were given.",
                  &n.tally.wait);
    add_histogram(t, "dflockd_hold_seconds", "How long slots were held, however that ended.",
                  &n.tally.hold);
    whole(t, "dflockd_lease_expirations_total", "counter", "Leases that ended without a release.",
          n.tally.expired);
    add_rejections(t, &n);
    whole(t, "dflockd_auth_failures_total", "counter", "Authentications that failed.",
          n.auth_failures);
    add_results(t, "dflockd_tls_handshakes_total", "TLS handshakes.", n.handshakes,
                n.handshakes_failed);
    whole(t, "dflockd_worker_restarts_total", "counter",
          "Workers that were replaced because they died or did not answer.", n.restarts);
    whole(t, "dflockd_shard_repairs_total", "counter",
          "Parts of the table that were rolled back or rebuilt, mostly after a worker's death.",
          n.repairs + n.rebuilt);
    whole(t, "dflockd_connections_poisoned_total", "counter",
          "Connections that were cut off because their request killed workers.", n.poisoned);
    add_results(t, "dflockd_config_reloads_total", "Reloads of the settings.", n.reloads,
                n.reloads_failed);
}

/* ---- requests of HTTP ---- */

/* The last one is for all others. */
static const int statuses[HTTP_STATUSES] = {200, 204, 400, 401, 404, 405, 409, 410,
                                            413, 417, 429, 499, 500, 501, 503, 0};

unsigned exposition_status(int status)
{
    unsigned i = 0;

    while (i < HTTP_STATUSES - 1 && statuses[i] != status)
        i++;
    return i;
}

static const char *path_label(unsigned path)
{
    return path == ROUTE_COUNT ? "unmatched" : route_table[path].template;
}

static uint64_t add_statuses(struct text *t, const uint64_t *n, unsigned path, const char *method)
{
    uint64_t all = 0;

    for (unsigned i = 0; i < HTTP_STATUSES; i++) {
        if (n[i] == 0)
            continue;
        all += n[i];
        add(t, "dflockd_http_requests_total{method=\"%s\",path=\"%s\",status=\"", method,
            path_label(path));
        if (statuses[i])
            add(t, "%d\"} %" PRIu64 "\n", statuses[i], n[i]);
        else
            add(t, "other\"} %" PRIu64 "\n", n[i]);
    }
    return all;
}

static void add_requests(struct text *t, const struct http *h)
{
    const struct http_counters *n = &h->r->http;
    uint64_t all[ROUTE_COUNT + 1][HTTP_METHODS];

    family(t, "dflockd_http_requests_total", "counter", "Requests of HTTP that were answered.");
    for (unsigned path = 0; path <= ROUTE_COUNT; path++)
        for (unsigned m = 0; m < HTTP_METHODS; m++)
            all[path][m] = add_statuses(t, n->requests[path][m], path,
                                        routes_method_name((enum http_method)(1u << m)));
    family(t, "dflockd_http_request_duration_seconds", "summary",
           "From the last byte of a request to its answer, the wait of a long poll included.");
    for (unsigned path = 0; path <= ROUTE_COUNT; path++)
        for (unsigned m = 0; m < HTTP_METHODS; m++) {
            const char *method = routes_method_name((enum http_method)(1u << m));

            if (all[path][m] == 0)
                continue;
            add(t,
                "dflockd_http_request_duration_seconds_sum{method=\"%s\",path=\"%s\"} %.9f\n"
                "dflockd_http_request_duration_seconds_count{method=\"%s\",path=\"%s\"} %" PRIu64
                "\n",
                method, path_label(path), seconds(n->took[path][m]), method, path_label(path),
                all[path][m]);
        }
}

/* ---- this process ---- */

static void add_process(struct text *t, struct http *h)
{
    struct usage_now now;
    int64_t fds = usage_fds(&h->usage);

    if (usage_read(&h->usage, &now)) {
        family(t, "process_cpu_seconds_total", "counter",
               "Processor time of the process that serves HTTP.");
        add(t, "process_cpu_seconds_total %.2f\n", now.cpu_s);
        whole(t, "process_resident_memory_bytes", "gauge",
              "Resident memory of that process, what it has touched of the shared memory included.",
              now.resident);
        whole(t, "process_virtual_memory_bytes", "gauge",
              "Address space of that process, the shared memory included.", now.mapped);
        family(t, "process_start_time_seconds", "gauge", "When that process was started.");
        add(t, "process_start_time_seconds %.2f\n", now.started_s);
    }
    if (fds >= 0)
        whole(t, "process_open_fds", "gauge", "Descriptors that are open in that process.",
              (uint64_t)fds);
    if (h->usage.most_fds >= 0)
        whole(t, "process_max_fds", "gauge", "Descriptors that may be open in that process.",
              (uint64_t)h->usage.most_fds);
}

bool exposition_write(struct http *h, struct evbuffer *out)
{
    struct text t = {.to = out};

    add_server(&t, h);
    add_content(&t, h);
    add_counters(&t, h);
    add_requests(&t, h);
    add_process(&t, h);
    return !t.failed;
}
