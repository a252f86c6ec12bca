/*
 * tests/supervisor/keeper_test.c - duplicates of sockets, caps, counts by address.
 */
#include "supervisor/keeper.h"

#include "tests/shm/proc.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SLOTS = 8 };

static struct region *r;
static struct keeper k;

static void begin(uint32_t slots, uint32_t max, uint32_t max_per_ip)
{
    struct region_limits limits = {.max_locks = 16, .max_conns = slots, .max_nodes = 64};
    int err;

    if (r) {
        keeper_destroy(&k);
        region_destroy(r);
    }
    r = region_create(&limits, &err);
    if (!r || keeper_init(&k, r, max, max_per_ip) != 0)
        bail_out("no keeper");
}

static int any_fd(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        bail_out("/dev/null: %s", strerror(errno));
    return fd;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static struct address v4(uint8_t last)
{
    return (struct address){.family = AF_INET, .port = 1000, .addr = {192, 0, 2, last}};
}

static uint32_t add(const struct address *from, uint32_t worker)
{
    return keeper_add(&k, any_fd(), from, worker, 5);
}

static void worker_closes(uint32_t slot)
{
    conns_slot(r, slot)->state = CONN_CLOSED;
}

static void test_one(void)
{
    struct address a = v4(1);
    struct owner *o;
    uint64_t first_id;
    uint32_t slot;
    int fd;

    begin(SLOTS, SLOTS, 0);
    is_int(keeper_admits(&k, &a), KEEPER_OK, "an empty keeper admits");
    fd = any_fd();
    slot = keeper_add(&k, fd, &a, 3, 77);
    is_u64(slot, 1, "slot 0 is not used");
    is_u64(conns_slot(r, slot)->state, CONN_OPEN, "the slot is open");
    is_u64(conns_slot(r, slot)->worker, 3, "its worker's");
    is_u64(conns_slot(r, slot)->accepted, 77, "with its time");
    is_u64(conns_slot(r, slot)->port, 1000, "port");
    ok(memcmp(conns_slot(r, slot)->addr, a.addr, 16) == 0 &&
       conns_slot(r, slot)->family == AF_INET, "and address");
    first_id = conns_slot(r, slot)->id;
    o = (struct owner *)(region_base(r) + r->geo.owners) + slot;
    ok(first_id != 0 && o->id == first_id && o->worker == 3, "the table knows its owner");
    ok(k.open == 1 && k.load[3] == 1 && r->nconns == 1, "it is counted");
    keeper_reap(&k, slot);
    ok(is_open(fd) && k.fd[slot] == fd, "an open one is not reaped");
    keeper_reap(&k, 0);
    keeper_reap(&k, SLOTS + 1);
    keeper_reap(&k, UINT32_MAX);
    keeper_reap(&k, 5);
    is_u64(k.open, 1, "slots that are none, or nobody's, are left alone");
    worker_closes(slot);
    keeper_reap(&k, slot);
    ok(!is_open(fd) && k.fd[slot] == 0, "a closed one is");
    ok(k.open == 0 && k.load[3] == 0 && r->nconns == 0, "and not counted any more");
    ok(conns_slot(r, slot)->state == CONN_FREE && conns_slot(r, slot)->id == 0 && o->id == 0,
       "the slot is free");
    keeper_reap(&k, slot);
    is_u64(k.open, 0, "told twice: nothing happens");
    slot = add(&a, 0);
    is_u64(slot, 1, "the slot is used again");
    ok(conns_slot(r, slot)->id > first_id, "for another connection");
}

static void test_full(void)
{
    struct address a = v4(1);
    uint32_t slot = 0;

    begin(SLOTS, SLOTS - 2, 0);
    for (unsigned i = 0; i < SLOTS - 2; i++) {
        is_int(keeper_admits(&k, &a), KEEPER_OK, "connection %u of %d", i + 1, SLOTS - 2);
        slot = add(&a, i % 2);
    }
    is_int(keeper_admits(&k, &a), KEEPER_FULL, "one more than the cap");
    worker_closes(slot);
    is_int(keeper_admits(&k, &a), KEEPER_FULL, "closed and not yet reaped still counts");
    keeper_reap(&k, slot);
    is_int(keeper_admits(&k, &a), KEEPER_OK, "then there is room for one");
    begin(2, 100, 0);
    add(&a, 0);
    add(&a, 0);
    is_int(keeper_admits(&k, &a), KEEPER_FULL, "slots run out before the cap");
}

static void test_per_ip(void)
{
    struct address a = v4(1), b = v4(2), c = {.family = AF_INET6, .addr = {192, 0, 2, 1}};
    struct address u = {.family = AF_UNIX};
    uint32_t s1, s2;

    begin(SLOTS, SLOTS, 2);
    s1 = add(&a, 0);
    a.port = 2000;
    is_int(keeper_admits(&k, &a), KEEPER_OK, "a second one from the same address");
    s2 = add(&a, 1);
    is_int(keeper_admits(&k, &a), KEEPER_FULL_IP, "not a third, the port does not matter");
    is_int(keeper_admits(&k, &b), KEEPER_OK, "one from elsewhere");
    is_int(keeper_admits(&k, &c), KEEPER_OK, "the same bytes in another family differ");
    for (unsigned i = 0; i < 3; i++) {
        is_int(keeper_admits(&k, &u), KEEPER_OK, "Unix sockets are not counted");
        add(&u, 0);
    }
    worker_closes(s1);
    worker_closes(s2);
    keeper_reap(&k, s1);
    is_int(keeper_admits(&k, &a), KEEPER_OK, "one has gone");
    keeper_reap(&k, s2);
    ok(keeper_admits(&k, &a) == KEEPER_OK && !k.by_addr, "both have: nothing is remembered");
    begin(SLOTS, SLOTS, 0);
    for (unsigned i = 0; i < SLOTS; i++)
        add(&a, 0);
    is_int(keeper_admits(&k, &a), KEEPER_FULL, "no cap by address: only the other one");
}

static void test_lost_messages(void)
{
    struct address a = v4(1);
    uint32_t slot[SLOTS];
    int fd[SLOTS];

    begin(SLOTS, SLOTS, 0);
    for (unsigned i = 0; i < SLOTS; i++) {
        slot[i] = add(&a, i % 3);
        fd[i] = k.fd[slot[i]];
    }
    for (unsigned i = 0; i < SLOTS; i += 2)
        worker_closes(slot[i]);
    keeper_reap_all(&k);
    is_u64(k.open, SLOTS / 2, "what was closed without a message is found");
    for (unsigned i = 0; i < SLOTS; i++)
        ok(is_open(fd[i]) == (i % 2 == 1), "connection %u is %s", i, i % 2 ? "there" : "gone");
    is_u64(k.load[0] + k.load[1] + k.load[2], SLOTS / 2, "workers' counts agree");
    is_u64(r->nconns, SLOTS / 2, "and the region's");
}

/* Any order of coming and going: counts as in a naive model. */
static void test_random(void)
{
    enum { N = 64, ROUNDS = 50000, ADDRS = 6, PER_IP = 5 };
    uint32_t from_of[N + 1] = {0}, worker_of[N + 1] = {0}, by_ip[ADDRS] = {0}, load[4] = {0};
    bool used[N + 1] = {false};
    unsigned bad = 0, open_now = 0, full = 0, full_ip = 0;

    begin(N, N - 44, PER_IP);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint32_t ip = proc_below(ADDRS), w = proc_below(4), slot = 1 + proc_below(N);
        struct address a = v4((uint8_t)ip);

        if (proc_below(2)) {
            enum keeper_refusal want = open_now >= N - 44 ? KEEPER_FULL
                                       : by_ip[ip] >= PER_IP ? KEEPER_FULL_IP
                                                             : KEEPER_OK;

            bad += keeper_admits(&k, &a) != want;
            full += want == KEEPER_FULL;
            full_ip += want == KEEPER_FULL_IP;
            if (want != KEEPER_OK)
                continue;
            slot = add(&a, w);
            bad += slot < 1 || slot > N || used[slot];
            used[slot] = true;
            from_of[slot] = ip;
            worker_of[slot] = w;
            by_ip[ip]++;
            load[w]++;
            open_now++;
        } else if (used[slot]) {
            worker_closes(slot);
            if (proc_below(2))
                keeper_reap(&k, slot);
            else
                keeper_reap_all(&k);
            used[slot] = false;
            by_ip[from_of[slot]]--;
            load[worker_of[slot]]--;
            open_now--;
        }
        bad += k.open != open_now || r->nconns != open_now;
        for (unsigned j = 0; j < 4; j++)
            bad += k.load[j] != load[j];
    }
    ok(full > 100 && full_ip > 100, "%u refused by the cap, %u by address", full, full_ip);
    is_u64(bad, 0, "%d random steps", ROUNDS);
}

int main(void)
{
    proc_seed();
    test_one();
    test_full();
    test_per_ip();
    test_lost_messages();
    test_random();
    return done_testing();
}
