/*
 * tests/upgrade/take.c - take REGION >dump: dumps a saved region, as the master's child would. The
 * server was idle when it was saved: a mutex that was held would never be free.
 */
#include "base/err.h"
#include "shm/dump.h"

#include <fcntl.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;
    int err = 0;
    struct region *r = fd < 0 ? NULL : region_load(fd, &err);

    if (!r || (err = dump_write(r, 1)) != 0) {
        fprintf(stderr, "take: %s\n", err_text(err));
        return 1;
    }
    return 0;
}
