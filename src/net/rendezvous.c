/*
 * net/rendezvous.c - see rendezvous.h. Runs in the master, but for rendezvous_attend() and
 * rendezvous_answer().
 */
#include "net/rendezvous.h"

#include "base/point.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Callers wait in the backlog while their worker finishes its turn; there is but one master. */
enum { BACKLOG = 8, TYPE = SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC };

static int address(const char *dir, unsigned worker, struct sockaddr_un *sun)
{
    int n;

    *sun = (struct sockaddr_un){.sun_family = AF_UNIX};
    n = snprintf(sun->sun_path, sizeof(sun->sun_path), "%s/worker-%u", dir, worker);
    return n < 0 || (size_t)n >= sizeof(sun->sun_path) ? -ENAMETOOLONG : 0;
}

static int give_up(int fd)
{
    int err = -errno;

    SYS(RENDEZVOUS_GIVE_UP, close(fd));
    return err;
}

int rendezvous_open(const char *dir, unsigned worker)
{
    struct sockaddr_un sun;
    int err = address(dir, worker, &sun);
    int fd;

    if (err)
        return err;
    fd = SYS(RENDEZVOUS_SOCKET, socket(AF_UNIX, TYPE, 0));
    if (fd < 0)
        return -errno;
    SYS(RENDEZVOUS_UNLINK, unlink(sun.sun_path));
    /* Nobody can connect before it listens, and the directory is ours alone. */
    if (SYS(RENDEZVOUS_BIND, bind(fd, (struct sockaddr *)&sun, sizeof(sun))) < 0 ||
        SYS(RENDEZVOUS_MODE, chmod(sun.sun_path, 0600)) < 0 ||
        SYS(RENDEZVOUS_LISTEN, listen(fd, BACKLOG)) < 0)
        return give_up(fd);
    return fd;
}

int rendezvous_call(const char *dir, unsigned worker)
{
    struct sockaddr_un sun;
    int err = address(dir, worker, &sun);
    int fd;

    if (err)
        return err;
    fd = SYS(RENDEZVOUS_CALL, socket(AF_UNIX, TYPE, 0));
    if (fd < 0)
        return -errno;
    if (SYS(RENDEZVOUS_CONNECT, connect(fd, (struct sockaddr *)&sun, sizeof(sun))) < 0)
        return give_up(fd);
    return fd;
}

/* Who connects sees the credentials of the process that listened last. */
void rendezvous_attend(int listener)
{
    SYS(RENDEZVOUS_ATTEND, listen(listener, BACKLOG));
}

pid_t rendezvous_attendant(int call)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return SYS(RENDEZVOUS_WHO, getsockopt(call, SOL_SOCKET, SO_PEERCRED, &peer, &len)) < 0 ? 0 : peer.pid;
}

int rendezvous_answer(int listener)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    int fd = SYS(RENDEZVOUS_ACCEPT, accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));

    if (fd < 0)
        return -errno;
    if (SYS(RENDEZVOUS_PEER, getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len)) < 0)
        return give_up(fd);
    if (peer.uid == 0 || peer.uid == geteuid())
        return fd;
    errno = EPERM;
    return give_up(fd);
}
