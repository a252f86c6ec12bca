/*
 * base/siphash.h - SipHash-2-4: a keyed hash whose collisions cannot be aimed at without the key.
 *
 * Pure; any process, any thread.
 */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* 128 random bits. The reference's 16 key bytes are k0, then k1, each little-endian. */
struct siphash_key {
    uint64_t k0;
    uint64_t k1;
};

uint64_t siphash24(const struct siphash_key *key, const void *data, size_t n);

#endif
