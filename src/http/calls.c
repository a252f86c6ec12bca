/*
 * http/calls.c - the system calls that the HTTP worker may make once it serves: those of libevent and
 * OpenSSL on sockets that it accepts itself, and of the channel to the master. What is not here fails
 * with ENOSYS.
 */
#include "http/calls.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define OPTION(level, name) {"setsockopt", {CONFINE_IS(2, (level)), CONFINE_IS(3, (name))}}

const struct confine_call http_calls[] = {
    /* connections */
    {.name = "accept4"},
    {.name = "close"},
    {.name = "getpeername"},
    {.name = "getsockopt"},
    {"ioctl", {CONFINE_IS(2, SIOCINQ)}}, /* libevent asks how much there is to read */
    {"ioctl", {CONFINE_IS(2, SIOCOUTQ)}},
    {.name = "read"},
    {.name = "readv"},
    {.name = "recvmsg"},
    {.name = "sendmsg"},
    OPTION(IPPROTO_TCP, TCP_KEEPCNT),
    OPTION(IPPROTO_TCP, TCP_KEEPIDLE),
    OPTION(IPPROTO_TCP, TCP_KEEPINTVL),
    OPTION(IPPROTO_TCP, TCP_NODELAY),
    OPTION(IPPROTO_TCP, TCP_NOTSENT_LOWAT),
    OPTION(SOL_SOCKET, SO_KEEPALIVE),
    OPTION(SOL_SOCKET, SO_OOBINLINE),
    {.name = "shutdown"},
    {.name = "poll"},
    /* the loop */
    {.name = "epoll_create1"}, /* when all is watched anew: see server_mend() */
    {.name = "epoll_ctl"},
    {.name = "epoll_wait"},
    {.name = "pipe2"}, /* libevent's own, made with it */
    /* what comes as a file in memory */
    {"fcntl", {CONFINE_IS(2, F_GET_SEALS)}},
    {.name = "fstat"},
    {.name = "newfstatat"}, /* glibc's fstat(); it could look at names, not open them */
    {.name = "pread64"},
    {.name = "lseek"},
    /* what /metrics says of this process */
    {.name = "getdents64"},
};

const size_t http_ncalls = sizeof(http_calls) / sizeof(http_calls[0]);
