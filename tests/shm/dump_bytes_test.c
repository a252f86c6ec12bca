/*
 * tests/shm/dump_bytes_test.c - what is in the file: cut, changed, of later and earlier versions,
 * written by hand, made up at random. It is refused in words, or what came of it is valid.
 */
#include "shm/dump.h"

#include "base/err.h"
#include "shm/dumpfields.h"
#include "tests/shm/crowd.h"
#include "tests/shm/differ.h"
#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNS = 24, MADE_UP = 4000 };

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
    struct region *r = crowd_fresh(100, CONNS);
    unsigned taken = 0, silent = 0;
    struct crowd c;
    struct bytes b;
    int fd, pipes[2];

    crowd_small(&c);
    fd = crowd_dump(c.r);
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
    is_int(try_bytes(r, "dflockd\n and more than sixteen bytes", 32, &out), -EINVAL,
           "another file");
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
    struct region *r = crowd_fresh(100, CONNS);
    struct crowd c;
    size_t at = 16;
    struct rec rec;
    uint32_t *slot;
    int fd;

    crowd_small(&c);
    fd = crowd_dump(c.r);
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
    r = crowd_fresh(100, CONNS);
    is_int(try_bytes(r, later.p, later.n, &out), 0, "fields and records that need not be known");
    ok(!differ_find(c.r, r, slot, true), "are passed over");
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
        r = crowd_fresh(100, CONNS);
        is_int(try_bytes(r, later.p, later.n, &out), ERR_VERSION, "%s that must be known: %s",
               which ? "a field" : "a record", out.why);
        region_destroy(r);
    }
    /* The last field of the words is `draining`: a writer that had none. */
    memcpy(later.p, b.p, later.n = b.n);
    at = 16;
    next_rec(&later, &at, &rec);
    next_rec(&later, &at, &rec);
    memmove(later.p + at - 4, later.p + at, later.n - at);
    later.n -= 4;
    later.p[at - rec.fixed - 12 + 2] -= 4;
    later.p[at - rec.fixed - 12 + 4] -= 4;
    digest(&later);
    r = crowd_fresh(100, CONNS);
    is_int(try_bytes(r, later.p, later.n, &out), 0, "a field that an earlier version did not have");
    region_destroy(r);
    /* Written before the machine was started: one digit of the boot id. */
    memcpy(later.p, b.p, later.n = b.n);
    later.p[16 + 12 + 8 * 3 + 4 * 2] ^= 1;
    digest(&later);
    r = crowd_fresh(100, CONNS);
    is_int(try_bytes(r, later.p, later.n, &out), ERR_STALE, "of another boot: %s", out.why);
    region_destroy(r);
    free(slot);
    free(b.p);
    free(later.p);
    close(fd);
    crowd_free(&c);
}

/* Written by hand ----------------------------------------------------------------------------- */

static struct dump_out hand;

static void put_beginning(void)
{
    struct dump_origin origin = {0};
    struct dump_region words = {.fence_next = 100, .fence_limit = 1000, .conn_id_next = 10};
    struct region *r = crowd_fresh(1, 1);

    memcpy(origin.boot_id, r->boot_id, sizeof(origin.boot_id));
    region_destroy(r);
    dumpfile_put(&hand, &dump_origin_kind, &origin, 0);
    dumpfile_put(&hand, &dump_region_kind, &words, 0);
}

static struct dump_conn a_conn(uint32_t slot)
{
    return (struct dump_conn){.slot = slot,
                              .c = {.id = slot, .state = CONN_OPEN, .family = AF_UNIX}};
}

static void put_conn(uint32_t slot)
{
    struct dump_conn d = a_conn(slot);

    dumpfile_put(&hand, &dump_conn_kind, &d, 0);
}

static void put_conn_of(struct conn c)
{
    struct dump_conn d = {.slot = 1, .c = c};

    d.c.family = AF_UNIX;
    dumpfile_put(&hand, &dump_conn_kind, &d, 0);
}

static void put_key(const char *key, bool idle)
{
    struct snapshot_resource r = {.limit = 1, .idle = idle};

    dumpfile_put(&hand, &dump_resource_kind, &r, (uint32_t)strlen(key));
    dumpfile_bytes(&hand, key, strlen(key));
}

static void put_node(uint8_t state, uint32_t owner, uint64_t order)
{
    struct snapshot_node n = {.conn_id = owner,
                              .owner = owner,
                              .order = order,
                              .state = state,
                              .flags = state == NODE_WAITING ? NODE_BLOCKED : 0};

    dumpfile_put(&hand, &dump_node_kind, &n, 0);
}

/* A connection with a ring of `in` bytes, of which `used` are unread; and so for what is unsent. */
static void put_rings(uint32_t in, uint64_t used, uint32_t out, uint64_t unsent)
{
    static char bytes[3 * IOBUF_IN];
    struct dump_conn d = a_conn(1);

    d.buffered = 1;
    d.in_bytes = in;
    d.c.in_tail = used;
    d.c.out_tail = unsent;
    dumpfile_put(&hand, &dump_conn_kind, &d, in + out);
    dumpfile_bytes(&hand, bytes, in + out);
}

static void nothing(void)
{
}

static void all_right(void)
{
    put_rings(IOBUF_IN, 7, 3, 3);
    put_conn(2);
    put_key("key", false);
    put_node(NODE_HELD, 2, 5);
    put_key("idle", true);
}

static void two_beginnings(void)
{
    put_beginning();
}

static void one_slot(void)
{
    put_conn(1);
    put_conn(1);
}

static void no_slot(void)
{
    put_conn(0);
}

static void far_slot(void)
{
    put_conn(1u << 23);
}

static void more_unread(void)
{
    put_rings(100, 101, 0, 0);
}

static void fewer_unsent(void)
{
    put_rings(IOBUF_IN, 0, 10, 9);
}

static void more_unsent(void)
{
    put_rings(IOBUF_IN, 0, 10, 1000000);
}

static void backwards(void)
{
    put_rings(IOBUF_IN, UINT64_MAX - 5, 0, 0);
}

static void large_ring(void)
{
    put_rings(2 * IOBUF_IN, IOBUF_IN + 1, 0, 0);
}

static void larger_ring_little_in_it(void)
{
    put_rings(2 * IOBUF_IN, IOBUF_IN, 0, 0);
}

static void large_output(void)
{
    put_rings(IOBUF_IN, 0, IOBUF_OUT + 1, IOBUF_OUT + 1);
}

static void two_requests(void)
{
    put_conn(1);
    put_conn(2);
    put_key("a", false);
    put_node(NODE_HELD, 2, 5);
    put_node(NODE_WAITING, 1, 1);
    put_key("b", false);
    put_node(NODE_HELD, 2, 6);
    put_node(NODE_WAITING, 1, 1);
}

static void of_no_key(void)
{
    put_conn(1);
    put_node(NODE_HELD, 1, 5);
}

static void of_an_idle_key(void)
{
    put_conn(1);
    put_key("key", true);
    put_node(NODE_HELD, 1, 5);
}

static void of_no_connection(void)
{
    put_key("key", false);
    put_node(NODE_HELD, 1, 5);
}

static void used_by_nobody(void)
{
    put_key("key", false);
}

static void empty_key(void)
{
    put_key("", true);
}

static void idle_twice(void)
{
    put_key("key", true);
    put_key("key", true);
}

static void lapsed_among_them(void)
{
    put_conn(1);
    put_key("key", false);
    put_node(NODE_LAPSED, 1, 5);
}

static void lapsed_of_no_key(void)
{
    struct dump_lapsed l = {
        .node = {
            .conn_id = 1, .owner = 1, .order = 5, .state = NODE_LAPSED, .flags = NODE_TWO_PHASE}};

    put_conn(1);
    dumpfile_put(&hand, &dump_lapsed_kind, &l, 3);
    dumpfile_bytes(&hand, "key", 3);
}

static void too_many_workers(void)
{
    struct dump_worker w = {.worker = WORKER_MAX};

    dumpfile_put(&hand, &dump_worker_kind, &w, 0);
}

static void test_by_hand(void)
{
    static const struct {
        const char *name;
        void (*write)(void);
        int err;
        struct conn c; /* without a function: a connection like this */
    } rows[] = {
        {.name = "nothing", .write = nothing, .err = 0},
        {.name = "a little of everything", .write = all_right, .err = 0},
        {.name = "two beginnings", .write = two_beginnings, .err = ERR_CORRUPT},
        {.name = "two connections in one slot", .write = one_slot, .err = ERR_CORRUPT},
        {.name = "a connection in slot 0", .write = no_slot, .err = ERR_CORRUPT},
        {.name = "one in a slot that no server has", .write = far_slot, .err = ERR_CORRUPT},
        {.name = "one whose id has not been given yet",
         .err = ERR_CORRUPT,
         .c = {.id = 10, .state = CONN_OPEN}},
        {.name = "one of a worker that cannot be",
         .err = ERR_CORRUPT,
         .c = {.id = 1, .state = CONN_OPEN, .worker = WORKER_MAX}},
        {.name = "one without an id", .err = ERR_CORRUPT, .c = {.id = 0, .state = CONN_OPEN}},
        {.name = "one in a free slot", .err = ERR_CORRUPT, .c = {.id = 1, .state = CONN_FREE}},
        {.name = "one in an unknown state",
         .err = ERR_CORRUPT,
         .c = {.id = 1, .state = CONN_ORPHANED + 1}},
        {.name = "unread bytes, and no buffer",
         .err = ERR_CORRUPT,
         .c = {.id = 1, .state = CONN_OPEN, .in_tail = 5}},
        {.name = "more unread than there is", .write = more_unread, .err = ERR_CORRUPT},
        {.name = "less unsent than there is", .write = fewer_unsent, .err = ERR_CORRUPT},
        {.name = "more unsent than there is", .write = more_unsent, .err = ERR_CORRUPT},
        {.name = "a ring that runs backwards", .write = backwards, .err = ERR_CORRUPT},
        {.name = "more unread than our rings hold", .write = large_ring, .err = ERR_FULL},
        {.name = "a larger ring than ours, and not too much in it",
         .write = larger_ring_little_in_it,
         .err = 0},
        {.name = "more unsent than our rings hold", .write = large_output, .err = ERR_FULL},
        {.name = "two blocked requests of one connection",
         .write = two_requests,
         .err = ERR_CORRUPT},
        {.name = "a holder before any key", .write = of_no_key, .err = ERR_CORRUPT},
        {.name = "a holder of an idle key", .write = of_an_idle_key, .err = ERR_CORRUPT},
        {.name = "a holder whose connection is not there",
         .write = of_no_connection,
         .err = ERR_CORRUPT},
        {.name = "a key in use by nobody", .write = used_by_nobody, .err = ERR_CORRUPT},
        {.name = "an empty key", .write = empty_key, .err = ERR_CORRUPT},
        {.name = "an idle key twice", .write = idle_twice, .err = ERR_CORRUPT},
        {.name = "a lapsed grant among holders", .write = lapsed_among_them, .err = ERR_CORRUPT},
        {.name = "a lapsed grant of no key", .write = lapsed_of_no_key, .err = ERR_CORRUPT},
        {.name = "too many workers", .write = too_many_workers, .err = ERR_FULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct region *r = crowd_fresh(10, 10);
        int fd = memfd_create("by hand", MFD_CLOEXEC);
        struct dump_result out;
        const char *what = NULL;
        int err;

        dumpfile_begin(&hand, fd);
        put_beginning();
        if (rows[i].write)
            rows[i].write();
        else
            put_conn_of(rows[i].c);
        if (dumpfile_end(&hand) != 0)
            bail_out("the dump cannot be written");
        err = dump_read(r, fd, &out);
        is_int(err, rows[i].err, "%s: %s", rows[i].name, err ? out.why : "taken");
        if (!err)
            what = differ_invalid(r);
        if (what)
            ok(false, "%s", what);
        dump_forget(&out);
        region_destroy(r);
        close(fd);
    }
}

/* All that follows is judged by the origin and the words: nothing may come before them. */
static void test_no_beginning(void)
{
    struct dump_origin origin = {0};
    struct dump_region words = {.conn_id_next = 10};
    struct region *r = crowd_fresh(10, 10);
    struct dump_result out;

    for (unsigned which = 0; which < 2; which++) {
        int fd = memfd_create("by hand", MFD_CLOEXEC);

        memcpy(origin.boot_id, r->boot_id, sizeof(origin.boot_id));
        dumpfile_begin(&hand, fd);
        if (which)
            dumpfile_put(&hand, &dump_origin_kind, &origin, 0);
        else
            dumpfile_put(&hand, &dump_region_kind, &words, 0);
        put_conn(1);
        if (dumpfile_end(&hand) != 0)
            bail_out("the dump cannot be written");
        is_int(dump_read(r, fd, &out), ERR_CORRUPT, "without its %s: %s",
               which ? "words" : "origin", out.why);
        dump_forget(&out);
        close(fd);
    }
    region_destroy(r);
}

/* With a checksum that is right and a content that is not: refused, or a region that is whole. */
static void test_made_up(void)
{
    uint64_t n = MADE_UP, taken = 0, wrong = 0;
    const char *scale = getenv("DFLOCKD_TEST_SCALE");
    struct bytes b, bad;
    struct crowd c;
    int fd;

    crowd_small(&c);
    fd = crowd_dump(c.r);
    b = bytes_of(fd);
    bad = (struct bytes){malloc(b.n + 65536), b.n};
    n = scale ? n * strtoull(scale, NULL, 10) / 100 : n;
    for (uint64_t i = 0; i < n; i++) {
        struct region *r = crowd_fresh(100, 8);
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
            what = differ_invalid(r);
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

int main(void)
{
    proc_seed();
    test_cut_and_changed();
    test_other_versions();
    test_by_hand();
    test_no_beginning();
    test_made_up();
    return done_testing();
}
