/*
 * tests/bench/echo.c - the limit: a bare epoll server that reads the same requests and writes
 * replies of the same sizes as dflockd, and does nothing else.
 *
 *   echo WORKERS        prints its port, serves until killed
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EVENTS = 256, MOST = 20000 };

static const char grant[] = "ok 0123456789abcdef0123456789abcdef 33\n";
static const char done[] = "ok\n";

struct conn {
    unsigned lines; /* of the request that is coming in */
    char first;     /* its command's first byte */
};

static struct conn conns[MOST];

static size_t answers(struct conn *c, const char *in, size_t n, char *out)
{
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        if (c->lines == 0 && c->first == 0)
            c->first = in[i];
        if (in[i] != '\n' || ++c->lines < 3)
            continue;
        if (c->first == 'l') {
            memcpy(out + len, grant, sizeof(grant) - 1);
            len += sizeof(grant) - 1;
        } else {
            memcpy(out + len, done, sizeof(done) - 1);
            len += sizeof(done) - 1;
        }
        c->lines = 0;
        c->first = 0;
    }
    return len;
}

static void serve_one(int fd)
{
    static char in[4096], out[4096 * 8];
    ssize_t n = recv(fd, in, sizeof(in), MSG_DONTWAIT);

    if (n <= 0) {
        if (n == 0)
            close(fd);
        return;
    }
    n = (ssize_t)answers(&conns[fd], in, (size_t)n, out);
    if (n > 0 && send(fd, out, (size_t)n, MSG_NOSIGNAL) < 0)
        close(fd);
}

static void take(int epfd, int listener)
{
    int one = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

    if (fd < 0)
        return;
    if (fd >= MOST) {
        close(fd);
        return;
    }
    memset(&conns[fd], 0, sizeof(conns[fd]));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);
}

static void work(int listener)
{
    int epfd = epoll_create1(0);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = listener};
    struct epoll_event got[EVENTS];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &ev);
    for (;;) {
        int n = epoll_wait(epfd, got, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            if (got[i].data.fd == listener)
                take(epfd, listener);
            else
                serve_one(got[i].data.fd);
        }
    }
}

/* Each worker listens for itself, so that the kernel spreads the connections evenly. */
static int listen_on(struct sockaddr_in *addr)
{
    socklen_t len = sizeof(*addr);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0 ||
        bind(fd, (struct sockaddr *)addr, sizeof(*addr)) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)addr, &len) < 0) {
        perror("echo");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int workers = argc > 1 ? atoi(argv[1]) : 1;
    int listener[64];

    if (workers < 1 || workers > 64)
        return 1;
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < workers; i++)
        listener[i] = listen_on(&addr);
    for (int i = 0; i < workers; i++)
        if (fork() == 0)
            work(listener[i]);
    for (int i = 0; i < workers; i++)
        close(listener[i]);
    printf("%d\n", ntohs(addr.sin_port));
    fflush(stdout);
    while (wait(NULL) > 0)
        ;
    return 0;
}
