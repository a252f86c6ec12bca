/*
 * tests/shm/dump_test.c - a region goes into a dump and comes out in another one: field by field, of
 * other sizes, through a program of another layout; and what was cut, changed, or made up.
 */
#include "shm/dump.h"

#include "base/err.h"
#include "shm/caps.h"
#include "shm/dumpfields.h"
#include "tests/shm/crowd.h"
#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONNS = 24, STEPS = 1500, TABLES = 12, AFTER = 300, MADE_UP = 4000 };

static const struct region_limits normal = {.max_locks = 100, .max_conns = CONNS, .max_nodes = 2000};

static int dump_of(struct region *r)
{
    int fd = memfd_create("dump", MFD_CLOEXEC);

    if (fd < 0 || dump_write(r, fd) != 0)
        bail_out("the dump cannot be written");
    return fd;
}

static struct region *fresh(uint32_t locks, uint32_t conns)
{
    struct region_limits limits = {.max_locks = locks, .max_conns = conns, .max_nodes = 2000};
    int err;
    struct region *r = region_create(&limits, &err);

    if (!r)
        bail_out("no region: %d", err);
    return r;
}

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
    struct region *r = fresh(locks, conns);
    struct crowd twin;
    struct dump_result out;
    int fd = dump_of(c->r);
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
    what = crowd_differs(c->r, r, out.slot, true);
    ok(!what, "all is there: %s", what ? what : "nothing differs");
    close(fd);
    c->r->fence_limit = r->fence_limit = UINT64_MAX;
    crowd_join(&twin, r, c->now);
    for (unsigned i = 0; i < AFTER; i++)
        apart += !crowd_step(c, &twin, out.slot);
    is_u64(apart, 0, "both go on with the same answers");
    what = crowd_differs(c->r, r, out.slot, false);
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

/* A region with little in it, by hand -------------------------------------------------------- */

static struct region *small(struct crowd *c)
{
    struct conn *conn;
    struct tx tx;
    struct table_key key;

    crowd_make(c, &normal, 6);
    crowd_take(c, 1, KIND_LOCK, "held", 4, 1, false);
    crowd_take(c, 2, KIND_LOCK, "held", 4, 1, false); /* waits */
    crowd_take(c, 3, KIND_LOCK, "held", 4, 1, true);  /* enqueued */
    crowd_take(c, 4, KIND_SEM, "sem", 3, 3, false);
    crowd_take(c, 5, KIND_SEM, "sem", 3, 3, true);
    crowd_take(c, 5, KIND_LOCK, "tomb", 4, 1, true);
    crowd_take(c, 5, KIND_LOCK, "idle", 4, 1, false);
    key = shared_key(&c->sh[0], KIND_LOCK, "tomb", 4);
    shared_begin(&c->sh[0], &tx, table_shard_of(key.hash), c->now);
    table_evict(&tx, &key, 0);
    shared_end(&c->sh[0], &tx);
    key = shared_key(&c->sh[0], KIND_LOCK, "idle", 4);
    shared_begin(&c->sh[0], &tx, table_shard_of(key.hash), c->now);
    table_evict(&tx, &key, 0);
    shared_end(&c->sh[0], &tx);
    conn = conns_slot(c->r, 6);
    if (!iobufs_attach(&c->bufs[conn->worker], conn))
        bail_out("no buffer");
    memcpy(conns_in(c->r, conn), "ping\n\n\n", 7);
    conn->in_tail = 7;
    conns_put(c->r, conn, "ok\n", 3);
    conn->out_tail = 3;
    return c->r;
}

static void test_too_small(void)
{
    struct dump_result out;
    struct region *r;
    struct crowd c;
    char key[8];
    int fd;

    small(&c);
    for (unsigned i = 0; i < 40; i++) /* all but the last 10 idle */
        crowd_take(&c, 6, KIND_LOCK, key, (uint32_t)snprintf(key, sizeof(key), "k%02u", i), 1, false);
    for (unsigned i = 0; i < 30; i++) {
        struct table_key k = shared_key(&c.sh[0], KIND_LOCK, key,
                                        (uint32_t)snprintf(key, sizeof(key), "k%02u", i));
        struct tx tx;

        c.now++;
        shared_begin(&c.sh[0], &tx, table_shard_of(k.hash), c.now);
        table_evict(&tx, &k, 0);
        shared_end(&c.sh[0], &tx);
    }
    fd = dump_of(c.r);
    r = fresh(12, 6); /* 3 and 10 are in use, 31 idle */
    is_int(read_into(r, fd, &out), ERR_FULL, "too few locks");
    dump_forget(&out);
    region_destroy(r);
    r = fresh(20, 6);
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
    r = fresh(100, 5);
    is_int(read_into(r, fd, &out), ERR_FULL, "too few connections");
    dump_forget(&out);
    region_destroy(r);
    close(fd);
    conns_free(c.r, 4); /* its slot of the semaphore is nobody's then: a dump that cannot be */
    fd = dump_of(c.r);
    r = fresh(100, 5);
    is_int(read_into(r, fd, &out), ERR_CORRUPT, "a holder of a connection that is not there");
    dump_forget(&out);
    region_destroy(r);
    close(fd);
    crowd_free(&c);
}

static void test_slots_move(void)
{
    struct dump_result out;
    struct region *r = fresh(100, 5);
    struct crowd c;
    const char *what;
    int fd;

    small(&c);
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
    fd = dump_of(c.r);
    is_int(read_into(r, fd, &out), 0, "five connections in slots up to six, a region of five");
    is_u64(out.slot[6], 3, "the sixth moves into the free slot");
    is_u64(out.slot[5], 5, "others stay where they are");
    is_u64(region_worker(r, 2)->serving, 3 | SERVING_EXECUTES, "who was served is named anew");
    what = crowd_differs(c.r, r, out.slot, true);
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
    struct region *r = fresh(100, CONNS);
    struct crowd c;
    struct dying d = {.c = &c, .ready = proc_memory(sizeof(uint32_t))};
    const char *what;
    pid_t pid;
    int fd;

    small(&c);
    pid = proc_start(evict_and_stop, &d);
    ok(proc_wait_for(d.ready, 1, PROC_DEADLINE_NS), "a worker is in the middle of something");
    proc_kill(pid);
    is_u64(conns_slot(c.r, 6)->in_head, 7, "and has died of it");
    fd = dump_of(c.r);
    is_int(read_into(r, fd, &out), 0, "the dump of what it left");
    is_u64(conns_slot(r, 6)->in_head, 0, "its request is still in the ring");
    is_u64(out.waiters, 2, "and who waited waits");
    what = crowd_differs(c.r, r, out.slot, true);
    ok(!what, "all is there: %s", what ? what : "nothing differs");
    dump_forget(&out);
    region_destroy(r);
    close(fd);
    crowd_free(&c);
}

static void test_damaged_region(void)
{
    struct dump_result out;
    struct region *r = fresh(100, CONNS);
    struct crowd c;
    struct table_key key;
    struct conn *conn;
    int fd;

    small(&c);
    conn = conns_slot(c.r, 6);
    conn->iobuf = 123456;
    fd = dump_of(c.r);
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
    struct region *r = fresh(100, CONNS);
    struct crowd c, twin;
    struct table_key key;
    struct tx tx;
    int fd;
    bool granted = false;

    small(&c);
    c.r->fence_limit = c.r->fence_next;
    key = shared_key(&c.sh[0], KIND_LOCK, "held", 4);
    shared_begin(&c.sh[0], &tx, table_shard_of(key.hash), c.now);
    table_evict(&tx, &key, 0);
    shared_end(&c.sh[0], &tx);
    fd = dump_of(c.r);
    is_int(read_into(r, fd, &out), 0, "a waiter beside a free slot");
    is_u64(out.holders + 1, 3, "nobody was granted it meanwhile");
    ok(!crowd_differs(c.r, r, out.slot, true), "all is there");
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

/* Bytes -------------------------------------------------------------------------------------- */

struct bytes {
    unsigned char *p;
    size_t n;
};

static struct bytes bytes_of(int fd)
{
    struct bytes b = {.n = (size_t)lseek(fd, 0, SEEK_END)};

    b.p = malloc(b.n + 65536);
    if (!b.p || pread(fd, b.p, b.n, 0) != (ssize_t)b.n)
        bail_out("the dump cannot be read back");
    return b;
}

static void digest(struct bytes *b)
{
    EVP_Digest(b->p, b->n - 32, b->p + b->n - 32, NULL, EVP_sha256(), NULL);
}

/* dump_read() of these bytes into `r`. */
static int try_bytes(struct region *r, const void *p, size_t n, struct dump_result *out)
{
    static int fd = -1;
    int err;

    if (fd < 0)
        fd = memfd_create("bytes", MFD_CLOEXEC);
    if (ftruncate(fd, 0) < 0 || pwrite(fd, p, n, 0) != (ssize_t)n)
        bail_out("no memory");
    err = dump_read(r, fd, out);
    dump_forget(out);
    return err;
}

static void test_cut_and_changed(void)
{
    struct dump_result out;
    struct region *r = fresh(100, CONNS);
    unsigned taken = 0, silent = 0;
    struct crowd c;
    struct bytes b;
    int fd, pipes[2];

    small(&c);
    fd = dump_of(c.r);
    b = bytes_of(fd);
    for (size_t n = 0; n < b.n; n++) {
        int err = try_bytes(r, b.p, n, &out);

        taken += err == 0;
        silent += !out.why[0];
        if (err != (n < 16 ? -EINVAL : ERR_CORRUPT))
            ok(false, "cut to %zu bytes: %d", n, err);
    }
    for (size_t i = 0; i < b.n; i++) {
        unsigned char was = b.p[i];

        b.p[i] ^= (unsigned char)(1 << proc_below(8));
        taken += try_bytes(r, b.p, b.n, &out) == 0;
        silent += !out.why[0];
        b.p[i] = was;
    }
    memset(b.p + b.n, 0, 100);
    taken += try_bytes(r, b.p, b.n + 1, &out) == 0;
    taken += try_bytes(r, b.p, b.n + 100, &out) == 0;
    is_u64(taken, 0, "%zu bytes: cut at each, with each changed, with some behind: refused", b.n);
    is_u64(silent, 0, "and it is said why");
    b.p[8] = DUMP_VERSION + 1;
    is_int(try_bytes(r, b.p, b.n, &out), ERR_VERSION, "another form");
    is_int(try_bytes(r, "dflockd\n and more than sixteen bytes", 32, &out), -EINVAL, "another file");
    is_int(try_bytes(r, "", 0, &out), -EINVAL, "an empty file");
    if (pipe(pipes) < 0)
        bail_out("pipe");
    is_int(dump_read(r, pipes[0], &out), -EINVAL, "no file");
    close(pipes[0]);
    close(pipes[1]);
    is_int(dump_read(r, -1, &out), -EBADF, "no descriptor");
    b.p[8] = DUMP_VERSION;
    is_int(try_bytes(r, b.p, b.n, &out), 0, "the region is still as it was: it takes the dump");
    free(b.p);
    close(fd);
    region_destroy(r);
    crowd_free(&c);
}

/* Records ------------------------------------------------------------------------------------- */

struct rec {
    uint16_t type, fixed, need;
    uint32_t nbytes;
};

static uint32_t number(const unsigned char *p, unsigned n)
{
    uint32_t v = 0;

    while (n-- > 0)
        v = v << 8 | p[n];
    return v;
}

/* The record at *at, which moves past it. False at the end record. */
static bool next_rec(const struct bytes *b, size_t *at, struct rec *r)
{
    const unsigned char *p = b->p + *at;

    *r = (struct rec){(uint16_t)number(p, 2), (uint16_t)number(p + 2, 2),
                      (uint16_t)number(p + 4, 2), number(p + 8, 4)};
    *at += 12 + (size_t)r->fixed + r->nbytes;
    return r->type != DUMP_TYPE_END;
}

static void insert(struct bytes *b, size_t at, const void *p, size_t n)
{
    memmove(b->p + at + n, b->p + at, b->n - at);
    memcpy(b->p + at, p, n);
    b->n += n;
}

/* A dump as a later version may write it, or an earlier one did. */
static void test_other_versions(void)
{
    static const unsigned char unknown[] = {99, 0, 4, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 2, 3, 4, 5, 6};
    struct dump_result out;
    struct bytes b, later;
    struct region *r = fresh(100, CONNS);
    struct crowd c;
    size_t at = 16;
    struct rec rec;
    uint32_t *slot;
    int fd;

    small(&c);
    fd = dump_of(c.r);
    dump_read(r, fd, &out);
    slot = out.slot;
    region_destroy(r);
    b = bytes_of(fd);
    later = (struct bytes){malloc(b.n * 4), b.n};
    memcpy(later.p, b.p, b.n);
    while (next_rec(&later, &at, &rec)) {
        size_t fields = at - rec.nbytes;

        insert(&later, fields, "\xff\xff\xff", 3);
        later.p[fields - rec.fixed - 12 + 2] = (unsigned char)(rec.fixed + 3);
        later.p[fields - rec.fixed - 12 + 3] = (unsigned char)((rec.fixed + 3) >> 8);
        at += 3;
        insert(&later, at, unknown, sizeof(unknown));
        at += sizeof(unknown);
    }
    /* The origin must be first, the words second: nothing may stand between. */
    at = 16;
    next_rec(&later, &at, &rec);
    memmove(later.p + at, later.p + at + sizeof(unknown), later.n - at - sizeof(unknown));
    later.n -= sizeof(unknown);
    digest(&later);
    r = fresh(100, CONNS);
    is_int(try_bytes(r, later.p, later.n, &out), 0, "fields and records that need not be known");
    ok(!crowd_differs(c.r, r, slot, true), "are passed over");
    region_destroy(r);
    for (unsigned which = 0; which < 2; which++) {
        memcpy(later.p, b.p, later.n = b.n);
        at = 16;
        next_rec(&later, &at, &rec);
        next_rec(&later, &at, &rec);
        if (which == 0) {
            insert(&later, at, unknown, sizeof(unknown));
            later.p[at + 4] = 4;
        } else {
            insert(&later, at, "\xff", 1);
            later.p[at - rec.fixed - 12 + 2]++;
            later.p[at - rec.fixed - 12 + 4]++;
        }
        digest(&later);
        r = fresh(100, CONNS);
        is_int(try_bytes(r, later.p, later.n, &out), ERR_VERSION, "%s that must be known: %s",
               which ? "a field" : "a record", out.why);
        region_destroy(r);
    }
    /* The last field of the words is `grants_from`: a writer that had none. */
    memcpy(later.p, b.p, later.n = b.n);
    at = 16;
    next_rec(&later, &at, &rec);
    next_rec(&later, &at, &rec);
    memmove(later.p + at - 8, later.p + at, later.n - at);
    later.n -= 8;
    later.p[at - rec.fixed - 12 + 2] -= 8;
    later.p[at - rec.fixed - 12 + 4] -= 8;
    digest(&later);
    r = fresh(100, CONNS);
    is_int(try_bytes(r, later.p, later.n, &out), 0, "a field that an earlier version did not have");
    region_destroy(r);
    /* Written before the machine was started: one digit of the boot id. */
    memcpy(later.p, b.p, later.n = b.n);
    later.p[16 + 12 + 8 * 3 + 4 * 2] ^= 1;
    digest(&later);
    r = fresh(100, CONNS);
    is_int(try_bytes(r, later.p, later.n, &out), ERR_STALE, "of another boot: %s", out.why);
    region_destroy(r);
    free(slot);
    free(b.p);
    free(later.p);
    close(fd);
    crowd_free(&c);
}

/* With a checksum that is right and a content that is not: refused, or a region that is whole. */
static void test_made_up(void)
{
    uint64_t n = MADE_UP, taken = 0, wrong = 0;
    const char *scale = getenv("DFLOCKD_TEST_SCALE");
    struct bytes b, bad;
    struct crowd c;
    int fd;

    small(&c);
    fd = dump_of(c.r);
    b = bytes_of(fd);
    bad = (struct bytes){malloc(b.n + 65536), b.n};
    n = scale ? n * strtoull(scale, NULL, 10) / 100 : n;
    for (uint64_t i = 0; i < n; i++) {
        struct region *r = fresh(100, 8);
        struct dump_result out;
        const char *what;

        memcpy(bad.p, b.p, bad.n = b.n);
        for (uint32_t k = 1 + proc_below(3); k > 0; k--) {
            size_t at = 80 + proc_below((uint32_t)b.n - 80 - 44);

            switch (proc_below(4)) {
            case 0:
                bad.p[at] = (unsigned char)proc_random();
                break;
            case 1:
                bad.p[at]++;
                break;
            case 2:
                bad.p[at] = 0;
                break;
            default: /* a piece is lost, or is there twice */
                if (proc_below(2)) {
                    memmove(bad.p + at, bad.p + at + 12, bad.n - at - 12);
                    bad.n -= 12;
                } else {
                    insert(&bad, at, b.p + at, 12);
                }
            }
        }
        digest(&bad);
        if (try_bytes(r, bad.p, bad.n, &out) == 0) {
            taken++;
            what = crowd_invalid(r);
            if (what) {
                diag("made up %" PRIu64 ": %s", i, what);
                wrong++;
            }
        } else if (!out.why[0]) {
            wrong++;
        }
        region_destroy(r);
    }
    is_u64(wrong, 0, "%" PRIu64 " dumps made up, %" PRIu64 " of them possible", n, taken);
    free(b.p);
    free(bad.p);
    close(fd);
    crowd_free(&c);
}

static void test_trial(void)
{
    struct dump_result out;
    struct crowd c;
    int fd;

    small(&c);
    fd = dump_of(c.r);
    is_int(dump_try(fd, &out), 0, "a trial");
    is_u64(out.conns, 6, "says what would come");
    dump_forget(&out);
    if (ftruncate(fd, 100) < 0)
        bail_out("ftruncate");
    is_int(dump_try(fd, &out), ERR_CORRUPT, "or not: %s", out.why);
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
        crowd_take(&c, slot, KIND_LOCK, key,
                   (uint32_t)snprintf(key, sizeof(key), "key-%u", slot), 1, false);
    t[0] = proc_now();
    fd = dump_of(c.r);
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
    ok(!crowd_differs(c.r, r, out.slot, true), "field by field");
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
    test_cut_and_changed();
    test_other_versions();
    test_made_up();
    test_trial();
    test_large();
    return done_testing();
}
