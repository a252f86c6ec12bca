/*
 * supervisor/fencefile.h - the fence state file: its bytes, pure.
 *
 * Two copies of one record, each in a page of its own, written one after the other, in turns which
 * comes first: what a torn write leaves of one is made good by the other. A record counts as
 * written when its first copy is on disk; nothing is promised before. docs/internals/fences.md has
 * the layout.
 */
#ifndef SUPERVISOR_FENCEFILE_H
#define SUPERVISOR_FENCEFILE_H

#include <stddef.h>
#include <stdint.h>

enum {
    FENCEFILE_VERSION = 1,
    FENCEFILE_COPY = 4096, /* bytes */
    FENCEFILE_COPIES = 2,
    FENCEFILE_BYTES = FENCEFILE_COPY * FENCEFILE_COPIES,
    FENCEFILE_BOOT_ID = 40,
};

/* When is now: BOOTTIME of the boot that boot_id names, and Unix time; both ns. */
struct fencefile_now {
    uint64_t boottime, realtime;
    char boot_id[FENCEFILE_BOOT_ID]; /* "" = not known */
};

struct fencefile_record {
    uint64_t sequence;
    uint64_t ceiling; /* fences below it may have been given out */
    uint64_t until;   /* BOOTTIME ns at which the last lease that may have been promised ends, 0 =
                         none   runs */
    struct fencefile_now written;
};

void fencefile_encode(const struct fencefile_record *rec, unsigned char copy[FENCEFILE_COPY]);

/*
 * From the first `n` bytes of a file. Returns how many copies were whole and puts the newest into
 * *out; ERR_CORRUPT when none was; ERR_VERSION when a later version wrote one.
 */
int fencefile_decode(const unsigned char *bytes, size_t n, struct fencefile_record *out);

/* `until` by the clock of this boot; after another boot by the wall clock, which is all there is.
 */
uint64_t fencefile_until(const struct fencefile_record *rec, const struct fencefile_now *now);

/* When grants begin if nothing but the record is known: BOOTTIME ns, 0 = at once. `delay` ns are
   the longest wait. */
uint64_t fencefile_grants_from(uint64_t until, uint64_t now, uint64_t delay);

#endif
