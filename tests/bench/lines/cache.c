/*
 * tests/bench/lines/cache.c - a private cache of any size for each worker, kept coherent by
 * invalidation: a line has many readers, or one writer.
 *
 * Counted are a worker's accesses that must wait for another core: a read or write of a line that
 * it does not have and that another has written to (a transfer), and a write to one that others
 * have as well (an upgrade). What nobody else has ever written is not counted: it comes from
 * memory, once.
 *
 * A transfer is useless, that is false sharing, when the worker loses the line again before it has
 * touched a word of it that another has written since it last had it (M. Dubois and others, "The
 * detection and elimination of useless misses in multiprocessors", ISCA 1993). Words are of 4
 * bytes.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { EVENTS_MAX = 1 << 16, WORDS = CACHE_LINE / 4 };

struct line {
    uint64_t sharers;             /* workers whose caches have it */
    uint64_t users;               /* that ever had it */
    uint64_t writers;             /* that ever wrote to it */
    uint64_t busy;                /* until then it is on its way to somebody */
    uint16_t written;             /* words */
    uint16_t taken_by;            /* field of the last write */
    uint16_t stale[WORKER_MAX];   /* words that others have written since */
    uint16_t lost_to[WORKER_MAX]; /* the field whose write took the line away */
    uint32_t event[WORKER_MAX];   /* + 1: the transfer that has not been of use yet */
};

struct event {
    uint64_t count;
    uint64_t useless;
    uint64_t waited; /* ns */
    uint32_t site;   /* in the program */
    uint16_t field;  /* that was accessed */
    uint16_t lost_to;
    uint8_t what; /* enum cache_event */
};

static struct line *lines;
static struct event *events;

static void *shared_memory(size_t size)
{
    void *at =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return at == MAP_FAILED ? NULL : at;
}

int cache_init(uint64_t region_size)
{
    lines = shared_memory((region_size / CACHE_LINE + 1) * sizeof(*lines));
    events = shared_memory(EVENTS_MAX * sizeof(*events));
    return lines && events ? 0 : -1;
}

static uint32_t note(enum cache_event what, uint16_t field, uint16_t lost_to, uint32_t site)
{
    uint64_t hash = ((uint64_t)site << 32 | (uint32_t)field << 16 | lost_to) * 0x9e3779b97f4a7c15u;

    for (uint32_t i = (uint32_t)((hash >> 40) + what);; i++) {
        struct event *e = &events[i % EVENTS_MAX];

        if (e->site == 0)
            *e = (struct event){
                .site = site, .field = field, .lost_to = lost_to, .what = (uint8_t)what};
        if (e->site == site && e->field == field && e->lost_to == lost_to && e->what == what) {
            e->count++;
            return i % EVENTS_MAX;
        }
    }
}

static void settle(struct line *l, uint32_t worker)
{
    if (l->event[worker])
        events[l->event[worker] - 1].useless++;
    l->event[worker] = 0;
}

static void invalidate(struct line *l, uint64_t others, uint16_t field)
{
    for (uint64_t left = others & l->sharers; left; left &= left - 1) {
        uint32_t other = (uint32_t)__builtin_ctzll(left);

        settle(l, other);
        l->lost_to[other] = field;
    }
    l->sharers &= ~others;
}

/* Only one at a time gets a line that somebody has written to. */
static uint64_t take(struct line *l, uint32_t event, bool alone, uint64_t now)
{
    uint64_t begin = alone && l->busy > now ? l->busy : now;
    uint64_t end = begin + sim->costs.transfer;

    if (alone)
        l->busy = end;
    events[event].waited += end - now;
    return end - now;
}

static uint64_t fetch(struct line *l, uint32_t worker, uint16_t field, bool write, uint32_t site,
                      uint64_t now)
{
    uint64_t me = UINT64_C(1) << worker;
    bool dirty = (l->sharers & (l->sharers - 1)) == 0;
    uint16_t lost_to = l->users & me ? l->lost_to[worker] : l->taken_by;
    uint32_t event;

    if (!(l->users & me))
        l->stale[worker] = l->written;
    l->users |= me;
    l->sharers |= me;
    if (!(l->writers & ~me))
        return sim->costs.access;
    event = note(write ? CACHE_WRITE : CACHE_READ, field, lost_to, site ? site : 1);
    l->event[worker] = event + 1;
    return take(l, event, write || dirty, now);
}

uint64_t cache_touch(uint32_t worker, uint64_t offset, unsigned size, bool write, uint32_t site,
                     uint64_t now)
{
    struct line *l = &lines[offset / CACHE_LINE];
    uint64_t me = UINT64_C(1) << worker;
    unsigned first = (unsigned)(offset % CACHE_LINE / 4);
    unsigned last = (unsigned)((offset % CACHE_LINE + size - 1) / 4);
    uint16_t words = (uint16_t)(((UINT32_C(2) << (last - first)) - 1) << first);
    uint64_t cost = sim->costs.access;
    bool here = l->sharers & me;
    uint16_t field = 0;

    if (!here || (write && l->sharers != me))
        field = (uint16_t)fields_at(offset);
    if (!here)
        cost = fetch(l, worker, field, write, site, now);
    else if (write && l->sharers != me)
        cost = take(l, note(CACHE_UPGRADE, field, field, site ? site : 1), true, now);
    if (l->stale[worker] & words) {
        l->event[worker] = 0;
        l->stale[worker] = 0;
    }
    if (write) {
        if (l->sharers != me)
            invalidate(l, ~me, field);
        for (uint64_t left = l->users & ~me; left; left &= left - 1)
            l->stale[__builtin_ctzll(left)] |= words;
        l->writers |= me;
        l->written |= words;
        if (field)
            l->taken_by = field;
    }
    return cost;
}

void cache_count_from_now(void)
{
    for (uint32_t i = 0; i < EVENTS_MAX; i++)
        events[i].count = events[i].useless = events[i].waited = 0;
}

void cache_print(void)
{
    static const char *const what[CACHE_EVENTS] = {"read", "write", "upgrade"};
    const char *comma = "";

    printf("[");
    for (uint32_t i = 0; i < EVENTS_MAX; i++) {
        const struct event *e = &events[i];
        char field[64], lost_to[64];

        if (e->count == 0)
            continue;
        fields_name(e->field, field, sizeof(field));
        fields_name(e->lost_to, lost_to, sizeof(lost_to));
        printf("%s\n{\"field\": \"%s\", \"lost_to\": \"%s\", \"what\": \"%s\", \"site\": %u, "
               "\"count\": %llu, \"useless\": %llu, \"waited_ns\": %llu}",
               comma, field, lost_to, what[e->what], e->site, (unsigned long long)e->count,
               (unsigned long long)e->useless, (unsigned long long)e->waited);
        comma = ",";
    }
    printf("]");
}

bool cache_wrote(uint64_t line)
{
    return lines[line].writers != 0;
}
