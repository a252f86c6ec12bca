/*
 * worker/calls.c - the system calls that a lock worker may make once it serves.
 *
 * A call that is not in the table fails with ENOSYS, as on a kernel that does not have it. In the
 * tests' program it kills, so that what is missing here is found.
 */
#include "worker/calls.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define OPTION(level, name) {"setsockopt", {CONFINE_IS(2, (level)), CONFINE_IS(3, (name))}}

const struct confine_call worker_calls[] = {
    /* connections: as they come by the channel, to their end */
    {.name = "accept4"}, /* on a listener that was inherited */
    {.name = "close"},
    {.name = "getsockopt"},
    {"ioctl", {CONFINE_IS(2, SIOCINQ)}},
    {"ioctl", {CONFINE_IS(2, SIOCOUTQ)}},
    {.name = "read"},
    {.name = "recvfrom"},
    {.name = "recvmsg"},
    {.name = "sendmsg"},
    {.name = "sendto"},
    OPTION(IPPROTO_TCP, TCP_KEEPCNT),
    OPTION(IPPROTO_TCP, TCP_KEEPIDLE),
    OPTION(IPPROTO_TCP, TCP_KEEPINTVL),
    OPTION(IPPROTO_TCP, TCP_NODELAY),
    OPTION(IPPROTO_TCP, TCP_NOTSENT_LOWAT),
    OPTION(SOL_SOCKET, SO_KEEPALIVE),
    OPTION(SOL_SOCKET, SO_OOBINLINE),
    {.name = "shutdown"},
    /* the loop */
    {.name = "epoll_ctl"},
    {.name = "epoll_pwait2"},
    /* documents, and what else comes as a file in memory */
    {"fcntl", {CONFINE_IS(2, F_GET_SEALS)}},
    {.name = "fstat"},
    {.name = "ftruncate"},
    {.name = "lseek"},
    {.name = "newfstatat"}, /* glibc's fstat(); it could look at names, not open them */
    {.name = "pread64"},
    {.name = "pwrite64"},
};

const size_t worker_ncalls = sizeof(worker_calls) / sizeof(worker_calls[0]);
