/*
 * serving/newsettings.c - see newsettings.h. Runs in lock workers and in the HTTP worker.
 */
#include "serving/newsettings.h"

#include "base/point.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_all(int fd, struct served *out)
{
    return SYS(RELOAD_READ, pread(fd, out, sizeof(*out), 0)) == (ssize_t)sizeof(*out) &&
           out->size == sizeof(*out) && strcmp(out->program, SERVED_PROGRAM) == 0;
}

struct served *newsettings_read(int fd)
{
    struct served *s = malloc(sizeof(*s));

    if (s && !read_all(fd, s)) {
        newsettings_free(s);
        s = NULL;
    }
    SYS(RELOAD_DONE, close(fd));
    return s;
}

void newsettings_free(struct served *s)
{
    if (s)
        tlsfiles_wipe(&s->tls_files);
    free(s);
}
