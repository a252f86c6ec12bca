/*
 * ctl/main.c - dflockctl: looks at dflockd's locks, and takes locks away. One thread; the low level
 * of libdflock, driven by events, so that several servers are asked at the same time.
 */
#include "ctl/ctl.h"
#include "ctl/text.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>

int main(int argc, char **argv)
{
    struct ctl c = {0};
    int status;

    text_init();
    ctl_parse(&c, argc, argv);
    asks_init(&c.all, c.where.server, c.where.nservers, c.options, c.where.connect_timeout);
    status = c.command->run(&c);
    asks_free(&c.all);
    dflock_options_free(c.options);
    where_free(&c.where);
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "dflockctl: standard output: %s\n",
                errno != 0 ? strerror(errno) : "cannot be written");
        return EX_IOERR;
    }
    return status;
}
