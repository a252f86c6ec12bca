/*
 * tests/fuzz/dump.c - a dump with any bytes: refused in words, or what comes of it is valid.
 *
 * The input is the dump. Its checksum is put right, and so is the boot that it is of, else nothing
 * behind them would be reached; but for inputs of an odd first byte, which are read as they are.
 */
#include "base/err.h"
#include "core/check.h"
#include "shm/conns.h"
#include "shm/dump.h"
#include "shm/dumpfields.h"
#include "tests/fuzz/fuzz.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char fuzz_target[] = "dump";

enum {
    HEAD = 16, RECORD = 12, DIGEST = 32,
    BOOT_ID = HEAD + RECORD + 32, /* in the first record, DUMP_ORIGIN: see dumpfields.c */
};

static const struct region_limits limits = {
    .max_locks = 128, .max_conns = 24, .max_sessions = 8, .max_nodes = 400};

static void put_right(uint8_t *bytes, size_t n, const struct region *r)
{
    if (n >= BOOT_ID + sizeof(r->boot_id))
        memcpy(bytes + BOOT_ID, r->boot_id, sizeof(r->boot_id));
    if (n >= HEAD + DIGEST)
        EVP_Digest(bytes, n - DIGEST, bytes + n - DIGEST, NULL, EVP_sha256(), NULL);
}

static void check_region(struct region *r)
{
    struct check_report found;
    struct table t = {0};

    table_attach(&t, r, &r->geo);
    t.fence_next = &r->fence_next;
    t.fence_limit = &r->fence_limit;
    for (uint32_t s = 0; s < SHARD_COUNT; s++)
        FUZZ_REQUIRE(check_shard(&t, s, &found) == 0, "shard %u: I%d at %u: %s", s, found.invariant,
                     found.index, found.what);
    for (uint32_t slot = 1; slot <= limits.max_conns + limits.max_sessions; slot++)
        FUZZ_REQUIRE(conns_slot(r, slot)->state == CONN_FREE || conns_possible(r, slot),
                     "connection %u cannot be", slot);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    struct dump_result out;
    struct region *r;
    uint8_t *bytes;
    int err;

    if (size == 0)
        return 0;
    if (fd < 0)
        fd = memfd_create("dump", MFD_CLOEXEC);
    r = region_create(&limits, &err);
    bytes = malloc(size - 1 + !(size - 1));
    FUZZ_REQUIRE(r && bytes, "no memory");
    memcpy(bytes, data + 1, size - 1);
    if (data[0] % 2 == 0)
        put_right(bytes, size - 1, r);
    FUZZ_REQUIRE(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, size - 1, 0) == (ssize_t)size - 1,
                 "no file");
    fuzz_calls++;
    err = dump_read(r, fd, &out);
    if (err == 0)
        check_region(r);
    else
        FUZZ_REQUIRE(strnlen(out.why, sizeof(out.why)) > 0 &&
                         strnlen(out.why, sizeof(out.why)) < sizeof(out.why),
                     "refused with %d in words", err);
    dump_forget(&out);
    region_destroy(r);
    free(bytes);
    return 0;
}
