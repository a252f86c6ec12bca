/*
 * tests/net/listen_test.c - listening: both families, one port for all, Unix sockets left behind.
 */
#include "net/listen.h"

#include "tests/tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct listen_set set;

static uint16_t port_of(const struct listener *l)
{
    struct sockaddr_in6 sa;
    socklen_t len = sizeof(sa);

    getsockname(l->fd, (struct sockaddr *)&sa, &len);
    return ntohs(sa.sin6_port); /* at the same place in both families */
}

static bool can_connect(int family, const char *addr, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int fd = socket(family, SOCK_STREAM, 0);
    bool yes;

    inet_pton(family, addr,
              family == AF_INET ? (void *)&in.sin_addr : (void *)&in6.sin6_addr);
    yes = family == AF_INET ? connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0
                            : connect(fd, (struct sockaddr *)&in6, sizeof(in6)) == 0;
    close(fd);
    return yes;
}

static bool have_v6(void)
{
    struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool yes = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;

    if (fd >= 0)
        close(fd);
    return yes;
}

static void test_v4(void)
{
    char text[64];
    uint16_t port;

    memset(&set, 0, sizeof(set));
    is_int(listen_tcp(&set, "127.0.0.1", 0), 0, "127.0.0.1, any port: %s", set.error);
    is_u64(set.n, 1, "one listener");
    port = port_of(&set.l[0]);
    snprintf(text, sizeof(text), "127.0.0.1:%u", port);
    is_str(set.l[0].text, text, "it says where");
    ok(port && set.l[0].family == AF_INET && set.l[0].loopback, "for this machine only");
    ok((fcntl(set.l[0].fd, F_GETFD) & FD_CLOEXEC) && (fcntl(set.l[0].fd, F_GETFL) & O_NONBLOCK),
       "close-on-exec and non-blocking");
    ok(can_connect(AF_INET, "127.0.0.1", port), "and it listens");
    is_int(listen_tcp(&set, "127.0.0.1", port), -EADDRINUSE, "the same again");
    ok(strstr(set.error, "127.0.0.1") && strstr(set.error, "another server"), "is refused: %s",
       set.error);
    is_u64(set.n, 1, "and adds nothing");
    is_int(listen_tcp(&set, "127.0.0.2", 0), 0, "port 0 again");
    is_u64(port_of(&set.l[1]), port, "is the port that the kernel chose before");
    is_int(listen_tcp(&set, "no.such.host.invalid", 0), -EADDRNOTAVAIL, "a name that is none");
    ok(strstr(set.error, "no.such.host.invalid"), "is named: %s", set.error);
    is_int(listen_tcp(&set, "192.0.2.1", 0), -EADDRNOTAVAIL, "an address that is not ours");
    listen_close(&set);
    is_u64(set.n, 0, "closed");
    ok(!can_connect(AF_INET, "127.0.0.1", port), "nobody listens any more");
    is_int(listen_tcp(&set, "127.0.0.1", port), 0, "and the port can be used at once");
    listen_close(&set);
    is_int(listen_tcp(&set, "0.0.0.0", 0), 0, "all addresses");
    ok(!set.l[0].loopback, "others can connect");
    listen_close(&set);
}

static void test_v6(void)
{
    uint16_t port;

    memset(&set, 0, sizeof(set));
    if (!have_v6()) {
        ok(listen_tcp(&set, "::1", 0) < 0 && set.n == 0, "no IPv6 here: refused");
        is_int(listen_tcp(&set, "localhost", 0), 0, "a name that may have both: %s", set.error);
        listen_close(&set);
        return;
    }
    is_int(listen_tcp(&set, "::1", 0), 0, "[::1]: %s", set.error);
    port = port_of(&set.l[0]);
    ok(set.l[0].family == AF_INET6 && set.l[0].loopback && !strncmp(set.l[0].text, "[::1]:", 6),
       "it says where: %s", set.l[0].text);
    ok(can_connect(AF_INET6, "::1", port), "and listens");
    is_int(listen_tcp(&set, "127.0.0.1", 0), 0, "and IPv4 besides: %s", set.error);
    is_u64(port_of(&set.l[1]), port, "on the same port");
    ok(can_connect(AF_INET, "127.0.0.1", port), "both listen");
    listen_close(&set);
    /* The kernel chose the port for IPv6: somebody may be using it for IPv4. */
    for (int tries = 0; tries < 20; tries++) {
        listen_close(&set);
        if (listen_tcp(&set, "::", 0) != 0 || listen_tcp(&set, "0.0.0.0", 0) == 0)
            break;
    }
    ok(set.n == 2 && !set.l[0].loopback && !set.l[1].loopback, "[::] leaves IPv4 alone: %s",
       set.error);
    listen_close(&set);
    is_int(listen_tcp(&set, "localhost", 0), 0, "localhost: %s", set.error);
    for (unsigned i = 0; i < set.n; i++)
        ok(port_of(&set.l[i]) == port_of(&set.l[0]) && set.l[i].loopback, "%s", set.l[i].text);
    listen_close(&set);
}

static bool unix_connects(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bool yes;

    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    yes = connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0;
    close(fd);
    return yes;
}

static void test_unix(const char *dir)
{
    struct listen_set other;
    struct stat st;
    char path[80], text[96];
    int fd;

    memset(&set, 0, sizeof(set));
    memset(&other, 0, sizeof(other));
    snprintf(path, sizeof(path), "%s/sock", dir);
    is_int(listen_unix(&set, path, 0600), 0, "a Unix socket: %s", set.error);
    snprintf(text, sizeof(text), "unix:%s", path);
    ok(set.n == 1 && set.l[0].family == AF_UNIX && set.l[0].loopback, "one listener");
    is_str(set.l[0].text, text, "it says where");
    ok(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600, "with its mode");
    ok(unix_connects(path), "and it listens");
    is_int(listen_unix(&other, path, 0600), -EADDRINUSE, "in use by a living server: refused");
    ok(strstr(other.error, path) && strstr(other.error, "in use"), "%s", other.error);
    ok(unix_connects(path), "which is not disturbed");
    listen_close(&other);
    ok(stat(path, &st) == 0, "closing one that has none removes none");

    close(set.l[0].fd); /* as if killed: the path stays */
    ok(stat(path, &st) == 0 && !unix_connects(path), "a dead server's socket");
    memset(&set, 0, sizeof(set));
    is_int(listen_unix(&set, path, 0666), 0, "is taken over: %s", set.error);
    ok(unix_connects(path) && stat(path, &st) == 0 && (st.st_mode & 07777) == 0666, "it listens");
    listen_close(&set);
    ok(stat(path, &st) < 0, "closing removes it");

    fd = open(path, O_CREAT | O_WRONLY, 0600);
    if (write(fd, "precious", 8) != 8)
        bail_out("write");
    close(fd);
    is_int(listen_unix(&set, path, 0600), -EADDRINUSE, "a file that is no socket: refused");
    ok(strstr(set.error, "not a socket"), "%s", set.error);
    ok(stat(path, &st) == 0 && st.st_size == 8, "and left as it is");
    unlink(path);
    if (symlink("/dev/null", path) < 0)
        bail_out("symlink");
    is_int(listen_unix(&set, path, 0600), -EADDRINUSE, "nor is a symbolic link followed");
    unlink(path);
    snprintf(path, sizeof(path), "%s/none/sock", dir);
    is_int(listen_unix(&set, path, 0600), -ENOENT, "a directory that is not there");
    ok(strstr(set.error, path) != NULL, "%s", set.error);
    is_u64(set.n, 0, "no listener was added");
}

/* Whoever else has the socket makes it blocking again. */
static void returns_without_connection(void)
{
    int fd = set.l[0].fd, accepted;

    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) != 0)
        bail_out("fcntl");
    alarm(60);
    accepted = accept(fd, NULL, NULL);
    alarm(0);
    ok(accepted < 0 && errno == EAGAIN, "an accept that finds nobody returns");
    ok(can_connect(AF_INET, "127.0.0.1", port_of(&set.l[0])), "somebody comes");
    accepted = accept(fd, NULL, NULL);
    ok(accepted >= 0, "and is accepted");
    close(accepted);
    listen_close(&set);
}

static void test_blocking(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    memset(&set, 0, sizeof(set));
    is_int(listen_tcp(&set, "127.0.0.1", 0), 0, "a socket of its own: %s", set.error);
    returns_without_connection();
    if (bind(fd, (struct sockaddr *)&in, sizeof(in)) != 0 || listen(fd, 8) != 0)
        bail_out("listen");
    memset(&set, 0, sizeof(set));
    is_int(listen_adopt(&set, "test", fd), 0, "one that was passed: %s", set.error);
    ok(fcntl(fd, F_GETFL) & O_NONBLOCK, "does not block");
    returns_without_connection();
}

int main(void)
{
    char dir[] = "/tmp/listen_test.XXXXXX";

    if (!mkdtemp(dir))
        bail_out("mkdtemp");
    test_v4();
    test_v6();
    test_unix(dir);
    test_blocking();
    rmdir(dir);
    return done_testing();
}
