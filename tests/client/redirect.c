/*
 * tests/client/redirect.c - linked into the programs of the documents, so that they run as they are
 * printed: what they connect to is looked up in DFLOCKD_TEST_REDIRECT, "10.0.0.1:6388=40123 …", and
 * the port on 127.0.0.1 that stands there is connected to instead. Names of hosts are looked up in
 * DFLOCKD_TEST_HOSTS, "a.example=10.0.0.1 …".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int connect(int fd, const struct sockaddr *sa, socklen_t len);
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **res);

/* What stands behind "NAME=" in a variable, up to the next blank, is copied to `out`. */
static int look_up(const char *variable, const char *name, char *out, size_t size)
{
    const char *list = getenv(variable);
    size_t n = strlen(name);

    for (const char *at = list; at && *at; at += strspn(at, " ")) {
        size_t word = strcspn(at, " ");

        if (word > n && strncmp(at, name, n) == 0 && at[n] == '=') {
            snprintf(out, size, "%.*s", (int)(word - n - 1), at + n + 1);
            return 1;
        }
        at += word;
    }
    return 0;
}

int connect(int fd, const struct sockaddr *sa, socklen_t len)
{
    struct sockaddr_in in;
    char ip[INET_ADDRSTRLEN], name[32], port[8];

    if (sa->sa_family == AF_INET && len == sizeof(in)) {
        memcpy(&in, sa, sizeof(in));
        snprintf(name, sizeof(name), "%s:%d", inet_ntop(AF_INET, &in.sin_addr, ip, sizeof(ip)),
                 ntohs(in.sin_port));
        if (look_up("DFLOCKD_TEST_REDIRECT", name, port, sizeof(port))) {
            in.sin_port = htons((in_port_t)atoi(port));
            in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            return (int)syscall(SYS_connect, fd, &in, sizeof(in));
        }
    }
    return (int)syscall(SYS_connect, fd, sa, len);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **res)
{
    int (*libc)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    char ip[INET_ADDRSTRLEN];

    *(void **)&libc = dlsym(RTLD_NEXT, "getaddrinfo");
    if (node && look_up("DFLOCKD_TEST_HOSTS", node, ip, sizeof(ip)))
        node = ip;
    return libc(node, service, hints, res);
}
