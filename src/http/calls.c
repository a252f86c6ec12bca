/*
 * http/calls.c - the system calls that the HTTP worker may make once it serves: those of libevent and
 * OpenSSL on sockets that it accepts itself, and of the channel to the master. What is not here fails
 * with ENOSYS.
 */
#include "http/calls.h"

#include <fcntl.h>

const struct confine_call http_calls[] = {
    /* connections */
    {.name = "accept4"},
    {.name = "close"},
    {.name = "getpeername"},
    {.name = "getsockopt"},
    {.name = "ioctl"}, /* libevent asks how much there is to read (FIONREAD) */
    {.name = "read"},
    {.name = "readv"},
    {.name = "recvfrom"},
    {.name = "recvmsg"},
    {.name = "sendmsg"},
    {.name = "sendto"},
    {.name = "setsockopt"},
    {.name = "shutdown"},
    {.name = "write"},
    {.name = "writev"},
    /* the loop */
    {.name = "epoll_create1"},
    {.name = "epoll_ctl"},
    {.name = "epoll_wait"},
    {.name = "epoll_pwait2"},
    {.name = "timerfd_settime"},
    /* what comes as a file in memory */
    {.name = "fcntl"},
    {.name = "fstat"},
    {.name = "newfstatat"},
    {.name = "pread64"},
    {.name = "lseek"},
    /* what /metrics says of this process */
    {.name = "getdents64"},
};

const size_t http_ncalls = sizeof(http_calls) / sizeof(http_calls[0]);
