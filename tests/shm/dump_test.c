/*
 * tests/shm/dump_test.c - a region goes into a dump and comes out in another one: field by field,
 * of other sizes, through a program of another layout.
 */
#include "shm/dump.h"

#include "base/err.h"
#include "shm/caps.h"
#include "tests/shm/crowd.h"
#include "tests/shm/differ.h"
#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONNS = 24, STEPS = 1500, TABLES = 12, AFTER = 300 };

static const struct region_limits normal = {
    .max_locks = 100, .max_conns = CONNS, .max_nodes = 2000};

/* Reads it; returns the error, having said why. */
static int read_into(struct region *r, int fd, struct dump_result *out)
{
    int err = dump_read(r, fd, out);

    if (err)
        diag("refused: %s", out->why);
    return err;
}

/* The other layout --------------------------------------------------------------------------- */

/* What a program of another layout makes of the dump. */
static int relayed(int fd, const char *locks, const char *conns)
{
    const char *top = getenv("top_builddir");
    int back = memfd_create("relayed", MFD_CLOEXEC), status;
    char path[4096];
    pid_t pid;

    snprintf(path, sizeof(path), "%s/tests/upgrade/relay", top ? top : ".");
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        dup2(fd, 0);
        dup2(back, 1);
        execl(path, path, locks, conns, NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        bail_out("%s cannot be run", path);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a program of another layout takes it");
    return back;
}

/* Round trips -------------------------------------------------------------------------------- */

static void round_trip(struct crowd *c, uint32_t locks, uint32_t conns, bool other_layout)
{
    struct region *r = crowd_fresh(locks, conns);
    struct crowd twin;
    struct dump_result out;
    int fd = crowd_dump(c->r);
    const char *what;
    unsigned apart = 0;

    if (other_layout) {
        int back = relayed(fd, "300", "77");

        close(fd);
        fd = back;
    }
    if (!ok(read_into(r, fd, &out) == 0, "%u locks, %u connections", locks, conns)) {
        close(fd);
        region_destroy(r);
        return;
    }
    what = differ_find(c->r, r, out.slot, true);
    ok(!what, "all is there: %s", what ? what : "nothing differs");
    close(fd);
    c->r->fence_limit = r->fence_limit = UINT64_MAX;
    crowd_join(&twin, r, c->now);
    for (unsigned i = 0; i < AFTER; i++)
        apart += !crowd_step(c, &twin, out.slot);
    is_u64(apart, 0, "both go on with the same answers");
    what = differ_find(c->r, r, out.slot, false);
    ok(!what, "and come to the same: %s", what ? what : "nothing differs");
    dump_forget(&out);
    crowd_free(&twin);
}

static void test_round_trips(void)
{
    for (unsigned i = 0; i < TABLES; i++) {
        struct crowd c;

        crowd_make(&c, &normal, CONNS - i % 3);
        for (unsigned k = 0; k < STEPS; k++)
            crowd_step(&c, NULL, NULL);
        crowd_decorate(&c);
        switch (i % 4) {
        case 0:
            round_trip(&c, 100, CONNS, false);
            break;
        case 1:
            round_trip(&c, 5000, 300, false);
            break;
        case 2:
            round_trip(&c, CROWD_KEYS + 1, CONNS, false); /* one unit to try with */
            break;
        default:
            round_trip(&c, 100, CONNS + 5, true);
        }
        crowd_free(&c);
    }
}

static void test_too_small(void)
{
    struct dump_result out;
    struct region *r;
    struct crowd c;
    char key[8];
    int fd;

    crowd_small(&c);
    for (unsigned i = 0; i < 40; i++) /* all but the last 10 idle */
        crowd_take(&c, 6, KIND_LOCK, key, (uint32_t)snprintf(key, sizeof(key), "k%02u", i), 1,
                   false);
    for (unsigned i = 0; i < 30; i++) {
        struct table_key k =
            shared_key(&c.sh[0], KIND_LOCK, key, (uint32_t)snprintf(key, sizeof(key), "k%02u", i));
        struct tx tx;

        c.now++;
        shared_begin(&c.sh[0], &tx, table_shard_of(k.hash), c.now);
        table_evict(&tx, &k, 0);
        shared_end(&c.sh[0], &tx);
    }
    fd = crowd_dump(c.r);
    r = crowd_fresh(12, 6); /* 3 and 10 are in use, 31 idle */
    is_int(read_into(r, fd, &out), ERR_FULL, "too few locks");
    dump_forget(&out);
    region_destroy(r);
    r = crowd_fresh(20, 6);
    is_int(read_into(r, fd, &out), 0, "enough for what is in use");
    is_u64(out.collected, 24, "the longest idle are collected");
    is_u64(out.resources, 20, "the others are there");
    is_u64(caps_free(r), 0, "the table is full");
    for (unsigned i = 0; i < 30; i++) {
        struct shared sh;
        struct table_key k;
        struct tx tx;

        shared_attach(&sh, r, 0);
        k = shared_key(&sh, KIND_LOCK, key, (uint32_t)snprintf(key, sizeof(key), "k%02u", i));
        shared_begin(&sh, &tx, table_shard_of(k.hash), c.now);
        if ((table_find(&tx, &k) != 0) != (i >= 23))
            ok(false, "key %u is there, or is not", i);
        shared_end(&sh, &tx);
    }
    dump_forget(&out);
    region_destroy(r);
    r = crowd_fresh(100, 5);
    is_int(read_into(r, fd, &out), ERR_FULL, "too few connections");
    dump_forget(&out);
    region_destroy(r);
    close(fd);
    conns_free(c.r, 4); /* its slot of the semaphore is nobody's then: a dump that cannot be */
    fd = crowd_dump(c.r);
    r = crowd_fresh(100, 5);
    is_int(read_into(r, fd, &out), ERR_CORRUPT, "a holder of a connection that is not there");
    dump_forget(&out);
    region_destroy(r);
    close(fd);
    crowd_free(&c);
}

static void test_slots_move(void)
{
    struct dump_result out;
    struct region *r = crowd_fresh(100, 5);
    struct crowd c;
    const char *what;
    int fd;

    crowd_small(&c);
    /* Nothing is owned by 6, and 3 goes: 6 must come into its slot. */
    {
        struct tx tx;

        for (uint32_t shard = 0; shard < SHARD_COUNT; shard++) {
            shared_begin(&c.sh[0], &tx, shard, c.now);
            while (table_drop_owner(&tx, 3, true, false))
                shared_step(&tx);
            shared_end(&c.sh[0], &tx);
        }
    }
    conns_free(c.r, 3);
    c.r->nconns--;
    region_worker(c.r, 2)->serving = 6 | SERVING_EXECUTES;
    fd = crowd_dump(c.r);
    is_int(read_into(r, fd, &out), 0, "five connections in slots up to six, a region of five");
    ok(out.nslots >= 6 && out.slot[0] == 0 && out.slot[3] == 0 && out.slot[out.nslots] == 0,
       "slots that nobody had are nowhere");
    is_u64(out.slot[6], 3, "the sixth moves into the free slot");
    is_u64(out.slot[5], 5, "others stay where they are");
    is_u64(region_worker(r, 2)->serving, 3 | SERVING_EXECUTES, "who was served is named anew");
    what = differ_find(c.r, r, out.slot, true);
    ok(!what, "all is there: %s", what ? what : "nothing differs");
    dump_forget(&out);
    region_destroy(r);
    close(fd);
    crowd_free(&c);
}

struct dying {
    struct crowd *c;
    uint32_t *ready;
};

static void evict_and_stop(void *arg)
{
    struct dying *d = arg;
    struct shared *sh = &d->c->sh[1];
    struct table_key key = shared_key(sh, KIND_LOCK, "held", 4);
    struct tx tx;

    shared_begin(sh, &tx, table_shard_of(key.hash), d->c->now);
    table_evict(&tx, &key, 0); /* its slot passes on to who waits; and is never committed */
    JOURNAL_SET(&sh->slot->journal, region_base(d->c->r), conns_slot(d->c->r, 6)->in_head, 7);
    __atomic_store_n(d->ready, 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
}

/* What a worker that was killed in its transactions leaves is rolled back on the way. */
static void test_open_transactions(void)
{
    struct dump_result out;
    struct region *r = crowd_fresh(100, CONNS);
    struct crowd c;
    struct dying d = {.c = &c, .ready = proc_memory(sizeof(uint32_t))};
    const char *what;
    pid_t pid;
    int fd;

    crowd_small(&c);
    pid = proc_start(evict_and_stop, &d);
    ok(proc_wait_for(d.ready, 1, PROC_DEADLINE_NS), "a worker is in the middle of something");
    proc_kill(pid);
    is_u64(conns_slot(c.r, 6)->in_head, 7, "and has died of it");
    fd = crowd_dump(c.r);
    is_int(read_into(r, fd, &out), 0, "the dump of what it left");
    is_u64(conns_slot(r, 6)->in_head, 0, "its request is still in the ring");
    is_u64(out.waiters, 2, "and who waited waits");
    what = differ_find(c.r, r, out.slot, true);
    ok(!what, "all is there: %s", what ? what : "nothing differs");
    dump_forget(&out);
    region_destroy(r);
    close(fd);
    crowd_free(&c);
}

static void test_damaged_region(void)
{
    struct dump_result out;
    struct region *r = crowd_fresh(100, CONNS);
    struct crowd c;
    struct table_key key;
    struct conn *conn;
    int fd;

    crowd_small(&c);
    conn = conns_slot(c.r, 6);
    conn->iobuf = 123456;
    fd = crowd_dump(c.r);
    is_int(read_into(r, fd, &out), 0, "a connection whose record was damaged");
    conn = conns_slot(r, 6);
    ok(conn->phase == PHASE_DROP && (conn->flags & CONN_LOST) && conn->id == 6,
       "is given up, what it holds is kept");
    dump_forget(&out);
    region_destroy(r);
    close(fd);
    ok(!dump_hindered(c.r), "nothing hinders a dump");
    key = shared_key(&c.sh[0], KIND_LOCK, "held", 4);
    table_shard(&c.sh[0].table, table_shard_of(key.hash))->state = SHARD_QUARANTINED;
    ok(dump_hindered(c.r), "a shard beyond repair does");
    fd = memfd_create("dump", MFD_CLOEXEC);
    is_int(dump_write(c.r, fd), ERR_CORRUPT, "and is refused");
    close(fd);
    crowd_free(&c);
}

/* A shard in which a slot stayed free beside a waiter, because there was no fence. */
static void test_starved(void)
{
    struct dump_result out;
    struct region *r = crowd_fresh(100, CONNS);
    struct crowd c, twin;
    struct table_key key;
    struct tx tx;
    int fd;
    bool granted = false;

    crowd_small(&c);
    c.r->fence_limit = c.r->fence_next;
    key = shared_key(&c.sh[0], KIND_LOCK, "held", 4);
    shared_begin(&c.sh[0], &tx, table_shard_of(key.hash), c.now);
    table_evict(&tx, &key, 0);
    shared_end(&c.sh[0], &tx);
    fd = crowd_dump(c.r);
    is_int(read_into(r, fd, &out), 0, "a waiter beside a free slot");
    is_u64(out.holders + 1, 3, "nobody was granted it meanwhile");
    ok(!differ_find(c.r, r, out.slot, true), "all is there");
    r->fence_limit = UINT64_MAX;
    crowd_join(&twin, r, c.now);
    for (uint32_t shard = 0; shard < SHARD_COUNT; shard++) {
        if (table_next_due(&twin.sh[0].table, shard) > c.now + 10 * UINT64_C(1000000000))
            continue; /* as workers do: nothing is due */
        shared_begin(&twin.sh[0], &tx, shard, c.now);
        while (table_expire(&tx))
            shared_step(&tx);
        granted |= tx.ngrants > 0;
        shared_end(&twin.sh[0], &tx);
    }
    ok(granted, "it is, once there are fences");
    dump_forget(&out);
    close(fd);
    crowd_free(&twin);
    crowd_free(&c);
}

static void test_trial(void)
{
    static const struct region_limits few = {.max_locks = 2, .max_conns = CONNS};
    struct dump_result out;
    struct crowd c;
    int fd;

    crowd_small(&c);
    fd = crowd_dump(c.r);
    is_int(dump_try(fd, &normal, &out), 0, "a trial");
    is_u64(out.conns, 6, "says what would come");
    dump_forget(&out);
    is_int(dump_try(fd, &few, &out), ERR_FULL, "or what has no room: %s", out.why);
    dump_forget(&out);
    if (ftruncate(fd, 100) < 0)
        bail_out("ftruncate");
    is_int(dump_try(fd, &normal, &out), ERR_CORRUPT, "or not: %s", out.why);
    dump_forget(&out);
    close(fd);
    crowd_free(&c);
}

/* 100,000 keys and 10,000 connections: how long an upgrade keeps everybody waiting. */
static void test_large(void)
{
    struct region_limits limits = {.max_locks = 110000, .max_conns = 10000};
    struct dump_result out;
    struct region *r;
    struct crowd c;
    uint64_t t[4];
    char key[16];
    int fd, err;

    crowd_make(&c, &limits, 10000);
    for (uint32_t i = 0; i < 100000; i++)
        crowd_take(&c, 1 + i % 10000, KIND_LOCK, key,
                   (uint32_t)snprintf(key, sizeof(key), "key-%u", i), 1, false);
    for (uint32_t slot = 1; slot <= 5000; slot++) /* they wait */
        crowd_take(&c, slot, KIND_LOCK, key, (uint32_t)snprintf(key, sizeof(key), "key-%u", slot),
                   1, false);
    t[0] = proc_now();
    fd = crowd_dump(c.r);
    t[1] = proc_now();
    r = region_create(&limits, &err);
    t[2] = proc_now();
    is_int(read_into(r, fd, &out), 0, "a large region");
    t[3] = proc_now();
    diag("%u connections, %" PRIu64 " keys, %" PRIu64 " holders, %" PRIu64 " waiters, %lld bytes: "
         "written in %" PRIu64 " ms, read in %" PRIu64 " ms",
         out.conns, out.resources, out.holders, out.waiters, (long long)lseek(fd, 0, SEEK_END),
         (t[1] - t[0]) / 1000000, (t[3] - t[2]) / 1000000);
    ok(out.holders == 100000 && out.waiters == 5000 && out.conns == 10000, "all is there");
    ok(!differ_find(c.r, r, out.slot, true), "field by field");
    dump_forget(&out);
    region_destroy(r);
    close(fd);
    crowd_free(&c);
}

int main(void)
{
    proc_seed();
    test_round_trips();
    test_too_small();
    test_slots_move();
    test_open_transactions();
    test_damaged_region();
    test_starved();
    test_trial();
    test_large();
    return done_testing();
}
