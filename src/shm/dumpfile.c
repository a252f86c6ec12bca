/*
 * shm/dumpfile.c - see dumpfile.h.
 */
#include "shm/dumpfile.h"

#include "base/err.h"
#include "base/io.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEAD_BYTES = 16,   /* magic, version, 0 */
    RECORD_BYTES = 12, /* type, fixed, need, 0, nbytes */
    DIGEST_BYTES = 32,
    TAIL_BYTES = RECORD_BYTES + DIGEST_BYTES,
};

static void put_number(unsigned char *to, uint64_t value, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        to[i] = (unsigned char)(value >> 8 * i);
}

static uint64_t get_number(const unsigned char *from, unsigned n)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < n; i++)
        value |= (uint64_t)from[i] << 8 * i;
    return value;
}

/* Numbers of 1, 2, 4 or 8 bytes in memory. */
static uint64_t load_field(const void *at, unsigned mem)
{
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;

    switch (mem) {
    case 1:
        memcpy(&u8, at, sizeof(u8));
        return u8;
    case 2:
        memcpy(&u16, at, sizeof(u16));
        return u16;
    case 4:
        memcpy(&u32, at, sizeof(u32));
        return u32;
    default:
        memcpy(&u64, at, sizeof(u64));
        return u64;
    }
}

static void store_field(void *at, unsigned mem, uint64_t value)
{
    uint8_t u8 = (uint8_t)value;
    uint16_t u16 = (uint16_t)value;
    uint32_t u32 = (uint32_t)value;

    switch (mem) {
    case 1:
        memcpy(at, &u8, sizeof(u8));
        return;
    case 2:
        memcpy(at, &u16, sizeof(u16));
        return;
    case 4:
        memcpy(at, &u32, sizeof(u32));
        return;
    default:
        memcpy(at, &value, sizeof(value));
    }
}

/* Writing ------------------------------------------------------------------------------------- */

static void flush(struct dump_out *o)
{
    if (!o->err && EVP_DigestUpdate(o->digest, o->buf, o->n) != 1)
        o->err = ERR_CRYPTO;
    if (!o->err)
        o->err = io_write_full(o->fd, o->buf, o->n);
    o->n = 0;
}

void dumpfile_bytes(struct dump_out *o, const void *bytes, size_t n)
{
    const unsigned char *from = bytes;

    while (n > 0) {
        size_t room = sizeof(o->buf) - o->n;
        size_t now = n < room ? n : room;

        memcpy(o->buf + o->n, from, now);
        o->n += now;
        from += now;
        n -= now;
        if (o->n == sizeof(o->buf))
            flush(o);
    }
}

static void put_head(struct dump_out *o, uint16_t type, uint16_t fixed, uint32_t nbytes)
{
    unsigned char head[RECORD_BYTES] = {0};

    put_number(head, type, 2);
    put_number(head + 2, fixed, 2);
    put_number(head + 4, fixed, 2); /* so far every field must be known */
    put_number(head + 8, nbytes, 4);
    dumpfile_bytes(o, head, sizeof(head));
}

void dumpfile_begin(struct dump_out *o, int fd)
{
    unsigned char head[HEAD_BYTES] = {0};

    o->fd = fd;
    o->n = 0;
    o->digest = EVP_MD_CTX_new();
    o->err = o->digest && EVP_DigestInit_ex(o->digest, EVP_sha256(), NULL) == 1 ? 0 : ERR_CRYPTO;
    memcpy(head, DUMP_MAGIC, 8);
    put_number(head + 8, DUMP_VERSION, 4);
    dumpfile_bytes(o, head, sizeof(head));
}

static void put_field(struct dump_out *o, const struct dump_field *f, const char *at)
{
    unsigned char number[8];

    if (f->disk > sizeof(number)) {
        dumpfile_bytes(o, at, f->disk);
        return;
    }
    put_number(number, load_field(at, f->mem), f->disk);
    dumpfile_bytes(o, number, f->disk);
}

void dumpfile_put(struct dump_out *o, const struct dump_kind *kind, const void *from,
                  uint32_t nbytes)
{
    uint16_t fixed = 0;

    for (unsigned i = 0; i < kind->nfields; i++)
        fixed = (uint16_t)(fixed + kind->fields[i].disk * kind->fields[i].n);
    put_head(o, kind->type, fixed, nbytes);
    for (unsigned i = 0; i < kind->nfields; i++) {
        const struct dump_field *f = &kind->fields[i];
        const char *at = (const char *)from + f->offset;

        for (unsigned k = 0; k < f->n; k++, at += f->mem)
            put_field(o, f, at);
    }
}

int dumpfile_end(struct dump_out *o)
{
    unsigned char digest[EVP_MAX_MD_SIZE];

    put_head(o, DUMP_TYPE_END, 0, DIGEST_BYTES);
    flush(o);
    if (!o->err && EVP_DigestFinal_ex(o->digest, digest, NULL) != 1)
        o->err = ERR_CRYPTO;
    if (!o->err)
        o->err = io_write_full(o->fd, digest, DIGEST_BYTES);
    EVP_MD_CTX_free(o->digest);
    explicit_bzero(o->buf, sizeof(o->buf)); /* secrets pass through connections' rings */
    return o->err;
}

/* Reading ------------------------------------------------------------------------------------- */

static int read_at(int fd, unsigned char *to, size_t n, size_t at)
{
    while (n > 0) {
        ssize_t got = pread(fd, to, n, (off_t)at);

        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0)
            return ERR_CORRUPT; /* it shrank meanwhile */
        to += got > 0 ? got : 0;
        at += got > 0 ? (size_t)got : 0;
        n -= got > 0 ? (size_t)got : 0;
    }
    return 0;
}

/* Before anything that may be large is read. */
static int check_head(int fd, size_t *size)
{
    unsigned char head[HEAD_BYTES];
    struct stat st;
    uint64_t version;
    int err;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    if (st.st_size < HEAD_BYTES)
        return -EINVAL;
    err = read_at(fd, head, sizeof(head), 0);
    if (err)
        return err;
    if (memcmp(head, DUMP_MAGIC, 8) != 0)
        return -EINVAL;
    version = get_number(head + 8, 4);
    if (version < DUMP_VERSION_OLDEST || version > DUMP_VERSION)
        return ERR_VERSION;
    *size = (size_t)st.st_size;
    return *size < HEAD_BYTES + TAIL_BYTES ? ERR_CORRUPT : 0;
}

static int check_digest(const struct dump_in *in)
{
    unsigned char digest[EVP_MAX_MD_SIZE];

    if (EVP_Digest(in->data, in->size - DIGEST_BYTES, digest, NULL, EVP_sha256(), NULL) != 1)
        return ERR_CRYPTO;
    return memcmp(digest, in->data + in->size - DIGEST_BYTES, DIGEST_BYTES) == 0 ? 0 : ERR_CORRUPT;
}

int dumpfile_load(struct dump_in *in, int fd)
{
    int err;

    memset(in, 0, sizeof(*in));
    err = check_head(fd, &in->size);
    if (err)
        return err;
    in->data = malloc(in->size);
    err = in->data ? read_at(fd, in->data, in->size, 0) : -ENOMEM;
    if (!err)
        err = check_digest(in);
    if (err)
        dumpfile_unload(in);
    in->at = HEAD_BYTES;
    return err;
}

void dumpfile_unload(struct dump_in *in)
{
    if (in->data)
        explicit_bzero(in->data, in->size);
    free(in->data);
    in->data = NULL;
    in->size = 0;
}

int dumpfile_next(struct dump_in *in, struct dump_record *r)
{
    const unsigned char *head = in->data + in->at;
    size_t left = in->size - in->at;

    if (left < RECORD_BYTES)
        return ERR_CORRUPT;
    left -= RECORD_BYTES;
    r->type = (uint16_t)get_number(head, 2);
    r->fixed = (uint16_t)get_number(head + 2, 2);
    r->need = (uint16_t)get_number(head + 4, 2);
    r->nbytes = (uint32_t)get_number(head + 8, 4);
    if (r->need > r->fixed || left < r->fixed || left - r->fixed < r->nbytes)
        return ERR_CORRUPT;
    r->fields = head + RECORD_BYTES;
    r->bytes = (const char *)r->fields + r->fixed;
    in->at += RECORD_BYTES + (size_t)r->fixed + r->nbytes;
    if (r->type != DUMP_TYPE_END)
        return 1;
    return in->at == in->size && r->nbytes == DIGEST_BYTES && r->fixed == 0 ? 0 : ERR_CORRUPT;
}

/* 0, or ERR_VERSION: larger than anything this program has. */
static int get_field(const struct dump_field *f, const unsigned char *from, char *at)
{
    uint64_t value;

    if (f->disk > 8) {
        memcpy(at, from, f->disk);
        return 0;
    }
    value = get_number(from, f->disk);
    if (f->mem < 8 && value >> 8 * f->mem)
        return ERR_VERSION;
    store_field(at, f->mem, value);
    return 0;
}

int dumpfile_get(const struct dump_record *r, const struct dump_kind *kind, void *to)
{
    unsigned known = 0;

    for (unsigned i = 0; i < kind->nfields && known < r->fixed; i++) {
        const struct dump_field *f = &kind->fields[i];
        char *at = (char *)to + f->offset;

        for (unsigned k = 0; k < f->n && known < r->fixed; k++, at += f->mem) {
            int err = f->disk > r->fixed - known ? ERR_CORRUPT
                                                 : get_field(f, r->fields + known, at);

            if (err)
                return err;
            known += f->disk;
        }
    }
    return r->need > known ? ERR_VERSION : 0;
}
