/*
 * tests/bench/lines/baton.c - which of the workers runs, and the simulated clock.
 *
 * By SCHEDULE_TURN the next worker runs when one waits for events. By SCHEDULE_CLOCK each has a
 * time of its own, which what it does moves on, and who is behind the others runs: so what they do
 * falls between each other as it would on as many cores.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SLACK_NS = 40, TURN_NS = 1000 };

int baton_init(void)
{
    for (uint32_t i = 0; i < sim->workers; i++)
        if (sem_init(&sim->seat[i].baton, 1, 0) < 0)
            return -1;
    return 0;
}

void baton_wait(uint32_t worker)
{
    while (sem_wait(&sim->seat[worker].baton) < 0)
        ;
}

void baton_start(void)
{
    sem_post(&sim->seat[0].baton);
}

/* The one that is ready and, by the clock, furthest behind; by turns, the next. */
static uint32_t next_ready(void)
{
    uint32_t best = WORKER_MAX;

    for (uint32_t i = 1; i <= sim->workers; i++) {
        uint32_t w = (sim_worker + i) % sim->workers;

        if (sim->seat[w].state != RUNNER_READY)
            continue;
        if (sim->schedule == SCHEDULE_TURN)
            return w;
        if (best == WORKER_MAX || sim->seat[w].time < sim->seat[best].time)
            best = w;
    }
    return best;
}

static void run(uint32_t next)
{
    if (next == sim_worker)
        return;
    sem_post(&sim->seat[next].baton);
    baton_wait(sim_worker);
}

void baton_pass(enum runner state)
{
    uint32_t next;

    sim->seat[sim_worker].state = state;
    if (sim->schedule == SCHEDULE_TURN)
        for (uint32_t i = 0; i < sim->workers; i++)
            sim->seat[i].time += TURN_NS;
    next = next_ready();
    if (state == RUNNER_ENDED) {
        /* Who sleeps must end too. */
        for (uint32_t i = 0; next == WORKER_MAX && i < sim->workers; i++)
            if (sim->seat[i].state != RUNNER_ENDED)
                next = i;
        if (next != WORKER_MAX)
            sem_post(&sim->seat[next].baton);
        _exit(EXIT_SUCCESS);
    }
    if (next == WORKER_MAX) {
        fprintf(stderr, "lines: all workers sleep, nobody would wake them\n");
        _exit(EXIT_FAILURE);
    }
    run(next);
}

void baton_spend(uint64_t ns)
{
    struct seat *me = &sim->seat[sim_worker];
    uint32_t next;

    if (sim->schedule == SCHEDULE_TURN)
        return;
    me->time += ns;
    next = next_ready();
    if (sim->seat[next].time + SLACK_NS < me->time)
        run(next);
}

void baton_ring(uint32_t worker)
{
    struct seat *s = &sim->seat[worker];

    s->rung = true;
    if (s->state == RUNNER_IDLE) {
        uint64_t at = sim->seat[sim_worker].time + 2 * sim->costs.wake;

        s->state = RUNNER_READY;
        s->time = s->time > at ? s->time : at;
    }
    baton_spend(sim->costs.wake);
}

void baton_unlock(const void *mutex)
{
    uint64_t now = sim->seat[sim_worker].time;
    struct seat *first = NULL;

    for (uint32_t i = 0; i < sim->workers; i++) {
        struct seat *s = &sim->seat[i];

        if (s->state == RUNNER_LOCKED && s->waits_for == mutex && (!first || s->time < first->time))
            first = s;
    }
    if (!first)
        return;
    first->state = RUNNER_READY;
    first->waits_for = NULL;
    first->locked_out += now + 2 * sim->costs.wake - first->time;
    first->time = now + 2 * sim->costs.wake;
    baton_spend(sim->costs.wake);
}
