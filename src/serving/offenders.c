/*
 * serving/offenders.c - see offenders.h. Runs in lock workers; takes no lock.
 *
 * A word is the rest of the address's hash, the number of its failures, and when the last one was; 0
 * is free. It is replaced whole, so any process may die, and a word may hold anything.
 */
#include "serving/offenders.h"

#include "base/clock.h"
#include "base/siphash.h"

#include <string.h>

enum { WAYS = 8, SETS = OFFENDERS / WAYS, COUNT_MAX = 255 };

static uint32_t age(uint64_t word, uint32_t now_s)
{
    return now_s - (uint32_t)word;
}

static uint32_t count_of(uint64_t word)
{
    return (uint32_t)(word >> 32) & COUNT_MAX;
}

static uint64_t tag_of(uint64_t hash)
{
    return hash >> 40 << 40;
}

static uint64_t hash_of(const struct region *r, const struct address *from)
{
    uint8_t name[17] = {from->family};
    size_t n = from->family == AF_INET6 ? 8 : from->family == AF_INET ? 4 : 0;

    memcpy(name + 1, from->addr, n);
    return siphash24(&r->hash_key, name, sizeof(name));
}

/* The address's own word of its set, or the one to be had for it. */
static uint64_t *word_of(struct region *r, uint64_t hash, uint32_t now_s)
{
    uint64_t *set = &r->offenders[hash % SETS * WAYS], *best = set;
    uint32_t oldest = 0;

    for (unsigned i = 0; i < WAYS; i++) {
        uint64_t word = __atomic_load_n(&set[i], __ATOMIC_RELAXED);
        uint32_t unused = word ? age(word, now_s) : UINT32_MAX;

        if (word && tag_of(word) == tag_of(hash))
            return &set[i];
        if (unused > oldest) {
            oldest = unused;
            best = &set[i];
        }
    }
    return best;
}

static uint64_t delay_of(uint32_t count)
{
    uint64_t ms = OFFENDERS_FIRST_MS;

    if (count <= OFFENDERS_FREE)
        return 0;
    for (uint32_t n = OFFENDERS_FREE + 1; n < count && ms < OFFENDERS_MOST_MS; n++)
        ms *= 2;
    return (ms < OFFENDERS_MOST_MS ? ms : OFFENDERS_MOST_MS) * NS_PER_MS;
}

uint64_t offenders_failed(struct region *r, const struct address *from, uint64_t now)
{
    uint64_t hash = hash_of(r, from), word, next;
    uint32_t now_s = (uint32_t)(now / NS_PER_SEC), count;
    uint64_t *at = word_of(r, hash, now_s);

    word = __atomic_load_n(at, __ATOMIC_RELAXED);
    do {
        bool known = tag_of(word) == tag_of(hash) && age(word, now_s) < OFFENDERS_FORGET_S;

        count = known ? count_of(word) + (count_of(word) < COUNT_MAX) : 1;
        next = tag_of(hash) | (uint64_t)count << 32 | now_s;
    } while (!__atomic_compare_exchange_n(at, &word, next, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return delay_of(count);
}
