/*
 * tests/bench/lines/main.c - which cache lines the workers of dflockd share, and how often each
 * moves from one core to another: simulates workers that serve requests, prints JSON. `make
 * bench-lines` runs it and makes tables of what it says (lines.py).
 *
 *   lines [--workers N] [--workload random|own|hot|new] [--schedule turn|clock] [--requests N]
 *         [--connections N] [--keys N] [--transfer NS] [--spoil]
 *
 * What is simulated is in sim.h. --spoil adds a counter that each request raises, beside words that
 * all workers read: the tables must show it.
 */
#include "sim.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LIMIT_S = 300 };

struct sim *sim;
struct region *sim_region;
uint32_t sim_worker;

static const char *const workload_name[WORKLOADS] = {"random", "own", "hot", "new"};

void sim_fail(const char *what, int err)
{
    fprintf(stderr, "lines: %s: %s\n", what, strerror(err < 0 ? -err : err));
    exit(EXIT_FAILURE);
}

static uint64_t number(const char *text, uint64_t most)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);

    if (*end || end == text || n > most) {
        fprintf(stderr, "lines: %s is not a number from 0 to %llu\n", text,
                (unsigned long long)most);
        exit(EXIT_FAILURE);
    }
    return n;
}

static enum workload workload_of(const char *text)
{
    for (unsigned i = 0; i < WORKLOADS; i++)
        if (strcmp(text, workload_name[i]) == 0)
            return (enum workload)i;
    fprintf(stderr, "lines: no workload is called %s: random, own, hot or new\n", text);
    exit(EXIT_FAILURE);
}

static void options(int argc, char **argv)
{
    static const struct option known[] = {{"workers", required_argument, NULL, 'w'},
                                          {"workload", required_argument, NULL, 'l'},
                                          {"schedule", required_argument, NULL, 's'},
                                          {"requests", required_argument, NULL, 'r'},
                                          {"connections", required_argument, NULL, 'c'},
                                          {"keys", required_argument, NULL, 'k'},
                                          {"transfer", required_argument, NULL, 't'},
                                          {"spoil", no_argument, NULL, 'x'},
                                          {0}};
    uint64_t requests = 200;
    int c;

    sim->workers = 2;
    sim->connections = 4;
    sim->keys = 50;
    sim->costs = (struct costs){.access = 1,
                                .transfer = 80,
                                .receive = 700,
                                .send = 1500,
                                .wait = 700,
                                .wake = 2500,
                                .pause = 30};
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (c) {
        case 'w':
            sim->workers = (uint32_t)number(optarg, WORKER_MAX);
            break;
        case 'l':
            sim->workload = workload_of(optarg);
            break;
        case 's':
            sim->schedule = strcmp(optarg, "clock") == 0 ? SCHEDULE_CLOCK : SCHEDULE_TURN;
            break;
        case 'r':
            requests = number(optarg, 1000000);
            break;
        case 'c':
            sim->connections = (uint32_t)number(optarg, 1024);
            break;
        case 'k':
            sim->keys = (uint32_t)number(optarg, 100000);
            break;
        case 't':
            sim->costs.transfer = number(optarg, 1000000);
            break;
        case 'x':
            sim->spoil = true;
            break;
        default:
            exit(EXIT_FAILURE);
        }
    }
    if (sim->workers == 0 || sim->connections == 0 || sim->keys == 0)
        sim_fail("workers, connections and keys", EINVAL);
    /* First each connection makes its keys: lines that are new to the caches, units of max-locks.
     */
    sim->warm = (uint64_t)sim->connections * sim->keys * 2;
    sim->cold = sim->workers;
    sim->end = sim->workers * requests;
}

static void print(uint64_t missed)
{
    uint64_t last = 0, locked = 0, sleeps = 0;

    for (uint32_t i = 0; i < sim->workers; i++) {
        if (sim->seat[i].time > last)
            last = sim->seat[i].time;
        locked += sim->seat[i].locked_out;
        sleeps += sim->seat[i].sleeps;
    }
    printf("{\"workers\": %u, \"workload\": \"%s\", \"schedule\": \"%s\", \"requests\": %llu, "
           "\"simulated_ns\": %llu, \"locked_out_ns\": %llu, \"sleeps\": %llu, "
           "\"unseen_lines\": %llu, \"events\": ",
           sim->workers, workload_name[sim->workload],
           sim->schedule == SCHEDULE_CLOCK ? "clock" : "turn", (unsigned long long)sim->requests,
           (unsigned long long)(last - sim->started), (unsigned long long)locked,
           (unsigned long long)sleeps, (unsigned long long)missed);
    cache_print();
    printf("}\n");
}

int main(int argc, char **argv)
{
    sim = mmap(NULL, sizeof(*sim), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sim == MAP_FAILED)
        sim_fail("mmap", errno);
    options(argc, argv);
    alarm(LIMIT_S); /* workers end with this process */
    print(world_run());
    return EXIT_SUCCESS;
}
