/*
 * tests/bench/load.c - the load for all servers that are compared: dflockd, the bare echo server,
 * which speaks as dflockd does, and Redis. One client, so that it costs the same beside each.
 *
 *     load [options] HOST:PORT | unix:PATH        --help names the options
 *
 * Prints its figures as one line of JSON. Exit status 1 if anything was not as it should be:
 * replies that are wrong or missing, connections that are refused or ended.
 */
#include "load.h"

#include "base/num.h"
#include "loadtls.h"

#include <getopt.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

enum { THREADS_MAX = 64, CONNECTIONS_MAX = 100000, DEPTH_MAX = 1024 };

static const char usage[] =
    "usage: load [options] HOST:PORT | unix:PATH\n"
    "  --protocol NAME    dflockd (the default) or redis\n"
    "  --workload NAME    ops: each connection acquires and releases locks of its own (the "
    "default)\n"
    "                     renew: as ops, but locks are held from the begin, and renewed\n"
    "                     cycle: connect, lock, release, close\n"
    "                     hot: all wait in one queue, who is granted releases at once; latency is\n"
    "                     from a release to the next grant\n"
    "  --connections N    default 100\n"
    "  --depth N          requests under way on each connection, default 1 (ops)\n"
    "  --threads N        that share the connections, default 1\n"
    "  --seconds S        default 1\n"
    "  --rate R           requests a second in all, at fixed times, whatever the replies do; "
    "latency\n"
    "                     is from when a request was due (ops, renew)\n"
    "  --prefix P         what all keys begin with, default bench\n"
    "  --secret S         each connection says it first (not cycle)\n"
    "  --tls              whatever certificate the server has\n"
    "  --wait             says \"ready\" when all are connected, begins when standard input has a\n"
    "                     line, and stays connected after the figures until standard input ends\n";

struct options {
    struct plan plan;
    bool wait, tls;
};

static void refuse(const char *what, const char *value, const char *instead)
{
    fprintf(stderr, "load: %s \"%s\": %s; --help names the options\n", what, value, instead);
    exit(2);
}

static unsigned number(const char *option, const char *text, unsigned most)
{
    int64_t n;
    char instead[64];

    snprintf(instead, sizeof(instead), "must be a number from 1 to %u", most);
    if (num_parse_i64(text, strlen(text), &n) != 0 || n < 1 || n > most)
        refuse(option, text, instead);
    return (unsigned)n;
}

static double decimal(const char *option, const char *text)
{
    double x = 0;

    if (num_parse_decimal(text, strlen(text), &x) != 0 || x <= 0)
        refuse(option, text, "must be a number above 0");
    return x;
}

static const struct wire *wire_of(const char *name)
{
    if (strcmp(name, "dflockd") != 0 && strcmp(name, "redis") != 0)
        refuse("--protocol", name, "must be dflockd or redis");
    return strcmp(name, "redis") == 0 ? &wire_redis : &wire_dflockd;
}

static const struct work *work_of(const char *name)
{
    const struct work *all[] = {&work_ops, &work_renew, &work_cycle, &work_hot};

    for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++)
        if (strcmp(name, all[i]->name) == 0)
            return all[i];
    refuse("--workload", name, "must be ops, renew, cycle or hot");
    return NULL;
}

static void unix_address(struct plan *plan, const char *path)
{
    struct sockaddr_un *to = (struct sockaddr_un *)&plan->to;

    if (strlen(path) >= sizeof(to->sun_path))
        refuse("socket", path, "the path is too long");
    to->sun_family = AF_UNIX;
    strcpy(to->sun_path, path);
    plan->to_len = sizeof(*to);
}

static void address(struct plan *plan, const char *text)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *ai;
    const char *colon = strrchr(text, ':');
    char host[256];
    int err;

    if (strncmp(text, "unix:", 5) == 0) {
        unix_address(plan, text + 5);
        return;
    }
    if (!colon || (size_t)(colon - text) >= sizeof(host))
        refuse("server", text, "must be HOST:PORT or unix:PATH");
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    err = getaddrinfo(host, colon + 1, &hints, &ai);
    if (err)
        refuse("server", text, gai_strerror(err));
    memcpy(&plan->to, ai->ai_addr, ai->ai_addrlen);
    plan->to_len = ai->ai_addrlen;
    freeaddrinfo(ai);
}

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option names[] = {{"protocol", required_argument, NULL, 'p'},
                                          {"workload", required_argument, NULL, 'w'},
                                          {"connections", required_argument, NULL, 'c'},
                                          {"depth", required_argument, NULL, 'd'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"rate", required_argument, NULL, 'r'},
                                          {"prefix", required_argument, NULL, 'k'},
                                          {"secret", required_argument, NULL, 'a'},
                                          {"tls", no_argument, NULL, 'S'},
                                          {"wait", no_argument, NULL, 'W'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    struct plan *plan = &o->plan;
    int c;

    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (c) {
        case 'p':
            plan->wire = wire_of(optarg);
            break;
        case 'w':
            plan->work = work_of(optarg);
            break;
        case 'c':
            plan->connections = number("--connections", optarg, CONNECTIONS_MAX);
            break;
        case 'd':
            plan->depth = number("--depth", optarg, DEPTH_MAX);
            break;
        case 't':
            plan->threads = number("--threads", optarg, THREADS_MAX);
            break;
        case 's':
            plan->seconds = decimal("--seconds", optarg);
            break;
        case 'r':
            plan->rate = decimal("--rate", optarg);
            break;
        case 'k':
            plan->prefix = optarg;
            break;
        case 'a':
            plan->secret = optarg;
            break;
        case 'S':
            o->tls = true;
            break;
        case 'W':
            o->wait = true;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            exit(2);
        }
    }
    if (argc - optind != 1) {
        fputs(usage, stderr);
        exit(2);
    }
    if (plan->threads > plan->connections)
        plan->threads = plan->connections;
    if (strlen(plan->prefix) > LOAD_KEY_MAX - 16)
        refuse("--prefix", plan->prefix, "is too long");
    if (plan->work->once || plan->work->needs_queue) {
        if (plan->depth > 1 || plan->rate > 0)
            refuse("--workload", plan->work->name, "has neither --depth nor --rate");
    }
    if (plan->work->once && plan->secret)
        refuse("--workload", plan->work->name, "has no --secret");
    if (plan->work->renews && plan->wire != &wire_dflockd)
        refuse("--protocol", plan->wire->name, "has no renewals, which this workload needs");
    if (plan->work->needs_queue && !plan->wire->queues)
        refuse("--protocol", plan->wire->name, "has no queue, which this workload needs");
    address(plan, argv[optind]);
    if (o->tls && !(plan->tls = tls_make()))
        exit(1);
}

/* --- the parts of the threads */

static void *memory(size_t n, size_t size)
{
    void *p = calloc(n, size);

    if (!p) {
        fputs("load: out of memory\n", stderr);
        exit(1);
    }
    return p;
}

static void make_slot(const struct plan *plan, struct slot *s, unsigned conn, unsigned n)
{
    char key[LOAD_KEY_MAX];

    if (plan->work->needs_queue)
        snprintf(key, sizeof(key), "%s-hot", plan->prefix);
    else
        snprintf(key, sizeof(key), "%s-%06u-%04u", plan->prefix, conn, n);
    s->lock_n = (uint8_t)plan->wire->lock(s->lock, key);
    s->unlock_n = (uint8_t)plan->wire->unlock(s->unlock, key);
    s->token_at = (uint8_t)plan->wire->token_at(key);
}

static struct runner *make_runner(const struct plan *plan, unsigned first, unsigned n)
{
    struct runner *r = memory(1, sizeof(*r));
    struct slot *slots = memory((size_t)n * plan->depth, sizeof(*slots));

    r->plan = plan;
    r->nconns = n;
    r->conn = memory(n, sizeof(*r->conn));
    r->out = memory((size_t)plan->depth + 1, LOAD_REQUEST_MAX);
    if (plan->rate > 0)
        r->interval = (uint64_t)(1e9 * plan->threads / plan->rate);
    for (unsigned i = 0; i < n; i++) {
        r->conn[i].fd = -1;
        r->conn[i].index = first + i;
        r->conn[i].slot = &slots[(size_t)i * plan->depth];
        for (unsigned j = 0; j < plan->depth; j++)
            make_slot(plan, &r->conn[i].slot[j], first + i, j);
    }
    return r;
}

static void *run(void *r)
{
    prctl(PR_SET_TIMERSLACK, 1UL); /* requests that are due are sent then */
    runner_run(r);
    return NULL;
}

/* --- the figures */

static bool report(const struct plan *plan, struct runner *const *all)
{
    struct runner *sum = all[0];
    double seconds;

    for (unsigned i = 1; i < plan->threads; i++) {
        const struct runner *r = all[i];

        if (sum->errors == 0)
            memcpy(sum->complaint, r->complaint, sizeof(sum->complaint));
        sum->errors += r->errors;
        sum->done += r->done;
        sum->began = r->began < sum->began ? r->began : sum->began;
        sum->ended = r->ended > sum->ended ? r->ended : sum->ended;
        histogram_merge(&sum->latency, &r->latency);
    }
    seconds = (double)(sum->ended - sum->began) / 1e9;
    printf("{\"protocol\": \"%s\", \"workload\": \"%s\", \"counts\": \"%s\", \"connections\": %u, "
           "\"depth\": %u, \"threads\": %u, ",
           plan->wire->name, plan->work->name, plan->work->counts, plan->connections, plan->depth,
           plan->threads);
    printf("\"requests\": %llu, \"seconds\": %.6f, \"requests_per_s\": %.1f, \"errors\": %llu, ",
           (unsigned long long)sum->done, seconds, seconds > 0 ? (double)sum->done / seconds : 0,
           (unsigned long long)sum->errors);
    printf("\"latency_ns\": {\"p50\": %llu, \"p99\": %llu, \"p999\": %llu, \"max\": %llu}}\n",
           (unsigned long long)histogram_quantile(&sum->latency, 50, 100),
           (unsigned long long)histogram_quantile(&sum->latency, 99, 100),
           (unsigned long long)histogram_quantile(&sum->latency, 999, 1000),
           (unsigned long long)sum->latency.max);
    if (sum->errors > 0)
        fprintf(stderr, "load: %llu errors; the first: %s\n", (unsigned long long)sum->errors,
                sum->complaint);
    return fflush(stdout) == 0 && sum->errors == 0 && sum->done > 0;
}

static void wait_for_input(bool to_the_end)
{
    int c;

    do
        c = getchar();
    while (c != EOF && (to_the_end || c != '\n'));
}

static void allow_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct options o = {.plan = {.wire = &wire_dflockd,
                                 .work = &work_ops,
                                 .connections = 100,
                                 .depth = 1,
                                 .threads = 1,
                                 .seconds = 1,
                                 .prefix = "bench"}};
    struct runner *runner[THREADS_MAX];
    pthread_t thread[THREADS_MAX];
    bool good;

    parse(&o, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    allow_descriptors();
    for (unsigned i = 0, first = 0; i < o.plan.threads; i++) {
        unsigned n = (o.plan.connections - first) / (o.plan.threads - i);

        runner[i] = make_runner(&o.plan, first, n);
        if (!runner_connect(runner[i]))
            return 1;
        first += n;
    }
    if (o.wait) {
        puts("ready");
        fflush(stdout);
        wait_for_input(false);
    }
    for (unsigned i = 1; i < o.plan.threads; i++)
        if (pthread_create(&thread[i], NULL, run, runner[i]) != 0)
            return 1;
    run(runner[0]);
    for (unsigned i = 1; i < o.plan.threads; i++)
        pthread_join(thread[i], NULL);
    good = report(&o.plan, runner);
    if (o.wait)
        wait_for_input(true);
    return good ? 0 : 1;
}
