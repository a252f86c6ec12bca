/*
 * tests/bench/echoserve.c - see echo.h.
 */
#include "echo.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS_MAX = 64, BACKLOG = 4096 };

static void give_up(const char *what)
{
    perror(what);
    exit(1);
}

/* Each worker has a listener of its own: none is woken for another's connection. */
static int listen_tcp(struct sockaddr_in *addr)
{
    socklen_t len = sizeof(*addr);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0 ||
        bind(fd, (struct sockaddr *)addr, sizeof(*addr)) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)addr, &len) < 0)
        give_up("echo: listen");
    return fd;
}

/* By the client's address, modulo the workers: dflockd deals connections out evenly, and the
 * kernel's own hash would not. The load takes addresses in a row; what comes from 127.0.0.1 is
 * another's, and told apart by its port, which is even for most. */
static void deal_out(int listener, unsigned workers)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)SKF_NET_OFF + 12), /* source address */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, INADDR_LOOPBACK, 0, 2),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, (unsigned)SKF_NET_OFF + 20), /* source port */
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 1),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, workers),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(*code), .filter = code};

    if (setsockopt(listener, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) < 0)
        give_up("echo: SO_ATTACH_REUSEPORT_CBPF");
}

static int listen_local(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (strlen(path) >= sizeof(addr.sun_path)) {
        fprintf(stderr, "echo: %s: too long for a Unix socket\n", path);
        exit(1);
    }
    strcpy(addr.sun_path, path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, BACKLOG) < 0)
        give_up(path);
    return fd;
}

int echo_serve(unsigned workers, const char *path, void (*work)(int tcp, int local))
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int tcp[WORKERS_MAX], local = path ? listen_local(path) : -1;

    if (workers < 1 || workers > WORKERS_MAX) {
        fprintf(stderr, "echo: 1 to %d workers\n", WORKERS_MAX);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    for (unsigned i = 0; i < workers; i++)
        tcp[i] = listen_tcp(&addr);
    deal_out(tcp[0], workers);
    for (unsigned i = 0; i < workers; i++) {
        if (fork() != 0)
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (unsigned j = 0; j < workers; j++)
            if (j != i)
                close(tcp[j]);
        work(tcp[i], local);
        _exit(1);
    }
    for (unsigned i = 0; i < workers; i++)
        close(tcp[i]);
    printf("%d\n", ntohs(addr.sin_port));
    fflush(stdout);
    while (wait(NULL) > 0)
        ;
    return 0;
}

int echo_accept(int listener, int local)
{
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

    if (fd >= ECHO_CONNS) {
        close(fd);
        return -1;
    }
    if (fd >= 0 && listener != local)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}
