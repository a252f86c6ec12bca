/*
 * net/listen.c - see listen.h. Runs in the master.
 */
#include "net/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

static void describe(struct listener *l)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    char addr[INET6_ADDRSTRLEN];

    if (getsockname(l->fd, (struct sockaddr *)&ss, &len) < 0)
        return;
    if (ss.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&ss;

        inet_ntop(AF_INET, &in->sin_addr, addr, sizeof(addr));
        snprintf(l->text, sizeof(l->text), "%s:%u", addr, ntohs(in->sin_port));
        l->loopback = ntohl(in->sin_addr.s_addr) >> 24 == 127;
    } else {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&ss;

        inet_ntop(AF_INET6, &in6->sin6_addr, addr, sizeof(addr));
        snprintf(l->text, sizeof(l->text), "[%s]:%u", addr, ntohs(in6->sin6_port));
        l->loopback = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    }
    l->family = ss.ss_family;
}

static uint16_t bound_port(const struct listen_set *set)
{
    for (unsigned i = 0; i < set->n; i++) {
        const char *colon = strrchr(set->l[i].text, ':');
        unsigned port;

        if (set->l[i].family != AF_UNIX && colon && sscanf(colon, ":%u", &port) == 1)
            return (uint16_t)port;
    }
    return 0;
}

static int bind_one(struct listen_set *set, const struct addrinfo *ai)
{
    struct listener *l = &set->l[set->n];
    int one = 1;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        int err = -errno;

        close(fd);
        return err;
    }
    l->fd = fd;
    describe(l);
    set->n++;
    return 0;
}

int listen_tcp(struct listen_set *set, const char *host, uint16_t port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list, *ai;
    char service[8];
    unsigned before = set->n;
    int err, first = 0;

    if (port == 0)
        port = bound_port(set);
    snprintf(service, sizeof(service), "%u", port);
    err = getaddrinfo(host, service, &hints, &list);
    if (err) {
        snprintf(set->error, sizeof(set->error), "--host: '%s' cannot be resolved: %s", host,
                 gai_strerror(err));
        return -EADDRNOTAVAIL;
    }
    for (ai = list; ai && set->n < LISTEN_MAX; ai = ai->ai_next) {
        if (set->n > before && port == 0 && ai->ai_family == AF_INET)
            ((struct sockaddr_in *)ai->ai_addr)->sin_port = htons(bound_port(set));
        if (set->n > before && port == 0 && ai->ai_family == AF_INET6)
            ((struct sockaddr_in6 *)ai->ai_addr)->sin6_port = htons(bound_port(set));
        err = bind_one(set, ai);
        if (err && !first)
            first = err;
    }
    freeaddrinfo(list);
    /* A name such as localhost may have an address of a family that this machine has switched off:
       then the others will do. Any other failure is one. */
    if (first && (set->n == before || (first != -EADDRNOTAVAIL && first != -EAFNOSUPPORT))) {
        snprintf(set->error, sizeof(set->error), "cannot listen on %s port %u: %s%s", host, port,
                 strerror(-first),
                 first == -EADDRINUSE ? " (is another server running? see --port)" : "");
        return first;
    }
    return 0;
}

static bool somebody_listens(const struct sockaddr_un *sun)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool yes;

    if (fd < 0)
        return true;
    yes = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 || errno == EAGAIN;
    close(fd);
    return yes;
}

int listen_unix(struct listen_set *set, const char *path, unsigned mode)
{
    struct listener *l = &set->l[set->n];
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct stat st;
    int fd, err;

    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode) || somebody_listens(&sun)) {
            snprintf(set->error, sizeof(set->error), "--unix-socket: '%s' %s", path,
                     S_ISSOCK(st.st_mode) ? "is in use by another server"
                                          : "exists and is not a socket");
            return -EADDRINUSE;
        }
        unlink(path);
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || chmod(path, mode) < 0 ||
        listen(fd, BACKLOG) < 0) {
        err = -errno;
        snprintf(set->error, sizeof(set->error), "--unix-socket: cannot listen on '%s': %s", path,
                 strerror(-err));
        if (fd >= 0)
            close(fd);
        return err;
    }
    snprintf(set->unix_path, sizeof(set->unix_path), "%s", path);
    l->fd = fd;
    l->family = AF_UNIX;
    l->loopback = true;
    snprintf(l->text, sizeof(l->text), "unix:%s", path);
    set->n++;
    return 0;
}

void listen_close(struct listen_set *set)
{
    for (unsigned i = 0; i < set->n; i++)
        close(set->l[i].fd);
    set->n = 0;
    if (set->unix_path[0])
        unlink(set->unix_path);
    set->unix_path[0] = '\0';
}
