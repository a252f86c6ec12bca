/*
 * tests/bench/echo.h - what the servers that are the limit share: listening as two or more
 * processes, and answers of the sizes that dflockd's have.
 */
#ifndef BENCH_ECHO_H
#define BENCH_ECHO_H

#include <stddef.h>
#include <string.h>

enum {
    ECHO_CONNS = 20000, /* descriptors */
    ECHO_IN = 1 << 14,  /* bytes read at once */
    ECHO_OUT = 1 << 18, /* all answers to those: 39 bytes for 4 */
};

/* A request that is coming in. */
struct echo_request {
    unsigned char lines;
    char first; /* its command's first byte */
};

/* The answers to the requests that end in these bytes; returns how many bytes they are. */
static inline size_t echo_answers(struct echo_request *q, const char *in, size_t n, char *out)
{
    static const char grant[] = "ok 0123456789abcdef0123456789abcdef 33\n";
    static const char done[] = "ok\n";
    const char *end = in + n, *lf;
    size_t len = 0;

    while (in < end) {
        if (q->first == 0)
            q->first = *in;
        lf = memchr(in, '\n', (size_t)(end - in));
        if (!lf)
            break;
        in = lf + 1;
        if (++q->lines < 3)
            continue;
        if (q->first == 'l') {
            memcpy(out + len, grant, sizeof(grant) - 1);
            len += sizeof(grant) - 1;
        } else {
            memcpy(out + len, done, sizeof(done) - 1);
            len += sizeof(done) - 1;
        }
        q->lines = 0;
        q->first = 0;
    }
    return len;
}

/*
 * Listens on a port that the kernel chooses, on 127.0.0.1, and on the Unix socket `path` if it is
 * not NULL; prints the port; forks `workers` processes that run work(TCP, Unix or -1) each; waits.
 * Returns an exit status.
 */
int echo_serve(unsigned workers, const char *path, void (*work)(int tcp, int local));

/* A connection, non-blocking, without Nagle's delay; -1: there is none, or it has no room. */
int echo_accept(int listener, int local);

#endif
