/*
 * supervisor/fencefile.c - see fencefile.h. Pure.
 */
#include "supervisor/fencefile.h"

#include "base/err.h"
#include "base/siphash.h"

#include <stdbool.h>
#include <string.h>

/* Places in a copy; numbers are little-endian. The magic, the version and the checksum stay where
   they are in all versions. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_SEQUENCE = 16,
    AT_CEILING = 24,
    AT_UNTIL = 32,
    AT_BOOTTIME = 40,
    AT_REALTIME = 48,
    AT_BOOT_ID = 56,
    AT_CHECKSUM = FENCEFILE_COPY - 8,
};

static const char magic[8] = {'d', 'f', 'l', 'f', 'e', 'n', 'c', '\n'};

/* A hash with a key that everybody knows is a checksum. */
static uint64_t checksum(const unsigned char *copy)
{
    static const struct siphash_key key = {0};

    return siphash24(&key, copy, AT_CHECKSUM);
}

static void put(unsigned char *at, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        at[i] = (unsigned char)(v >> (8 * i));
}

static uint64_t get(const unsigned char *at)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < 8; i++)
        v |= (uint64_t)at[i] << (8 * i);
    return v;
}

void fencefile_encode(const struct fencefile_record *rec, unsigned char copy[FENCEFILE_COPY])
{
    memset(copy, 0, FENCEFILE_COPY);
    memcpy(copy + AT_MAGIC, magic, sizeof(magic));
    put(copy + AT_VERSION, FENCEFILE_VERSION);
    put(copy + AT_SEQUENCE, rec->sequence);
    put(copy + AT_CEILING, rec->ceiling);
    put(copy + AT_UNTIL, rec->until);
    put(copy + AT_BOOTTIME, rec->written.boottime);
    put(copy + AT_REALTIME, rec->written.realtime);
    memcpy(copy + AT_BOOT_ID, rec->written.boot_id, FENCEFILE_BOOT_ID);
    put(copy + AT_CHECKSUM, checksum(copy));
}

static int decode_copy(const unsigned char *copy, struct fencefile_record *out)
{
    if (memcmp(copy + AT_MAGIC, magic, sizeof(magic)) != 0 ||
        get(copy + AT_CHECKSUM) != checksum(copy))
        return ERR_CORRUPT;
    if (get(copy + AT_VERSION) != FENCEFILE_VERSION)
        return ERR_VERSION;
    out->sequence = get(copy + AT_SEQUENCE);
    out->ceiling = get(copy + AT_CEILING);
    out->until = get(copy + AT_UNTIL);
    out->written.boottime = get(copy + AT_BOOTTIME);
    out->written.realtime = get(copy + AT_REALTIME);
    memcpy(out->written.boot_id, copy + AT_BOOT_ID, FENCEFILE_BOOT_ID);
    return 0;
}

int fencefile_decode(const unsigned char *bytes, size_t n, struct fencefile_record *out)
{
    int whole = 0;

    for (size_t i = 0; i < FENCEFILE_COPIES && n >= (i + 1) * FENCEFILE_COPY; i++) {
        struct fencefile_record rec;
        int err = decode_copy(bytes + i * FENCEFILE_COPY, &rec);

        if (err == ERR_VERSION)
            return err;
        if (err)
            continue;
        if (whole == 0 || rec.sequence > out->sequence)
            *out = rec;
        whole++;
    }
    return whole ? whole : ERR_CORRUPT;
}

static uint64_t add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

uint64_t fencefile_until(const struct fencefile_record *rec, const struct fencefile_now *now)
{
    const struct fencefile_now *then = &rec->written;
    uint64_t end;

    if (rec->until <= then->boottime)
        return 0;
    if (now->boot_id[0] && memcmp(now->boot_id, then->boot_id, FENCEFILE_BOOT_ID) == 0)
        return rec->until;
    end = add(then->realtime, rec->until - then->boottime);
    return end > now->realtime ? add(now->boottime, end - now->realtime) : 0;
}

uint64_t fencefile_grants_from(uint64_t until, uint64_t now, uint64_t delay)
{
    uint64_t latest = add(now, delay);

    if (until <= now || delay == 0)
        return 0;
    return until < latest ? until : latest;
}
