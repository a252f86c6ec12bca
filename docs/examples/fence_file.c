/*
 * fence_file.c - a file that refuses the late. The lock "document" says who may write; a writer
 * that slept through the end of its lease has a smaller fence than the one that wrote meanwhile.
 *
 * usage: fence_file FILE <TEXT
 * Takes the lock, reads the text, writes it into FILE behind a line with the fence.
 *
 * Prints:
 *     the lock is held
 *     written
 */
#define _DEFAULT_SOURCE
#include <dflock.h>
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

/* 0, or -1: somebody with a greater fence has written. What compares and writes must be one step:
   the resource itself keeps others out that long, here by flock(2). */
static int fenced_write(const char *path, uint64_t fence, const char *text)
{
    uint64_t greatest = 0;
    FILE *f = fopen(path, "a+");

    if (!f || flock(fileno(f), LOCK_EX) != 0)
        err(2, "%s", path);
    rewind(f);
    if (fscanf(f, "%" SCNu64, &greatest) == 1 && greatest > fence) {
        fclose(f);
        return -1;
    }
    if (ftruncate(fileno(f), 0) != 0)
        err(2, "%s", path);
    fprintf(f, "%" PRIu64 "\n%s", fence, text);
    if (fclose(f) != 0)
        err(2, "%s", path);
    return 0;
}

int main(int argc, char **argv)
{
    dflock_options *o = dflock_options_new();
    char text[4096] = "";

    if (argc != 2)
        errx(2, "usage: fence_file FILE <TEXT");
    dflock_options_set_lease(o, 2);
    dflock_options_set_acquire_timeout(o, 60);
    dflock *l = dflock_lock_new("document", o);
    dflock_options_free(o);
    if (dflock_acquire(l) != DFLOCK_HELD)
        errx(2, "the lock is not to be had");
    puts("the lock is held");
    fflush(stdout);

    /* A long time may pass here, and dflock_is_held() would know; but also behind any check. */
    if (fread(text, 1, sizeof(text) - 1, stdin) == 0)
        errx(2, "no text");
    int r = fenced_write(argv[1], dflock_fence(l), text);
    puts(r == 0 ? "written" : "refused: somebody else has written since this lock was granted");
    dflock_release(l);
    dflock_free(l);
    return r == 0 ? 0 : 1;
}
