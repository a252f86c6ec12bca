/*
 * shm/dumpfile.h - the form of a dump: a head, records with lengths, a checksum at the end.
 * docs/internals/dump.md describes it byte by byte.
 *
 * A record has fixed fields, little-endian, in the order of its table (dumpfields.c), and then
 * bytes of any length. A field is added at the end of its table; who does not know it skips it,
 * unless the record says that it must be known. So older and newer programs read each other's
 * dumps.
 *
 * Used by a child of the master that writes, and by the master before its first fork. No lock.
 */
#ifndef SHM_DUMPFILE_H
#define SHM_DUMPFILE_H

#include <stddef.h>
#include <stdint.h>

#define DUMP_MAGIC "dfldump\n"

enum {
    DUMP_VERSION = 1,        /* what is written; goes up only when the form itself changes */
    DUMP_VERSION_OLDEST = 1, /* what can be read */
};

/* Where a field lies in memory, and how many bytes it has in a dump. */
struct dump_field {
    uint16_t offset;
    uint8_t mem;
    uint8_t disk; /* up to 8: a number; more: bytes as they are, and as many in memory */
    uint16_t n;   /* so many numbers, one after the other */
};

struct dump_kind {
    uint16_t type;
    uint16_t nfields;
    const struct dump_field *fields;
};

enum { DUMP_TYPE_END = 1 }; /* all others are dumpfields.h's */

/* Writing. Errors are kept: dumpfile_end() returns the first one. */
struct dump_out {
    int fd;
    int err;
    void *digest;
    size_t n;
    unsigned char buf[65536];
};

void dumpfile_begin(struct dump_out *o, int fd);
/* A record of the struct at `from`; `nbytes` bytes must follow by dumpfile_bytes(). */
void dumpfile_put(struct dump_out *o, const struct dump_kind *kind, const void *from,
                  uint32_t nbytes);
void dumpfile_bytes(struct dump_out *o, const void *bytes, size_t n);
int dumpfile_end(struct dump_out *o); /* 0, -errno, ERR_CRYPTO */

/* Reading. */
struct dump_in {
    unsigned char *data; /* the whole file, in memory of its own */
    size_t size;
    size_t at;
};

struct dump_record {
    uint16_t type;
    uint16_t fixed; /* bytes of fixed fields, */
    uint16_t need;  /* of which the reader must know so many */
    uint32_t nbytes;
    const unsigned char *fields;
    const char *bytes;
};

/*
 * Reads the file from its start, wherever the descriptor stands, and checks head and checksum.
 * 0 or -errno, -EINVAL (no dump at all), ERR_VERSION, ERR_CORRUPT (cut off or changed), ERR_CRYPTO.
 */
int dumpfile_load(struct dump_in *in, int fd);
void dumpfile_unload(struct dump_in *in);

/* The record at in->at, and past it. 1; 0 at the end; ERR_CORRUPT. */
int dumpfile_next(struct dump_in *in, struct dump_record *r);
/* Its fields into the struct at `to`; what an older writer did not have stays as it is. 0;
   ERR_VERSION: there is more that must be known; ERR_CORRUPT: a value that cannot be. */
int dumpfile_get(const struct dump_record *r, const struct dump_kind *kind, void *to);

#endif
