/*
 * client/shard.c - which server a key belongs to: CRC-32 as in the clients of all other languages.
 */
#include "client/options.h"

#include <string.h>
#include <zlib.h>

size_t dflock_shard_crc32(const char *key, size_t n, void *unused)
{
    (void)unused;
    if (!key || n == 0)
        return 0;
    return crc32_z(0, (const Bytef *)key, strlen(key)) % n;
}

int options_server(const struct dflock_options *o, const char *key, const char *call)
{
    size_t at = o->shard(key, o->nservers, o->shard_arg);

    if (at >= o->nservers)
        return error_raise(DFLOCK_ERR_INVALID, call,
                           "the shard function chose server %zu of %zu; 0 to %zu can be", at,
                           o->nservers, o->nservers - 1);
    return (int)at;
}
