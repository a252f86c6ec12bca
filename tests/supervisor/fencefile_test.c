/*
 * tests/supervisor/fencefile_test.c - the fence state file: whatever was cut off, torn or written
 * over, a record that may have been promised is found, or the file is refused.
 */
#include "supervisor/fencefile.h"

#include "base/err.h"
#include "base/siphash.h"
#include "tests/tap.h"

#include <string.h>

#define SECOND UINT64_C(1000000000)
#define NEVER (UINT64_MAX - 1)

static const struct fencefile_record before = {
    .sequence = 6,
    .ceiling = UINT64_C(1795272183206370375),
    .until = 33 * SECOND,
    .written = {.boottime = 10 * SECOND,
                .realtime = UINT64_C(1795272183) * SECOND,
                .boot_id = "one"},
};

static unsigned char file[FENCEFILE_BYTES];

/* The record that follows `before`. */
static struct fencefile_record after(void)
{
    struct fencefile_record rec = before;

    rec.sequence++;
    rec.ceiling += UINT64_C(1) << 26;
    rec.until += 30 * SECOND;
    rec.written.boottime += 15 * SECOND;
    return rec;
}

static void write_both(const struct fencefile_record *rec)
{
    for (unsigned i = 0; i < FENCEFILE_COPIES; i++)
        fencefile_encode(rec, file + (size_t)i * FENCEFILE_COPY);
}

static bool same(const struct fencefile_record *a, const struct fencefile_record *b)
{
    return a->sequence == b->sequence && a->ceiling == b->ceiling && a->until == b->until &&
           a->written.boottime == b->written.boottime &&
           a->written.realtime == b->written.realtime &&
           memcmp(a->written.boot_id, b->written.boot_id, FENCEFILE_BOOT_ID) == 0;
}

static void whole(void)
{
    struct fencefile_record rec;

    write_both(&before);
    is_int(fencefile_decode(file, sizeof(file), &rec), FENCEFILE_COPIES, "both copies are whole");
    ok(same(&rec, &before), "a record is read as it was written");
}

static void cut(void)
{
    unsigned wrong = 0;

    write_both(&before);
    for (size_t n = 0; n < sizeof(file); n++) {
        struct fencefile_record rec;
        int got = fencefile_decode(file, n, &rec);

        if (n < FENCEFILE_COPY)
            wrong += got != ERR_CORRUPT;
        else
            wrong += got != 1 || !same(&rec, &before);
    }
    is_int(wrong, 0, "a file cut at any byte has its record, or is refused");
}

static void flipped(void)
{
    unsigned wrong = 0;

    for (size_t at = 0; at < sizeof(file); at++) {
        struct fencefile_record rec;

        write_both(&before);
        file[at] ^= (unsigned char)(1u << at % 8);
        wrong += fencefile_decode(file, sizeof(file), &rec) != 1 || !same(&rec, &before);
        file[(at + FENCEFILE_COPY) % sizeof(file)] ^= 0x10;
        wrong += fencefile_decode(file, sizeof(file), &rec) != ERR_CORRUPT;
    }
    is_int(wrong, 0, "a byte changed in one copy costs nothing, in both the file");
}

/* The new record is being written over one copy, then the other. */
static void torn(void)
{
    struct fencefile_record next = after(), rec;
    unsigned char copy[FENCEFILE_COPY];
    unsigned wrong = 0;

    fencefile_encode(&next, copy);
    for (unsigned first = 0; first < FENCEFILE_COPIES; first++) {
        unsigned char *at = file + (size_t)first * FENCEFILE_COPY;
        unsigned char *other = file + (size_t)(1 - first) * FENCEFILE_COPY;

        for (size_t n = 0; n <= FENCEFILE_COPY; n++) {
            write_both(&before);
            memcpy(at, copy, n);
            wrong += fencefile_decode(file, sizeof(file), &rec) < 1;
            /* Before all of it is there, nothing of it was promised. */
            wrong += n == FENCEFILE_COPY ? !same(&rec, &next)
                                         : !same(&rec, &before) && !same(&rec, &next);
        }
        for (size_t n = 0; n <= FENCEFILE_COPY; n++) {
            memcpy(at, copy, FENCEFILE_COPY);
            fencefile_encode(&before, other);
            memcpy(other, copy, n);
            wrong += fencefile_decode(file, sizeof(file), &rec) < 1 || !same(&rec, &next);
        }
    }
    is_int(wrong, 0, "a write torn anywhere, in either copy, leaves the old record or the new");
}

static void other_versions(void)
{
    static const struct siphash_key key = {0};
    struct fencefile_record rec;
    uint64_t sum;

    write_both(&before);
    file[8] = FENCEFILE_VERSION + 1;
    is_int(fencefile_decode(file, sizeof(file), &rec), 1,
           "a version without its checksum is damage");
    sum = siphash24(&key, file, FENCEFILE_COPY - 8);
    for (unsigned i = 0; i < 8; i++)
        file[FENCEFILE_COPY - 8 + i] = (unsigned char)(sum >> (8 * i));
    is_int(fencefile_decode(file, sizeof(file), &rec), ERR_VERSION, "a later version is told");
    memset(file, 0, sizeof(file));
    is_int(fencefile_decode(file, sizeof(file), &rec), ERR_CORRUPT, "zeros are no record");
}

static uint64_t until(struct fencefile_record rec, uint64_t boottime, uint64_t realtime,
                      const char *boot)
{
    struct fencefile_now now = {.boottime = boottime, .realtime = realtime};

    strcpy(now.boot_id, boot);
    return fencefile_until(&rec, &now);
}

static void ends(void)
{
    const uint64_t wall = before.written.realtime;
    struct fencefile_record rec = before;

    is_u64(until(rec, 20 * SECOND, 1, "one"), 33 * SECOND,
           "the same boot: the wall clock is not asked");
    is_u64(until(rec, 2 * SECOND, wall + 8 * SECOND, "two"), 17 * SECOND,
           "another boot: what is left by the wall clock");
    is_u64(until(rec, 2 * SECOND, wall + 23 * SECOND, "two"), 0, "nothing is left");
    is_u64(until(rec, 2 * SECOND, wall - 100 * SECOND, "two"), 125 * SECOND,
           "a wall clock that went back: longer");
    is_u64(until(rec, 20 * SECOND, wall, ""), 43 * SECOND, "a boot without a name is another one");
    rec.until = 10 * SECOND;
    is_u64(until(rec, 2 * SECOND, wall, "two"), 0, "no lease was running");
    rec.until = NEVER;
    is_u64(until(rec, 20 * SECOND, wall, "one"), NEVER, "a lease without end");
    ok(until(rec, 20 * SECOND, wall, "two") > UINT64_MAX / 2, "and after another boot");
}

static void waits(void)
{
    is_u64(fencefile_grants_from(0, 100, 50), 0, "no lease: no wait");
    is_u64(fencefile_grants_from(100, 100, 50), 0, "a lease that ends now: no wait");
    is_u64(fencefile_grants_from(120, 100, 50), 120, "a lease that ends soon is waited for");
    is_u64(fencefile_grants_from(1000, 100, 50), 150, "a long one only as long as was said");
    is_u64(fencefile_grants_from(1000, 100, 0), 0, "or not at all");
    is_u64(fencefile_grants_from(NEVER, 100, UINT64_MAX), NEVER, "or to its end");
}

int main(void)
{
    whole();
    cut();
    flipped();
    torn();
    other_versions();
    ends();
    waits();
    return done_testing();
}
