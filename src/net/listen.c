/*
 * net/listen.c - see listen.h. Runs in the master.
 */
#include "net/listen.h"

#include "base/io.h"
#include "net/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

/* The address as bound; 0 when the socket has none. */
static socklen_t address(int fd, struct sockaddr_storage *ss)
{
    socklen_t len = sizeof(*ss);

    memset(ss, 0, sizeof(*ss));
    return getsockname(fd, (struct sockaddr *)ss, &len) == 0 ? len : 0;
}

static void describe(struct listener *l)
{
    struct sockaddr_storage ss;
    char addr[INET6_ADDRSTRLEN];

    if (address(l->fd, &ss) == 0)
        return;
    if (ss.ss_family == AF_UNIX) {
        const struct sockaddr_un *sun = (const struct sockaddr_un *)&ss;
        int hidden = sun->sun_path[0] == '\0'; /* in the abstract namespace */

        snprintf(l->text, sizeof(l->text), "unix:%s%.*s", hidden ? "@" : "",
                 (int)sizeof(sun->sun_path) - hidden, sun->sun_path + hidden);
        l->loopback = true;
    } else if (ss.ss_family == AF_INET) {
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

/*
 * O_NONBLOCK belongs to all who have the socket, and may be taken back: systemd does that to sockets
 * that it passes, for each master anew, while the last one's HTTP worker accepts from them. A time limit
 * it leaves alone: an accept that finds nobody then ends after a moment, of which this is the shortest.
 * Connections inherit it, and do not notice: they do not block.
 */
static void limit_accept(int fd)
{
    struct timeval moment = {.tv_usec = 1};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof(moment));
}

static void add(struct listen_set *set, int fd)
{
    struct listener *l = &set->l[set->n++];

    limit_accept(fd);
    l->fd = fd;
    describe(l);
    /* What it accepts inherits its options: six calls less for each connection. */
    if (l->family != AF_UNIX)
        stream_tune(fd);
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

/* Port 0 is any port: the kernel chose one for the life before. */
static bool same_address(struct sockaddr_storage *ss, const void *addr, socklen_t len)
{
    const struct sockaddr_in *in = addr;

    if (in->sin_family == AF_INET && in->sin_port == 0)
        ((struct sockaddr_in *)ss)->sin_port = 0;
    if (in->sin_family == AF_INET6 && ((const struct sockaddr_in6 *)addr)->sin6_port == 0)
        ((struct sockaddr_in6 *)ss)->sin6_port = 0;
    return memcmp(ss, addr, len) == 0;
}

static int take_spare(struct listen_set *set, const void *addr, socklen_t len)
{
    for (unsigned i = 0; i < set->nspare; i++) {
        struct sockaddr_storage ss;
        int fd = set->spare[i];

        if (address(fd, &ss) != len || !same_address(&ss, addr, len))
            continue;
        set->spare[i] = set->spare[--set->nspare];
        return fd;
    }
    return -1;
}

static int bind_new(const struct addrinfo *ai)
{
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
    return fd;
}

static int bind_one(struct listen_set *set, const struct addrinfo *ai)
{
    int fd = take_spare(set, ai->ai_addr, ai->ai_addrlen);

    if (fd < 0)
        fd = bind_new(ai);
    if (fd == -EADDRINUSE && set->nspare) {
        listen_settle(set); /* one of them may be in the way: 127.0.0.1 of 0.0.0.0 */
        fd = bind_new(ai);
    }
    if (fd < 0)
        return fd;
    add(set, fd);
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
        snprintf(set->error, sizeof(set->error), "%s: '%s' cannot be resolved: %s",
                 set->host_option, host, gai_strerror(err));
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
        snprintf(set->error, sizeof(set->error), "cannot listen on %s port %u: %s%s%s%s", host,
                 port, strerror(-first),
                 first == -EADDRINUSE ? " (is another server running? see " : "",
                 first == -EADDRINUSE ? set->port_option : "", first == -EADDRINUSE ? ")" : "");
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

/* Nobody listens there: a dead server's socket is replaced, all else is refused. */
static int bind_unix(struct listen_set *set, const struct sockaddr_un *sun, bool exists,
                     const struct stat *st, unsigned mode)
{
    int fd, err;

    if (exists) {
        if (!S_ISSOCK(st->st_mode) || somebody_listens(sun)) {
            snprintf(set->error, sizeof(set->error), "--unix-socket: '%s' %s", sun->sun_path,
                     S_ISSOCK(st->st_mode) ? "is in use by another server"
                                           : "exists and is not a socket");
            return -EADDRINUSE;
        }
        unlink(sun->sun_path);
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)sun, sizeof(*sun)) < 0 ||
        chmod(sun->sun_path, mode) < 0 || listen(fd, BACKLOG) < 0) {
        err = -errno;
        snprintf(set->error, sizeof(set->error), "--unix-socket: cannot listen on '%s': %s",
                 sun->sun_path, strerror(-err));
        if (fd >= 0)
            close(fd);
        return err;
    }
    return fd;
}

int listen_unix(struct listen_set *set, const char *path, unsigned mode)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
    struct stat st;
    bool exists = lstat(path, &st) == 0;
    int fd;

    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    /* A spare one whose path is gone would be reached by nobody. */
    fd = exists && S_ISSOCK(st.st_mode) ? take_spare(set, &sun, len) : -1;
    if (fd < 0)
        fd = bind_unix(set, &sun, exists, &st, mode);
    if (fd < 0)
        return fd;
    snprintf(set->unix_path, sizeof(set->unix_path), "%s", path);
    add(set, fd);
    return 0;
}

static int option_of(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

/* Why a socket that was passed cannot be served, or NULL. */
static const char *unfit(const struct listen_set *set, int fd)
{
    struct sockaddr_storage ss;
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
        return "it is not a socket: only ListenStream= is served";
    if (address(fd, &ss) == 0 || (ss.ss_family != AF_INET && ss.ss_family != AF_INET6 &&
                                  ss.ss_family != AF_UNIX))
        return "it is of a family that is not served: use an IPv4, IPv6 or Unix address";
    if (option_of(fd, SO_TYPE) != SOCK_STREAM)
        return "it is not a stream socket: use ListenStream=";
    if (ss.ss_family != AF_UNIX && option_of(fd, SO_PROTOCOL) != IPPROTO_TCP)
        return "its protocol is not TCP: remove SocketProtocol=";
    if (option_of(fd, SO_ACCEPTCONN) != 1)
        return "it is a connection or does not listen: the socket unit must say Accept=no";
    if (set->n == LISTEN_MAX)
        return "there are more sockets than a server can listen on";
    return NULL;
}

int listen_adopt(struct listen_set *set, const char *name, int fd)
{
    const char *why = unfit(set, fd);
    int err;

    if (why) {
        snprintf(set->error, sizeof(set->error), "the socket '%.64s' that was passed: %s", name,
                 why);
        close(fd);
        return -EINVAL;
    }
    err = io_set_nonblock(fd, true);
    if (err) {
        snprintf(set->error, sizeof(set->error), "the socket '%.64s' that was passed: %s", name,
                 strerror(-err));
        close(fd);
        return err;
    }
    add(set, fd);
    set->passed = true;
    return 0;
}

void listen_spare(struct listen_set *set, int fd)
{
    if (set->nspare < LISTEN_MAX)
        set->spare[set->nspare++] = fd;
    else
        close(fd);
}

void listen_hand_on(struct listen_set *from, struct listen_set *to)
{
    while (from->nspare)
        listen_spare(to, from->spare[--from->nspare]);
}

void listen_settle(struct listen_set *set)
{
    while (set->nspare)
        close(set->spare[--set->nspare]);
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
