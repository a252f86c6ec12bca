/*
 * base/random.c - see random.h.
 */
#include "base/random.h"

#include "base/point.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>

int random_bytes(void *out, size_t n)
{
    unsigned char *p = out;

    while (n > 0) {
        ssize_t got = SYS(RANDOM, getrandom(p, n, 0));

        if (got < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        p += got;
        n -= (size_t)got;
    }
    return 0;
}
