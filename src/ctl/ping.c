/*
 * ctl/ping.c - dflockctl ping: whether each server answers, and how fast. See ctl.h.
 */
#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

struct tally {
    uint64_t answers, sum, least, most; /* nanoseconds */
};

struct ping {
    const struct asks *all;
    struct tally *of; /* each server */
    uint64_t round;   /* 0: connecting */
};

static double ms(uint64_t ns)
{
    return (double)ns / NS_PER_MS;
}

static enum ask_next step(struct ask *a, const struct dflock_reply *reply, void *arg)
{
    struct ping *p = arg;
    struct tally *t = &p->of[a - p->all->at];
    uint64_t took;

    if (reply == NULL)
        return ask_submit(a, "ping", "", "");
    took = clock_boottime_ns() - a->sent_at;
    if (reply->status != 0)
        return ask_fail(a, DFLOCK_ERR_SERVER, "%s: the server refuses a ping", a->server);
    if (p->round == 0)
        return ASK_DONE; /* that had the time of connecting in it */
    printf("%s: ping %" PRIu64 ": %.3f ms\n", a->server, p->round, ms(took));
    t->least = t->answers == 0 || took < t->least ? took : t->least;
    t->most = took > t->most ? took : t->most;
    t->sum += took;
    t->answers++;
    return ASK_DONE;
}

static void pause_for(double seconds)
{
    struct timespec left = {.tv_sec = (time_t)seconds,
                            .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};

    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

static void sum_up(const struct ping *p)
{
    for (size_t i = 0; i < p->all->n; i++) {
        const struct tally *t = &p->of[i];

        printf("%s: %" PRIu64 " of %" PRIu64 " answered", p->all->at[i].server, t->answers,
               p->round);
        if (t->answers > 0)
            printf(", min %.3f, mean %.3f, max %.3f ms", ms(t->least),
                   ms(t->sum) / (double)t->answers, ms(t->most));
        putchar('\n');
    }
}

int ping_run(struct ctl *c)
{
    uint64_t count = ctl_number(c, OPT_COUNT, 1, 1);
    double interval = ctl_decimal(c, OPT_INTERVAL, 1);
    struct ping p = {.all = &c->all, .of = text_memory(calloc(c->all.n, sizeof(*p.of)))};
    int status = 0;

    asks_run(&c->all, step, &p);
    for (p.round = 1; p.round <= count; p.round++) {
        int now;

        if (p.round > 1)
            pause_for(interval);
        asks_run(&c->all, step, &p);
        fflush(stdout);
        now = ctl_failures(c);
        status = status != 0 ? status : now;
    }
    p.round = count;
    if (count > 1)
        sum_up(&p);
    free(p.of);
    return status;
}
