/*
 * tests/worker/timers_test.c - deadlines of connections, against a naive model.
 */
#include "tests/shm/proc.h"
#include "tests/tap.h"
#include "worker/worker.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 200, ROUNDS = 400000 };

static struct worker w;

static void begin(void)
{
    free(w.peers);
    free(w.timers.heap);
    memset(&w, 0, sizeof(w));
    w.peers = calloc(SLOTS + 1, sizeof(*w.peers));
    if (!w.peers || timers_init(&w.timers, SLOTS) != 0)
        bail_out("no memory");
}

static void test_few(void)
{
    begin();
    is_u64(timers_next(&w), TIME_NEVER, "no timer: never");
    w.now = TIME_NEVER - 1;
    is_u64(timers_pop(&w), 0, "and none is due");
    w.now = 0;
    timers_remove(&w, 5);
    timers_set(&w, 5, TIME_NEVER);
    is_u64(timers_next(&w), TIME_NEVER, "a deadline that never comes is none");
    timers_set(&w, 5, 100);
    timers_set(&w, 6, 50);
    is_u64(timers_next(&w), 50, "the earliest comes first");
    timers_set(&w, 6, 80);
    is_u64(timers_next(&w), 50, "a later deadline moves nothing");
    timers_set(&w, 5, 20);
    is_u64(timers_next(&w), 20, "an earlier one does");
    w.now = 19;
    is_u64(timers_pop(&w), 0, "not due yet");
    w.now = 20;
    is_u64(timers_pop(&w), 5, "due to the tick");
    is_u64(timers_pop(&w), 0, "once");
    timers_set(&w, 5, 1000);
    is_u64(timers_next(&w), 50, "it may be set anew, later");
    timers_remove(&w, 6);
    timers_remove(&w, 6);
    is_u64(timers_next(&w), 1000, "removed");
    timers_remove(&w, 5);
    is_u64(timers_next(&w), TIME_NEVER, "all gone");
}

/* due[s]: 0 = not set. */
static uint64_t naive_next(const uint64_t *due)
{
    uint64_t next = TIME_NEVER;

    for (uint32_t s = 1; s <= SLOTS; s++)
        if (due[s] && due[s] < next)
            next = due[s];
    return next;
}

static bool heap_is_whole(const uint64_t *due)
{
    uint32_t n = 0;

    for (uint32_t s = 1; s <= SLOTS; s++) {
        uint32_t pos = w.peers[s].timer_pos;

        n += due[s] != 0;
        if ((pos != 0) != (due[s] != 0) ||
            (pos && (pos > w.timers.n || w.timers.heap[pos - 1] != s ||
                     w.peers[s].timer_due != due[s])))
            return false;
    }
    for (uint32_t i = 1; i < w.timers.n; i++)
        if (w.peers[w.timers.heap[i]].timer_due < w.peers[w.timers.heap[(i - 1) / 2]].timer_due)
            return false;
    return n == w.timers.n;
}

static void test_random(void)
{
    uint64_t due[SLOTS + 1] = {0};
    unsigned bad = 0, popped = 0;
    uint32_t most = 0;

    begin();
    w.now = 1000;
    for (unsigned i = 0; i < ROUNDS && !bad; i++) {
        uint32_t s = 1 + proc_below(SLOTS), what = proc_below(8);
        uint64_t at = w.now + proc_below(what == 0 ? 3 : 2000);

        if (what < 5) {
            timers_set(&w, s, at);
            if (!due[s] || at < due[s])
                due[s] = at;
        } else if (what == 5) {
            timers_remove(&w, s);
            due[s] = 0;
        } else {
            w.now += proc_below(10);
            while ((s = timers_pop(&w)) != 0) {
                bad += !due[s] || due[s] > w.now || due[s] != naive_next(due);
                due[s] = 0;
                popped++;
            }
            bad += naive_next(due) <= w.now;
        }
        bad += timers_next(&w) != naive_next(due);
        if (i % 64 == 0)
            bad += !heap_is_whole(due);
        if (w.timers.n > most)
            most = w.timers.n;
    }
    ok(popped > ROUNDS / 50 && most > SLOTS / 4, "%u fired, up to %u at once", popped, most);
    is_u64(bad, 0, "%d random steps as in the model", ROUNDS);
}

int main(void)
{
    proc_seed();
    test_few();
    test_random();
    return done_testing();
}
