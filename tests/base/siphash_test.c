/*
 * tests/base/siphash_test.c - the vectors of the paper, and OpenSSL's implementation as an oracle.
 */
#include "base/siphash.h"

#include "tests/tap.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEN_MAX = 300 };

static struct siphash_key load_key(const unsigned char bytes[16])
{
    struct siphash_key key = {0, 0};

    for (int i = 7; i >= 0; i--) {
        key.k0 = key.k0 << 8 | bytes[i];
        key.k1 = key.k1 << 8 | bytes[8 + i];
    }
    return key;
}

static uint64_t oracle(const unsigned char bytes[16], const void *data, size_t n)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    unsigned size = 8;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_SIZE, &size),
                           OSSL_PARAM_construct_end()};
    unsigned char out[8];
    uint64_t hash = 0;
    size_t len = 0;

    if (ctx == NULL || EVP_MAC_init(ctx, bytes, 16, params) != 1 ||
        EVP_MAC_update(ctx, data, n) != 1 || EVP_MAC_final(ctx, out, &len, sizeof(out)) != 1 ||
        len != sizeof(out))
        bail_out("OpenSSL cannot compute SipHash");
    for (int i = 7; i >= 0; i--)
        hash = hash << 8 | out[i];
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    return hash;
}

int main(int argc, char **argv)
{
    /* Of the reference implementation: key 00…0f, the first n of the bytes 00 01 02 … */
    static const uint64_t vectors[] = {
        [0] = UINT64_C(0x726fdb47dd0e0e31),
        [1] = UINT64_C(0x74f839c593dc67fd),
        [15] = UINT64_C(0xa129ca6149be45e5), /* the one in the paper, appendix A */
    };
    unsigned seed = argc > 1 ? (unsigned)atoi(argv[1]) : 20261120;
    unsigned char bytes[16], data[LEN_MAX];
    struct siphash_key key;
    unsigned wrong = 0;

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)i;
    for (unsigned i = 0; i < LEN_MAX; i++)
        data[i] = (unsigned char)i;
    key = load_key(bytes);
    for (size_t n = 0; n < sizeof(vectors) / sizeof(vectors[0]); n++)
        if (vectors[n] != 0)
            is_u64(siphash24(&key, data, n), vectors[n], "official vector of %zu bytes", n);

    diag("seed %u", seed);
    srandom(seed);
    for (size_t n = 0; n <= LEN_MAX; n++) {
        /* Exactly as long as the data, at an odd address. */
        unsigned char *exact = malloc(n + 1);

        for (unsigned i = 0; i < sizeof(bytes); i++)
            bytes[i] = (unsigned char)random();
        for (size_t i = 0; i < n; i++)
            exact[i + 1] = (unsigned char)random();
        key = load_key(bytes);
        if (siphash24(&key, exact + 1, n) != oracle(bytes, exact + 1, n)) {
            diag("differs at length %zu", n);
            wrong++;
        }
        free(exact);
    }
    is_u64(wrong, 0, "as OpenSSL for random keys and data of 0 to %d bytes", LEN_MAX);

    key.k0 ^= 1;
    ok(siphash24(&key, "key", 3) != oracle(bytes, "key", 3), "one bit of k0 changes the hash");
    key.k0 ^= 1;
    key.k1 ^= UINT64_C(1) << 63;
    ok(siphash24(&key, "key", 3) != oracle(bytes, "key", 3), "one bit of k1 changes the hash");
    return done_testing();
}
